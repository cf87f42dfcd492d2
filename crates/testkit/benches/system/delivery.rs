//! What results cost on their way out: from the cache, as events to many watchers, in another format.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::process::{Shape, System, quantile, system};

const CLIENTS: usize = 16;
const POSTS: usize = 6_000;
const WATCHERS: usize = 1_000;
const WATCHED: usize = 20;
const CONVERSIONS: usize = 60;

/// `POST /jobs` whose result is in the cache, against one whose result is not.
pub(crate) async fn cache(binary: &Path) {
    let system = system(
        binary,
        Shape { sim: Some(json!({"fastRender": true})), env: &[("LOG_LEVEL", "error"), ("CACHE_ENABLED", "true")] },
    )
    .await;
    let client = Client::builder().build().unwrap();
    let url = &system.gateway.url;
    let _first = ended(&client, url, &System::job(7)).await;
    let (mut hits, mut misses) = (Vec::new(), Vec::new());
    let (mut hit_rate, mut miss_rate) = (0.0, 0.0);
    for round in 0..3 {
        let (times, rate) = post_all(url, |_| 7, 200).await;
        hits.extend(times);
        hit_rate += rate / 3.0;
        let (times, rate) = post_all(url, move |number| 100_000 * (round + 1) + number, 202).await;
        misses.extend(times);
        miss_rate += rate / 3.0;
    }
    println!(
        "cache     POST /jobs, a hit: p50 {:.2} ms, p99 {:.1} ms, {hit_rate:.0}/s; a miss: p50 {:.2} ms, p99 {:.1} ms, {miss_rate:.0}/s; rate ratio {:.2} ({CLIENTS} clients, the jobs of misses running beside)",
        quantile(&mut hits, 0.5),
        quantile(&mut hits, 0.99),
        quantile(&mut misses, 0.5),
        quantile(&mut misses, 0.99),
        hit_rate / miss_rate
    );
}

/// Posts many jobs from several clients; how long each answer took, and how many came a second.
async fn post_all(
    url: &str,
    color: impl Fn(usize) -> usize + Copy + Send + 'static,
    status: u16,
) -> (Vec<Duration>, f64) {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (next, url) = (Arc::clone(&next), format!("{url}/jobs"));
        clients.spawn(async move {
            let client = Client::builder().build().unwrap();
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= POSTS {
                    return times;
                }
                let began = Instant::now();
                let answer = client.post(&url).json(&System::job(color(number))).send().await.unwrap();
                assert_eq!(answer.status(), status);
                let _body = answer.bytes().await.unwrap();
                times.push(began.elapsed());
            }
        });
    }
    let times: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
    (times, POSTS as f64 / began.elapsed().as_secs_f64())
}

async fn ended(client: &Client, url: &str, job: &Value) -> Value {
    let request = client.post(format!("{url}/jobs")).header("prefer", "wait=60").json(job);
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job}");
    job
}

