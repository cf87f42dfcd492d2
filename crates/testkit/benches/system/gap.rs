//! How long ComfyUI stands idle between two queued jobs: the total time of jobs through the gateway against the same
//! prompts put straight into ComfyUI's own queue.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};

use crate::process::{Shape, System, prompt, system};
use crate::report::{Report, Target};

const ROUNDS: usize = 3;
const JOBS: usize = 100;
const JOB_MS: u64 = 50;
const OUTPUT_BYTES: u64 = 2_000_000;

pub(crate) async fn run(binary: &Path, report: &mut Report) {
    // Two nodes a job.
    let switches = json!({"nodeMs": JOB_MS / 2, "outputBytes": OUTPUT_BYTES, "fastRender": true});
    let (mut straight, mut gateway, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let system = system(binary, Shape { sim: Some(switches.clone()), ..Shape::default() }).await;
        straight.push(straight_in(&system, round).await.as_secs_f64());
        let (took, stood_idle) = through_gateway(&system, round).await;
        gateway.push(took.as_secs_f64());
        idle.push(stood_idle / JOBS as f64);
    }
    let what = format!("{JOBS} waiting jobs of {JOB_MS} ms and {} MB: time in all", OUTPUT_BYTES / 1_000_000);
    report.ratio(&what, "ComfyUI's own queue", &gateway, &straight).target(Target::AtMost(1.03));
    report.figure("ComfyUI idle between two of them", "ms", &idle);
}

/// Milliseconds that the simulator stood idle between prompts so far.
async fn idle_ms(client: &Client, sim: &str) -> f64 {
    let stats: Value = client.get(format!("{sim}/sim/stats")).send().await.unwrap().json().await.unwrap();
    stats["idleNanos"].as_f64().unwrap_or(0.0) / 1e6
}

async fn straight_in(system: &System, round: usize) -> Duration {
    let client = Client::builder().build().unwrap();
    let sim = &system.sim.as_ref().unwrap().url;
    let began = Instant::now();
    let mut last = String::new();
    for number in 0..JOBS {
        last = prompt(&client, sim, 1_000_000 + round * 1000 + number).await;
    }
    loop {
        let entry: Value = client.get(format!("{sim}/history/{last}")).send().await.unwrap().json().await.unwrap();
        if entry.get(&last).is_some() {
            return began.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn through_gateway(system: &System, round: usize) -> (Duration, f64) {
    let client = Client::builder().build().unwrap();
    let url = &system.gateway.url;
    let sim = &system.sim.as_ref().unwrap().url;
    let idle = idle_ms(&client, sim).await;
    let began = Instant::now();
    let mut last = String::new();
    for number in 0..JOBS {
        let job = System::job(2_000_000 + round * 1000 + number);
        let answer: Value = client.post(format!("{url}/jobs")).json(&job).send().await.unwrap().json().await.unwrap();
        last = answer["jobId"].as_str().unwrap().to_owned();
    }
    loop {
        let job: Value = client.get(format!("{url}/jobs/{last}")).send().await.unwrap().json().await.unwrap();
        match job["status"].as_str() {
            Some("succeeded") => return (began.elapsed(), idle_ms(&client, sim).await - idle),
            Some("failed" | "canceled") => panic!("{job}"),
            _ => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}
