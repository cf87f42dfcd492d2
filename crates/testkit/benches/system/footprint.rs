//! Memory of the process, idle and while a large output passes through; time from start to the first answer.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::json;

use crate::process::{Shape, System, ended, free_port, gateway, system};
use crate::report::{Report, Target};

const ROUNDS: usize = 3;
const OUTPUT: u64 = 1 << 30;
const MIB: f64 = (1 << 20) as f64;

pub(crate) async fn run(binary: &Path, report: &mut Report) {
    memory(binary, report).await;
    start(binary, report).await;
}

async fn memory(binary: &Path, report: &mut Report) {
    let (mut idle, mut stored, mut served) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let round = one(binary).await;
        idle.push(round[0] / MIB);
        stored.push((round[1] - round[0]) / MIB);
        served.push((round[2] - round[0]) / MIB);
    }
    report.figure("resident memory, idle", "MiB", &idle);
    report.figure("its growth while 1 GiB is stored", "MiB", &stored).target(Target::AtMost(32.0));
    report.figure("its growth while 1 GiB is stored and served", "MiB", &served).target(Target::AtMost(32.0));
}

/// Bytes: idle, at most until a large output is stored, and at most until it is served.
async fn one(binary: &Path) -> [f64; 3] {
    let switches = json!({"outputBytes": OUTPUT, "fastRender": true});
    let system = system(binary, Shape { sim: Some(switches), ..Shape::default() }).await;
    // What a start needs is given back after a while.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (idle, _) = system.gateway.memory();
    let client = Client::builder().build().unwrap();
    let url = &system.gateway.url;
    let job = ended(&client, url, &System::job(1)).await;
    let (_, stored) = system.gateway.memory();
    let mut download = client.get(format!("{url}{}", job["outputs"][0]["url"].as_str().unwrap())).send().await.unwrap();
    let mut received = 0;
    while let Some(chunk) = download.chunk().await.unwrap() {
        received += chunk.len() as u64;
    }
    let (_, served) = system.gateway.memory();
    assert!(received >= OUTPUT, "{received}");
    [idle, stored.max(idle), served.max(idle)].map(|bytes| bytes as f64)
}

async fn start(binary: &Path, report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let comfyui = free_port();
    let shape = Shape::default();
    drop(gateway(binary, folder.path(), comfyui, &shape, "/health/live").await);
    let mut times = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        let process = gateway(binary, folder.path(), comfyui, &shape, "/health/live").await;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        drop(process);
    }
    report.figure("start to the first answer, database migrated", "ms", &times).target(Target::AtMost(200.0));
}
