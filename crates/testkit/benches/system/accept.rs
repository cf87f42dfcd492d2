//! `POST /jobs` a second against the bare limit: one handler that parses the same body and inserts it through a writer
//! that commits what waits together, on the same kind of database.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::load;
use crate::process::{Process, Shape, system};

const CONNECTIONS: usize = 64;
const TIME: Duration = Duration::from_secs(4);
const ROUNDS: usize = 4;

pub(crate) async fn run(binary: &Path) {
    let note = "x".repeat(1_800);
    let body = json!({"workflowId": "tiny", "inputs": {"color": 7}, "metadata": {"note": note}}).to_string();
    let request = load::post("/jobs", &body);
    let (mut bare, mut gateway) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(measure_bare(binary, &request).await);
        let system = system(binary, Shape { sim: None, env: &[("LOG_LEVEL", "error")] }).await;
        let address = system.gateway.url.trim_start_matches("http://");
        gateway.push(load::rate(address, &request, "HTTP/1.1 202", CONNECTIONS, TIME).await);
    }
    let (bare, gateway) = (median(&mut bare), median(&mut gateway));
    println!(
        "accept    POST /jobs {gateway:.0}/s, bare batched handler {bare:.0}/s, ratio {:.2} ({CONNECTIONS} connections, {} byte bodies, medians of {ROUNDS} interleaved rounds)",
        gateway / bare,
        body.len(),
    );
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2] + values[(values.len() - 1) / 2]) / 2.0
}

async fn measure_bare(binary: &Path, request: &[u8]) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::bare(binary, &folder.path().join("bare.db").display().to_string(), None).await;
    load::rate(process.url.trim_start_matches("http://"), request, "HTTP/1.1 202", CONNECTIONS, TIME).await
}
