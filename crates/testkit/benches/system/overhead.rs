//! The gateway's own time a job: from `POST /jobs` to the job being seen `succeeded` over SSE, with a ComfyUI that
//! needs no time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};

use crate::process::{Shape, System, quantile, system};

pub(crate) async fn run(binary: &Path) {
    for (concurrency, jobs) in [(1, 500), (16, 6_000)] {
        let slots = concurrency.to_string();
        let shape = Shape { sim: Some(json!({"fastRender": true})), env: &[("MAX_CONCURRENCY", slots.as_str())] };
        let system = system(binary, shape).await;
        measure(&system, concurrency, 100).await;
        let began = Instant::now();
        let mut times = measure(&system, concurrency, jobs).await;
        let rate = jobs as f64 / began.elapsed().as_secs_f64();
        println!(
            "overhead  {concurrency:>2} at a time: p50 {:.1} ms, p99 {:.1} ms, {rate:.0} jobs/s ({jobs} jobs)",
            quantile(&mut times, 0.5),
            quantile(&mut times, 0.99),
        );
    }
}

async fn measure(system: &System, concurrency: usize, jobs: usize) -> Vec<Duration> {
    let next = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..concurrency)
        .map(|_| {
            let (next, url) = (Arc::clone(&next), system.gateway.url.clone());
            tokio::spawn(async move {
                let client = Client::builder().build().unwrap();
                let mut times = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= jobs {
                        return times;
                    }
                    let began = Instant::now();
                    one(&client, &url, number).await;
                    times.push(began.elapsed());
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    times
}

async fn one(client: &Client, url: &str, number: usize) {
    let answer = client.post(format!("{url}/jobs")).json(&System::job(number)).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let answer: Value = answer.json().await.unwrap();
    let events = format!("{url}/jobs/{}/events", answer["jobId"].as_str().unwrap());
    let mut stream = client.get(events).send().await.unwrap();
    let mut text = String::new();
    while !text.contains("event: end") {
        let chunk = stream.chunk().await.unwrap().expect("the end of the job");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(text.contains("\"status\":\"succeeded\""), "{text}");
    // The rest of the stream, so that the connection can be used again.
    while stream.chunk().await.unwrap().is_some() {}
}
