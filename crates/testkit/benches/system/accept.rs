//! `POST /jobs` and `GET /jobs/{id}` a second with SQLite, against the bare limits: a handler that answers at once, and
//! one that parses the same body and inserts it through a writer that commits what waits together.

use std::path::Path;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use crate::load;
use crate::process::{Process, Shape, System, system};
use crate::report::{Report, Target};

const CONNECTIONS: usize = 64;
const TIME: Duration = Duration::from_secs(4);
const ROUNDS: usize = 4;

pub(crate) async fn run(binary: &Path, report: &mut Report) {
    let request = load::post("/jobs", &body(1_800));
    let (mut hello, mut bare, mut posts, mut gets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::bare(binary, &folder.path().join("bare.db").display().to_string(), None).await;
        hello.push(load::rate(process.address(), &load::get("/"), "HTTP/1.1 200", CONNECTIONS, TIME).await);
        bare.push(load::rate(process.address(), &request, "HTTP/1.1 202", CONNECTIONS, TIME).await);
        drop(process);
        let system = system(binary, Shape { env: &[("LOG_LEVEL", "error")], ..Shape::default() }).await;
        let address = system.gateway.address();
        let ended = load::get(&format!("/jobs/{}", ended(&system).await));
        gets.push(load::rate(address, &ended, "HTTP/1.1 200", CONNECTIONS, TIME).await);
        posts.push(load::rate(address, &request, "HTTP/1.1 202", CONNECTIONS, TIME).await);
    }
    report.figure("hello", "/s", &hello);
    report.figure("bare INSERT, SQLite", "/s", &bare);
    report.figure("POST /jobs, SQLite", "/s", &posts);
    report.ratio("POST /jobs, SQLite", "bare INSERT", &posts, &bare).target(Target::AtLeast(0.7));
    report.ratio("POST /jobs, SQLite", "hello", &posts, &hello);
    report.ratio("GET /jobs/{id} of an ended job", "hello", &gets, &hello).target(Target::AtLeast(0.5));
}

/// A job with `note` bytes of metadata.
pub(crate) fn body(note: usize) -> String {
    json!({"workflowId": "tiny", "inputs": {"color": 7}, "metadata": {"note": "x".repeat(note)}}).to_string()
}

/// The id of a job that was canceled.
async fn ended(system: &System) -> String {
    let client = Client::builder().build().unwrap();
    let url = format!("{}/jobs", system.gateway.url);
    let job: Value = client.post(&url).json(&System::job(1)).send().await.unwrap().json().await.unwrap();
    let id = job["jobId"].as_str().unwrap();
    let canceled = client.post(format!("{url}/{id}/cancel")).send().await.unwrap();
    assert!(canceled.status().is_success(), "{}", canceled.status());
    id.to_owned()
}
