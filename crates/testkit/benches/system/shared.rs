//! `POST /jobs` where processes share the queue, against a bare handler that inserts into the same kind of database and
//! hints in a stream: at a fixed rate, and as fast as they go.

use std::path::Path;
use std::time::Duration;

use gateway_testkit::stack::{Postgres, Redis};
use serde_json::json;

use crate::accept::median;
use crate::load;
use crate::process::{Process, Shape, quantile, system};

const RATE: f64 = 500.0;
const TIME: Duration = Duration::from_secs(8);
const CONNECTIONS: usize = 64;
const BURST: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

pub(crate) async fn run(binary: &Path, server: &str) {
    let body = json!({"workflowId": "tiny", "inputs": {"color": 7}, "metadata": {"note": "x".repeat(200)}}).to_string();
    let request = load::post("/jobs", &body);
    let (mut bare, mut shared) = (Vec::new(), Vec::new());
    let mut paced: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let redis = Redis::start(folder.path(), true).await;
        let own = |name: &str| Postgres::new(server, &format!("b_{name}_{}_{round}", std::process::id()));

        let database = own("bare");
        let process = Process::bare(binary, &database.url(), Some(&redis.url())).await;
        let address = process.url.trim_start_matches("http://").to_owned();
        paced[0].push(p99(&address, &request).await);
        bare.push(load::rate(&address, &request, "HTTP/1.1 202", CONNECTIONS, BURST).await);
        drop((process, database));

        let database = own("shared");
        let (url, queue) = (database.url(), redis.url());
        let env = [("LOG_LEVEL", "error"), ("DATABASE_URL", url.as_str()), ("REDIS_URL", queue.as_str())];
        let gateway = system(binary, Shape { sim: None, env: &env }).await;
        let address = gateway.gateway.url.trim_start_matches("http://").to_owned();
        paced[1].push(p99(&address, &request).await);
        shared.push(load::rate(&address, &request, "HTTP/1.1 202", CONNECTIONS, BURST).await);
        drop((gateway, database));

        let gateway = system(binary, Shape { sim: None, env: &[("LOG_LEVEL", "error")] }).await;
        paced[2].push(p99(gateway.gateway.url.trim_start_matches("http://"), &request).await);
    }
    let [bare_p99, shared_p99, sqlite_p99] = paced.map(|mut values| median(&mut values));
    println!(
        "shared    POST /jobs at {RATE:.0}/s: p99 {shared_p99:.1} ms with Postgres and Redis, {sqlite_p99:.1} ms with SQLite, {bare_p99:.1} ms the bare INSERT + XADD handler (medians of {ROUNDS} interleaved rounds)"
    );
    let (bare, shared) = (median(&mut bare), median(&mut shared));
    println!(
        "shared    POST /jobs {shared:.0}/s with Postgres and Redis, bare INSERT + XADD handler {bare:.0}/s, ratio {:.2} ({CONNECTIONS} connections, {} byte bodies)",
        shared / bare,
        body.len()
    );
}

async fn p99(address: &str, request: &[u8]) -> f64 {
    let mut took = load::paced(address, request, "HTTP/1.1 202", RATE, TIME).await;
    assert_eq!(took.len(), (RATE * TIME.as_secs_f64()) as usize);
    quantile(&mut took, 0.99)
}
