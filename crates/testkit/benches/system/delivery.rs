//! What results cost on their way out: from the cache, as events to many watchers, in another format.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::load;
use crate::process::{Shape, System, ended, quantile, system};
use crate::report::{Report, Target};

const CLIENTS: usize = 16;
const POSTS: usize = 6_000;
const WATCHERS: usize = 1_000;
const WATCHED: usize = 6;
/// Of each client in a round: with all of them some seconds, for a p99 that is not of ten answers.
const CONVERSIONS: usize = 40;
const CONVERTING: usize = 4;
/// How long it is looked at without conversions, about as long as with them.
const IDLE: Duration = Duration::from_secs(8);
const ROUNDS: usize = 3;

/// `POST /jobs` whose result is in the cache, against one whose result is not.
pub(crate) async fn cache(binary: &Path, report: &mut Report) {
    let env = [("LOG_LEVEL", "error"), ("CACHE_ENABLED", "true")];
    let system = system(binary, Shape { sim: Some(json!({"fastRender": true})), env: &env, ..Shape::default() }).await;
    let client = Client::builder().build().unwrap();
    let url = &system.gateway.url;
    let _first = ended(&client, url, &System::job(7)).await;
    let mut sides: [[Vec<f64>; 3]; 2] = Default::default();
    for round in 0..ROUNDS {
        let hits = post_all(url, |_| 7, 200).await;
        // Their jobs run beside them, and are over before the next round.
        let misses = post_all(url, move |number| 100_000 * (round + 1) + number, 202).await;
        all_done(&client, url).await;
        for (side, (mut times, rate)) in sides.iter_mut().zip([hits, misses]) {
            for (values, value) in side.iter_mut().zip([quantile(&mut times, 0.5), quantile(&mut times, 0.99), rate]) {
                values.push(value);
            }
        }
    }
    for (name, [p50, p99, rate]) in ["hit", "miss"].into_iter().zip(&sides) {
        report.figure(&format!("POST /jobs, {CLIENTS} clients, cache {name}: p50"), "ms", p50);
        report.figure(&format!("POST /jobs, {CLIENTS} clients, cache {name}: p99"), "ms", p99);
        report.figure(&format!("POST /jobs, {CLIENTS} clients, cache {name}"), "/s", rate);
    }
    let [[_, _, hits], [_, _, misses]] = &sides;
    report.ratio("POST /jobs, cache hit", "cache miss", hits, misses).target(Target::AtLeast(1.0));
}

/// Waits until no job waits or runs.
async fn all_done(client: &Client, url: &str) {
    loop {
        let answer = client.get(format!("{url}/jobs/stats")).send().await.unwrap();
        let stats: Value = answer.json().await.unwrap();
        let open = |state: &str| stats["jobs"][state].as_u64().unwrap();
        if open("queued") + open("running") == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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

/// Watchers of running jobs: the memory of each, and how late they hear.
pub(crate) async fn watchers(binary: &Path, report: &mut Report) {
    let (mut memory, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (bytes, mut delays) = watch(binary).await;
        memory.push(bytes / 1024.0);
        p50.push(quantile(&mut delays, 0.5));
        p99.push(quantile(&mut delays, 0.99));
    }
    report.figure(&format!("{WATCHERS} watchers by SSE: memory of each"), "KiB", &memory);
    report.figure(&format!("{WATCHERS} watchers by SSE: an event is heard after p50"), "ms", &p50);
    report.figure(&format!("{WATCHERS} watchers by SSE: an event is heard after p99"), "ms", &p99);
}

/// Bytes a watcher, and how late each event was heard.
async fn watch(binary: &Path) -> (f64, Vec<Duration>) {
    let switches = json!({"fastRender": true, "nodeMs": 8_000});
    let slots = WATCHED.to_string();
    let env = [("LOG_LEVEL", "error"), ("MAX_CONCURRENCY", slots.as_str())];
    let system = system(binary, Shape { sim: Some(switches), env: &env, ..Shape::default() }).await;
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
        let events = format!("{url}/jobs/{}/events", ids[number % ids.len()]);
        watching.spawn(listen(client.clone(), events, Arc::clone(&open)));
    }
    while open.load(Ordering::Relaxed) < WATCHERS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (with, _) = system.gateway.memory();
    let delays = watching.join_all().await.into_iter().flatten().collect();
    (with.saturating_sub(before) as f64 / WATCHERS as f64, delays)
}

/// Hears a stream to its end.
async fn listen(client: Client, events: String, open: Arc<AtomicUsize>) -> Vec<Duration> {
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
}

/// How long ago the state changed that a `status` event tells of: its id begins with that time.
fn delay(event: &str) -> Option<Duration> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let (millis, _number) = field("id: ").filter(|_| field("event: ") == Some("status"))?.split_once('-')?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(Duration::from_millis(millis.parse().ok()?)))
}