/// Watchers of running jobs: the memory of each, and how late they hear.
pub(crate) async fn watchers(binary: &Path) {
    let switches = json!({"fastRender": true, "nodeMs": 8_000});
    let slots = WATCHED.to_string();
    let env = [("LOG_LEVEL", "error"), ("MAX_CONCURRENCY", slots.as_str())];
    let system = system(binary, Shape { sim: Some(switches), env: &env }).await;
    let client = Client::builder().build().unwrap();
    let url = &system.gateway.url;
    let mut ids = Vec::new();
    for color in 0..WATCHED {
        let answer: Value =
            client.post(format!("{url}/jobs")).json(&System::job(color)).send().await.unwrap().json().await.unwrap();
        ids.push(answer["jobId"].as_str().unwrap().to_owned());
    }
    let (before, _) = system.gateway.memory();
    let open = Arc::new(AtomicUsize::new(0));
    let mut watching = JoinSet::new();
    for number in 0..WATCHERS {
        let (client, open) = (client.clone(), Arc::clone(&open));
        let events = format!("{url}/jobs/{}/events", ids[number % ids.len()]);
        watching.spawn(async move {
            let mut answer = client.get(events).send().await.unwrap();
            let mut delays = Vec::new();
            let mut text = String::new();
            let _snapshot = answer.chunk().await.unwrap();
            open.fetch_add(1, Ordering::Relaxed);
            while let Some(chunk) = answer.chunk().await.unwrap() {
                text.push_str(&String::from_utf8_lossy(&chunk));
                while let Some((event, rest)) = text.split_once("\n\n") {
                    delays.extend(delay(event));
                    text = rest.to_owned();
                }
            }
            delays
        });
    }
    while open.load(Ordering::Relaxed) < WATCHERS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (with, _) = system.gateway.memory();
    let mut delays: Vec<Duration> = watching.join_all().await.into_iter().flatten().collect();
    println!(
        "watchers  {WATCHERS} of {WATCHED} jobs: {:.1} KiB each; an event is heard after p50 {:.1} ms, p99 {:.1} ms ({} events, the clients on the same machine)",
        with.saturating_sub(before) as f64 / 1024.0 / WATCHERS as f64,
        quantile(&mut delays, 0.5),
        quantile(&mut delays, 0.99),
        delays.len()
    );
}

/// How long ago the state changed that a `status` event tells of: its id begins with that time.
fn delay(event: &str) -> Option<Duration> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let (millis, _number) = field("id: ").filter(|_| field("event: ") == Some("status"))?.split_once('-')?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(Duration::from_millis(millis.parse().ok()?)))
}

/// Conversions, and what they do to everybody else.
pub(crate) async fn conversion(binary: &Path) {
    let env = [("LOG_LEVEL", "error"), ("IMAGE_CONVERSIONS", "1")];
    let system = system(binary, Shape { sim: Some(json!({})), env: &env }).await;
    let client = Client::builder().build().unwrap();
    let url = &system.gateway.url;
    let body = json!({"workflowId": "tiny", "inputs": {"color": 7, "width": 1024, "height": 1024}});
    let job = ended(&client, url, &body).await;
    let job_url = format!("{url}/jobs/{}", job["jobId"].as_str().unwrap());
    let output = format!("{url}{}", job["outputs"][0]["url"].as_str().unwrap());
    let full = Arc::new(AtomicBool::new(true));
    let mut idle = look(&client, &job_url, Duration::from_secs(3)).await;
    let began = Instant::now();
    let mut converting = JoinSet::new();
    for worker in 0..4 {
        let (client, output, full) = (client.clone(), output.clone(), Arc::clone(&full));
        converting.spawn(async move {
            let mut made = 0;
            // Another width each time: none is found made.
            for width in (0..CONVERSIONS).filter(|number| number % 4 == worker).map(|number| 1023 - number) {
                let answer = client.get(format!("{output}?format=webp&width={width}")).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                let _bytes = answer.bytes().await.unwrap();
                made += 1;
            }
            full.store(false, Ordering::Relaxed);
            made
        });
    }
    let mut busy = Vec::new();
    while full.load(Ordering::Relaxed) {
        busy.extend(look(&client, &job_url, Duration::from_millis(200)).await);
    }
    let made: usize = converting.join_all().await.into_iter().sum();
    let rate = made as f64 / began.elapsed().as_secs_f64();
    let (idle, busy) = (quantile(&mut idle, 0.99), quantile(&mut busy, 0.99));
    println!(
        "convert   1024x1024 PNG to WebP, one at a time: {rate:.1} pictures/s; GET /jobs/{{id}} p99 {idle:.2} ms idle, {busy:.2} ms meanwhile, ratio {:.2}",
        busy / idle
    );
}

/// Looks at a job at a fixed pace; how long each answer took.
async fn look(client: &Client, url: &str, time: Duration) -> Vec<Duration> {
    let mut times = Vec::new();
    let began = Instant::now();
    while began.elapsed() < time {
        let asked = Instant::now();
        let answer = client.get(url).send().await.unwrap();
        let _body = answer.bytes().await.unwrap();
        times.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times
}
