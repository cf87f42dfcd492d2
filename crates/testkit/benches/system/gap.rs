//! How long ComfyUI stands idle between two queued jobs: the total time of jobs through the gateway against the same
//! prompts put straight into ComfyUI's own queue.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};

use crate::process::{Shape, System, system};

const JOBS: usize = 100;
const JOB_MS: u64 = 50;
const OUTPUT_BYTES: u64 = 2_000_000;

pub(crate) async fn run(binary: &Path) {
    // Two nodes a job.
    let switches = json!({"nodeMs": JOB_MS / 2, "outputBytes": OUTPUT_BYTES, "fastRender": true});
    let mut ratios = Vec::new();
    for round in 0..3 {
        let system = system(binary, Shape { sim: Some(switches.clone()), env: &[] }).await;
        let (direct, direct_idle) = direct(&system, round).await;
        let (gateway, gateway_idle) = through_gateway(&system, round).await;
        let ratio = gateway.as_secs_f64() / direct.as_secs_f64();
        println!(
            "gap       {JOBS} jobs of {JOB_MS} ms with {} MB outputs: ComfyUI alone {direct:.2?} (idle {direct_idle:.0} ms), \
             through the gateway {gateway:.2?} (idle {gateway_idle:.0} ms), ratio {ratio:.3}",
            OUTPUT_BYTES / 1_000_000,
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("gap       ratio of total times, median of {}: {:.3}", ratios.len(), ratios[ratios.len() / 2]);
}

/// Milliseconds that the simulator stood idle between prompts so far.
async fn idle_ms(client: &Client, sim: &str) -> f64 {
    let stats: Value = client.get(format!("{sim}/sim/stats")).send().await.unwrap().json().await.unwrap();
    stats["idleNanos"].as_f64().unwrap_or(0.0) / 1e6
}

async fn direct(system: &System, round: usize) -> (Duration, f64) {
    let client = Client::builder().build().unwrap();
    let sim = &system.sim.as_ref().unwrap().url;
    let idle = idle_ms(&client, sim).await;
    let began = Instant::now();
    let mut last = String::new();
    for number in 0..JOBS {
        let prompt = json!({"prompt": {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 1_000_000 + round * 1000 + number}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": format!("direct/{round}-{number}")}},
        }, "client_id": "direct"});
        let answer: Value =
            client.post(format!("{sim}/prompt")).json(&prompt).send().await.unwrap().json().await.unwrap();
        last = answer["prompt_id"].as_str().unwrap().to_owned();
    }
    loop {
        let entry: Value = client.get(format!("{sim}/history/{last}")).send().await.unwrap().json().await.unwrap();
        if entry.get(&last).is_some() {
            return (began.elapsed(), idle_ms(&client, sim).await - idle);
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