/// Conversions, and what they do to everybody else.
pub(crate) async fn conversion(binary: &Path, report: &mut Report) {
    let env = [("LOG_LEVEL", "error"), ("IMAGE_CONVERSIONS", "1")];
    let system = system(binary, Shape { sim: Some(json!({})), env: &env, ..Shape::default() }).await;
    let client = Client::builder().build().unwrap();
    let url = &system.gateway.url;
    let body = json!({"workflowId": "tiny", "inputs": {"color": 7, "width": 1024, "height": 1024}});
    let job = ended(&client, url, &body).await;
    let path = format!("/jobs/{}", job["jobId"].as_str().unwrap());
    let output = format!("{url}{}", job["outputs"][0]["url"].as_str().unwrap());
    let (mut rate, mut idle, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    // Its p99 is of few: more rounds than elsewhere.
    for round in 0..2 * ROUNDS - 1 {
        let began = Instant::now();
        idle.push(quantile(&mut look(&system, &path, move || began.elapsed() > IDLE).await, 0.99));
        let full = Arc::new(AtomicBool::new(true));
        let began = Instant::now();
        let mut converting = JoinSet::new();
        for worker in 0..CONVERTING {
            let output = format!("{output}?format=webp&quality={}", 70 + round);
            converting.spawn(convert(client.clone(), output, worker, Arc::clone(&full)));
        }
        let mut looks = look(&system, &path, move || !full.load(Ordering::Relaxed)).await;
        let made: usize = converting.join_all().await.into_iter().sum();
        rate.push(made as f64 / began.elapsed().as_secs_f64());
        busy.push(quantile(&mut looks, 0.99));
    }
    report.figure("conversions of 1024x1024 PNG to WebP, one at a time", "/s", &rate);
    let what = "GET /jobs/{id} p99 while the pool converts";
    report.ratio(what, "while it is idle", &busy, &idle).target(Target::AtMost(1.5));
}

/// Asks for pictures that nobody asked for before; how many there were.
async fn convert(client: Client, output: String, number: usize, full: Arc<AtomicBool>) -> usize {
    // Another width each time, and in each round another quality: none is found made.
    for width in 1023 - (number + 1) * CONVERSIONS..1023 - number * CONVERSIONS {
        let answer = client.get(format!("{output}&width={width}")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let _bytes = answer.bytes().await.unwrap();
    }
    full.store(false, Ordering::Relaxed);
    CONVERSIONS
}

/// Looks at a job every 2 ms until `done` says so; how long each answer took. From a thread of its own, which nothing but
/// the answer wakes: what is measured is the gateway.
async fn look(system: &System, path: &str, done: impl Fn() -> bool + Send + 'static) -> Vec<Duration> {
    let (address, request) = (system.gateway.address().to_owned(), load::get(path));
    let looking = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut answer = vec![0; 64 * 1024];
        let mut times = Vec::new();
        while !done() {
            let asked = Instant::now();
            stream.write_all(&request).unwrap();
            let mut length = 0;
            while !load::is_whole(&answer[..length], "HTTP/1.1 200") {
                let read = stream.read(&mut answer[length..]).unwrap();
                assert!(read > 0, "the connection was closed");
                length += read;
            }
            times.push(asked.elapsed());
            std::thread::sleep(Duration::from_millis(2));
        }
        times
    };
    tokio::task::spawn_blocking(looking).await.unwrap()
}
