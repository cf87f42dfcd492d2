//! The document of the API against a gateway as it runs: requests that a machine makes up from it (Schemathesis), and what
//! a client does that was generated from it.

use std::path::PathBuf;
use std::process::{Command, Output};

use gateway_testkit::{Answer, Receiver, TestBuilder, TestGateway, tiny_workflow, until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::postgres::Own;

const ADMIN: &str = "administrator-0123456789";
const USER: &str = "alice-0123456789abcdef";
pub(crate) const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");
/// Seconds that are spent on making requests up, with each key.
const SPENT: [(&str, u32); 2] = [(ADMIN, 100), (USER, 25)];
/// The same again, where the machine is so slow that these were too few.
const MORE: [(&str, u32); 4] = [(ADMIN, 60); 4];
/// Requests that must have been made up.
const ENOUGH: u64 = 5_000;
/// Operations that must have done what they are for, at least once: else little was tried.
const REACHED: [&str; 15] = [
    "GET /openapi.json",
    "POST /workflows",
    "POST /workflows/{id}/validate",
    "POST /jobs",
    "GET /jobs",
    "GET /jobs/{id}",
    "GET /jobs/{id}/events",
    "POST /jobs/{id}/webhooks/{delivery}/redeliver",
    "POST /batches",
    "POST /uploads",
    "GET /outputs/{id}/{file}",
    "POST /mcp",
    "POST /keys",
    "GET /audit",
    "POST /queue/pause",
];

/// The interpreter of the tests; `None` where it can't be had and its tests are left out.
#[expect(clippy::disallowed_methods, reason = "the test command tells where its Python is")]
pub(crate) fn python() -> Option<PathBuf> {
    let python = std::env::var("TEST_PYTHON").ok().map(PathBuf::from);
    let left_out = std::env::var("TEST_WITHOUT_PYTHON").is_ok();
    assert!(python.is_some() || left_out, "no Python: run the tests by `cargo xtask test`");
    python
}

/// Runs a program that calls the gateway of this test.
pub(crate) async fn run(mut command: Command) -> Output {
    command.env("NO_PROXY", "127.0.0.1").env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::task::spawn_blocking(move || command.output());
    output.await.expect("it does not panic").expect("the program runs")
}

/// What it said, where it did not end well.
#[track_caller]
pub(crate) fn check(output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}

/// A gateway that knows an administrator and a user, and calls back to `receiver`.
async fn guarded(receiver: &Receiver) -> TestGateway {
    let here = format!("127.0.0.1:{}", receiver.port());
    let test = TestBuilder::default()
        .variable("API_KEYS", format!("{ADMIN}:admin:boss,{USER}:user:alice"))
        .variable("TRUSTED_PROXIES", "127.0.0.1")
        .variable("WEBHOOK_ALLOWED_DOMAINS", here.clone())
        .variable("INPUT_ALLOWED_DOMAINS", here)
        .variable("QUEUE_MAX_DEPTH", "100000")
        .variable("ALLOW_RAW_WORKFLOWS", "true")
        .key(ADMIN)
        .start()
        .await;
    test.register("tiny", tiny_workflow()).await;
    test
}

/// The first message about the job or batch at `path`.
async fn told(test: &TestGateway, path: &str) -> Value {
    until("it is told of", || async {
        let list = test.get(&format!("{path}/webhooks")).await.expect(200).json();
        list.pointer("/items/0/deliveryId").cloned()
    })
    .await
}

/// What the scripts must know to get further than a first refusal.
async fn prepared(test: &TestGateway, receiver: &Receiver) -> Vec<(&'static str, String)> {
    let hook = receiver.url("/hook");
    let job = json!({"workflowId": "tiny", "inputs": {"color": 1}, "callbackUrl": hook});
    let batch = json!({"workflowId": "tiny", "items": [{"inputs": {"color": 2}}], "callbackUrl": hook});
    let sweep = json!({"workflowId": "tiny", "sweep": {"color": [3, 4]}});
    let graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": 7}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    });
    let job_id = test.post("/jobs", &job).await.expect(202).json()["jobId"].clone();
    let batch_id = test.post("/batches", &batch).await.expect(202).json()["batchId"].clone();
    let path = |kind: &str, id: &Value| format!("/{kind}/{}", id.as_str().expect("an id"));
    let delivery = told(test, &path("jobs", &job_id)).await;
    let batch_delivery = told(test, &path("batches", &batch_id)).await;
    let bodies = json!({
        "createJob": [{"workflowId": "tiny", "inputs": {"color": 5, "width": 32}}, job, {"workflow": graph}],
        "createBatch": [batch, sweep],
        "validateInputs": [{"inputs": {"color": 6}}],
        "answerMessage": [
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "contract", "version": "1"},
            }},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": "a", "method": "tools/list"},
            {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "job_status", "arguments": {"jobId": job_id}}},
        ],
    });
    let parts = json!({
        "/workflows/": {"id": "tiny"},
        "/jobs/": {"id": job_id, "delivery": delivery},
        "/batches/": {"id": batch_id, "delivery": batch_delivery},
        "/outputs/": {"id": job_id, "file": "image_001.png"},
    });
    vec![
        ("CONTRACT_BODIES", bodies.to_string()),
        ("CONTRACT_PARTS", parts.to_string()),
        ("CONTRACT_KEPT", json!(["tiny", job_id, batch_id]).to_string()),
    ]
}

