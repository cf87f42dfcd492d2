//! Memory of the process, idle and while a large output passes through; time from start to the first answer.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};

use crate::process::{Shape, System, free_port, gateway, quantile, system};

const OUTPUT: u64 = 1 << 30;
const MIB: f64 = (1 << 20) as f64;

pub(crate) async fn run(binary: &Path) {
    memory(binary).await;
    start(binary).await;
}

async fn memory(binary: &Path) {
    let switches = json!({"outputBytes": OUTPUT, "fastRender": true});
    let system = system(binary, Shape { sim: Some(switches), env: &[] }).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (idle, _) = system.gateway.memory();
    let client = Client::builder().build().unwrap();
    let url = &system.gateway.url;
    let answer: Value =
        client.post(format!("{url}/jobs")).json(&System::job(1)).send().await.unwrap().json().await.unwrap();
    let job = loop {
        let job: Value = client
            .get(format!("{url}/jobs/{}", answer["jobId"].as_str().unwrap()))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        match job["status"].as_str() {
            Some("succeeded") => break job,
            Some("failed" | "canceled") => panic!("{job}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let (_, stored) = system.gateway.memory();
    let mut download = client.get(format!("{url}{}", job["outputs"][0]["url"].as_str().unwrap())).send().await.unwrap();
    let mut received = 0;
    while let Some(chunk) = download.chunk().await.unwrap() {
        received += chunk.len() as u64;
    }
    let (_, served) = system.gateway.memory();
    assert!(received >= OUTPUT, "{received}");
    println!(
        "memory    idle {:.1} MiB; while 1 GiB is stored +{:.1} MiB; while it is downloaded, too, +{:.1} MiB (peaks)",
        idle as f64 / MIB,
        stored.saturating_sub(idle) as f64 / MIB,
        served.saturating_sub(idle) as f64 / MIB,
    );
}

async fn start(binary: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let comfyui = free_port();
    drop(gateway(binary, folder.path(), comfyui, &[], "/health/live").await);
    let mut times = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        let process = gateway(binary, folder.path(), comfyui, &[], "/health/live").await;
        times.push(began.elapsed());
        drop(process);
    }
    println!(
        "start     to the first answer on a migrated database: p50 {:.0} ms (10 starts)",
        quantile(&mut times, 0.5)
    );
}
