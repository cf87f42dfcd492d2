//! The gateway's own time a job: from `POST /jobs` to the job being seen `succeeded` over SSE, with a ComfyUI that
//! needs no time; against the same prompts put straight into ComfyUI.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway_testkit::stack::{Postgres, Redis};
use reqwest::Client;
use serde_json::{Value, json};

use crate::process::{Shape, System, prompt, quantile, system};
use crate::report::{Report, Target};

const ROUNDS: usize = 3;

/// Of one run of many jobs.
struct Run {
    p50: f64,
    p99: f64,
    rate: f64,
}

/// With SQLite, in one process.
pub(crate) async fn run(binary: &Path, report: &mut Report) {
    for (concurrency, jobs) in [(1, 500), (16, 6_000)] {
        let (mut straight, mut gateway) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let slots = concurrency.to_string();
            let env = [("MAX_CONCURRENCY", slots.as_str())];
            let system =
                system(binary, Shape { sim: Some(json!({"fastRender": true})), env: &env, ..Shape::default() }).await;
            straight.push(measure(&system, concurrency, jobs, Way::Straight).await);
            measure(&system, concurrency, 100, Way::Gateway).await;
            gateway.push(measure(&system, concurrency, jobs, Way::Gateway).await);
        }
        let name = format!("jobs, {concurrency} at a time, SQLite");
        times(report, &name, &gateway, (concurrency == 1).then_some([5.0, 20.0]));
        let row = rate(report, &name, &gateway, &straight);
        if concurrency == 16 {
            row.target(Target::AtLeast(1_500.0));
        }
    }
}

/// With Postgres and Redis, API and worker in one process.
pub(crate) async fn shared(binary: &Path, server: &str, report: &mut Report) {
    for (concurrency, jobs) in [(1, 500), (16, 4_000)] {
        let (mut straight, mut gateway) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let folder = tempfile::tempdir().unwrap();
            let redis = Redis::start(folder.path(), true).await;
            let database = Postgres::new(server, &format!("o_{}_{concurrency}_{round}", std::process::id()));
            let (slots, url, queue) = (concurrency.to_string(), database.url(), redis.url());
            let env = [("MAX_CONCURRENCY", slots.as_str()), ("DATABASE_URL", &url), ("REDIS_URL", &queue)];
            let sim = Some(json!({"fastRender": true}));
            let system = system(binary, Shape { sim, env: &env, args: &["--with-worker"], keep_log: false }).await;
            straight.push(measure(&system, concurrency, jobs, Way::Straight).await);
            measure(&system, concurrency, 100, Way::Gateway).await;
            gateway.push(measure(&system, concurrency, jobs, Way::Gateway).await);
        }
        let name = format!("jobs, {concurrency} at a time, Postgres and Redis");
        times(report, &name, &gateway, (concurrency == 1).then_some([10.0, 40.0]));
        let row = rate(report, &name, &gateway, &straight);
        if concurrency == 16 {
            row.target(Target::AtLeast(1_000.0));
        }
    }
}

fn times(report: &mut Report, name: &str, runs: &[Run], targets: Option<[f64; 2]>) {
    let values = |of: fn(&Run) -> f64| runs.iter().map(of).collect::<Vec<_>>();
    let columns = [("p50", values(|run| run.p50)), ("p99", values(|run| run.p99))];
    for (number, (quantile, values)) in columns.iter().enumerate() {
        let row = report.figure(&format!("{name}: own time {quantile}"), "ms", values);
        if let Some(targets) = targets {
            row.target(Target::AtMost(targets[number]));
        }
    }
}

fn rate<'a>(report: &'a mut Report, name: &str, gateway: &[Run], straight: &[Run]) -> &'a mut crate::report::Row {
    let rates = |runs: &[Run]| runs.iter().map(|run| run.rate).collect::<Vec<_>>();
    report.ratio(name, "the same prompts straight into ComfyUI", &rates(gateway), &rates(straight));
    report.figure(name, "/s", &rates(gateway))
}

#[derive(Clone, Copy)]
enum Way {
    Gateway,
    Straight,
}

async fn measure(system: &System, concurrency: usize, jobs: usize, way: Way) -> Run {
    let next = Arc::new(AtomicUsize::new(0));
    let sim = system.sim.as_ref().unwrap().url.clone();
    let began = Instant::now();
    let clients: Vec<_> = (0..concurrency)
        .map(|_| {
            let (next, url, sim) = (Arc::clone(&next), system.gateway.url.clone(), sim.clone());
            tokio::spawn(async move {
                let client = Client::builder().build().unwrap();
                let mut times = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= jobs {
                        return times;
                    }
                    let began = Instant::now();
                    match way {
                        Way::Gateway => one(&client, &url, number).await,
                        Way::Straight => straight(&client, &sim, number).await,
                    }
                    times.push(began.elapsed());
                }
            })
        })
        .collect();
    let mut times: Vec<Duration> = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    let rate = jobs as f64 / began.elapsed().as_secs_f64();
    Run { p50: quantile(&mut times, 0.5), p99: quantile(&mut times, 0.99), rate }
}

/// Puts a prompt into ComfyUI and asks until it is in the history.
async fn straight(client: &Client, sim: &str, number: usize) {
    let id = prompt(client, sim, 3_000_000 + number).await;
    loop {
        let entry: Value = client.get(format!("{sim}/history/{id}")).send().await.unwrap().json().await.unwrap();
        if entry.get(&id).is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
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