/// How often `operation` did what it is for.
fn accepted(report: &Value, operation: &str) -> u64 {
    let phases = report["valid_rates"][operation].as_object();
    phases.into_iter().flatten().filter_map(|(_, phase)| phase["accepted"].as_u64()).sum()
}

/// Has requests made up for so many seconds; gives the report of it.
async fn try_out(test: &TestGateway, mut command: Command, seed: usize, seconds: u32) -> Value {
    let report = test.folder().join(format!("report-{seed}.json"));
    command
        .arg("--config-file")
        .arg(format!("{SCRIPTS}/schemathesis.toml"))
        .args(["run", &test.url("/openapi.json"), "--url", &test.url("/v1"), "--seed", &seed.to_string()])
        .args(["--max-time", &seconds.to_string(), "--report", "json", "--report-json-path"])
        .arg(&report)
        .current_dir(test.folder())
        .env("PYTHONPATH", SCRIPTS);
    check(&run(command).await);
    let text = std::fs::read_to_string(&report).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["complete"], true, "{}", report["stop_reason"]);
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_a_machine_makes_up_are_answered_as_the_document_says() {
    let Some(python) = python() else { return };
    let receiver = Receiver::start().await;
    let test = guarded(&receiver).await;
    let variables = prepared(&test, &receiver).await;
    let mut made = 0;
    for (round, (key, seconds)) in SPENT.into_iter().chain(MORE).enumerate() {
        if round >= SPENT.len() && made >= ENOUGH {
            break;
        }
        let mut command = Command::new(python.with_file_name("schemathesis"));
        command.env("CONTRACT_KEY", key).envs(variables.clone());
        let report = try_out(&test, command, round, seconds).await;
        made += report["test_cases"]["generated"].as_u64().expect("a number");
        for operation in REACHED.into_iter().filter(|_| round == 0) {
            assert!(accepted(&report, operation) > 0, "{operation} was never accepted");
        }
    }
    assert!(made >= ENOUGH, "only {made} requests were made up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_generated_from_the_document_makes_a_job() {
    let Some(python) = python() else { return };
    let receiver = Receiver::start().await;
    let test = guarded(&receiver).await;
    let mut generate = Command::new(python.with_file_name("openapi-python-client"));
    generate
        .args(["generate", "--url", &test.url("/openapi.json"), "--meta", "none", "--fail-on-warning"])
        .arg("--config")
        .arg(format!("{SCRIPTS}/generated_client.yaml"))
        .arg("--output-path")
        .arg(test.folder().join("client"));
    check(&run(generate).await);
    let mut script = Command::new(&python);
    script
        .arg(format!("{SCRIPTS}/generated_client.py"))
        .args([test.url("").as_str(), ADMIN])
        .env("PYTHONPATH", test.folder());
    check(&run(script).await);
}

#[tokio::test]
async fn the_document_and_its_page_are_open_to_anybody_and_known_by_a_tag() {
    let receiver = Receiver::start().await;
    let test = guarded(&receiver).await;
    let get = async |path: &str, tag: &str| {
        let request = test.client().get(test.url(path)).header("if-none-match", tag);
        Answer::read(request.send().await.expect("an answer")).await
    };
    for prefix in ["", "/v1"] {
        let document = get(&format!("{prefix}/openapi.json"), "\"other\"").await.expect(200);
        assert_eq!(document.header("content-type"), "application/json");
        assert_eq!(document.json()["openapi"], "3.1.0");
        let page = get(&format!("{prefix}/docs"), "\"other\"").await.expect(200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
        assert!(String::from_utf8_lossy(&page.bytes).contains("href=\"openapi.json\""));
        for (path, answer) in [("/openapi.json", document), ("/docs", page)] {
            let known = get(&format!("{prefix}{path}"), answer.header("etag")).await.expect(304);
            assert_eq!((known.bytes.len(), known.header("etag")), (0, answer.header("etag")));
            let asked = get(&format!("{prefix}{path}?raw=1"), "\"other\"").await.expect(422);
            assert_eq!(asked.fault_paths(), ["?raw"]);
        }
    }
}

#[tokio::test]
async fn a_path_with_a_nul_leads_to_nothing_on_postgres_too() {
    let Some(own) = Own::new() else { return };
    let test = TestBuilder::default().database(own.url()).start().await;
    let id = "%00";
    for (method, path, code) in [
        (Method::GET, format!("/workflows/{id}"), "WORKFLOW_NOT_FOUND"),
        (Method::PUT, format!("/workflows/{id}"), "WORKFLOW_NOT_FOUND"),
        (Method::DELETE, format!("/workflows/{id}"), "WORKFLOW_NOT_FOUND"),
        (Method::POST, format!("/workflows/{id}/validate"), "WORKFLOW_NOT_FOUND"),
        (Method::DELETE, format!("/keys/{id}"), "KEY_NOT_FOUND"),
        (Method::POST, format!("/workers/{id}/drain"), "NOT_FOUND"),
        (Method::GET, format!("/jobs/{id}"), "JOB_NOT_FOUND"),
        (Method::GET, format!("/batches/{id}"), "BATCH_NOT_FOUND"),
        (Method::GET, format!("/outputs/{id}/{id}"), "OUTPUT_NOT_FOUND"),
    ] {
        let body = (method != Method::GET).then(|| json!({}));
        let answer = test.send(method.clone(), &path, body.as_ref()).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, code), "{method} {path}");
    }
}
