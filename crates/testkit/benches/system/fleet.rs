//! Jobs a second through the whole stack, by the number of workers, with ComfyUIs that need no time.

use std::path::Path;
use std::time::{Duration, Instant};

use gateway_testkit::stack::{Audit, Load, Stack, StackConfig, Watch};
use serde_json::Value;

use crate::report::Report;

const ROUNDS: usize = 3;
const JOBS: usize = 3_000;

const WORKERS: [usize; 3] = [1, 2, 4];

pub(crate) async fn run(binary: &Path, postgres: &str, report: &mut Report) {
    let mut rates: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (workers, rates) in WORKERS.iter().zip(&mut rates) {
            rates.push(measure(binary, postgres, *workers).await);
        }
    }
    let name = |workers: usize| format!("waiting jobs through the whole stack, {workers} worker processes");
    let [one, ..] = &rates;
    for (workers, rates) in WORKERS.iter().zip(&rates) {
        report.figure(&name(*workers), "/s", rates);
        if *workers > 1 {
            report.ratio(&name(*workers), "1 worker", rates, one);
        }
    }
}

async fn measure(binary: &Path, postgres: &str, workers: usize) -> f64 {
    let mut config = StackConfig::new(binary.to_owned(), postgres.to_owned());
    config.workers = workers;
    config.switches.node_ms = 0;
    config.switches.fast_render = true;
    config.variables.push((String::from("LOG_LEVEL"), String::from("warn")));
    let stack = Stack::start(config).await;
    let post = async |path: &str| {
        let answer = stack.client().post(stack.url(path)).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    };
    post("/queue/pause").await;
    // Whoever does not hear of it looks within five seconds.
    wait_paused(&stack, workers).await;
    let load = Load { jobs: JOBS, rate: None, name: String::from("f"), url: stack.url(""), callback: None };
    let submitted = load.run(stack.client().clone()).await;
    post("/queue/resume").await;
    let began = Instant::now();
    loop {
        let done: u64 = stack.sims.iter().map(|sim| sim.stats().prompts_finished).sum();
        if done >= JOBS as u64 && ended(&stack).await == JOBS as u64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rate = JOBS as f64 / began.elapsed().as_secs_f64();
    let watch = Watch::start(stack.database().await);
    let audit = Audit::of(&stack, &submitted, watch, Duration::from_secs(60)).await;
    assert!(audit.broken.is_empty(), "{:?}", audit.broken);
    rate
}

async fn ended(stack: &Stack) -> u64 {
    let answer = stack.client().get(stack.url("/jobs/stats")).send().await.unwrap();
    let stats: Value = answer.json().await.unwrap();
    stats["jobs"]["succeeded"].as_u64().unwrap_or(0)
}

async fn wait_paused(stack: &Stack, workers: usize) {
    loop {
        let answer = stack.client().get(stack.url("/workers")).send().await.unwrap();
        let list: Value = answer.json().await.unwrap();
        let paused = |worker: &&Value| worker["state"] == "paused";
        if list["items"].as_array().unwrap().iter().filter(paused).count() == workers {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
