//! Graphs that callers send in place of a workflow's id: who may, what they may hold, and that the job that comes of one
//! is like any other. Also what is told of ComfyUI servers on which that is dangerous.

mod callers;
mod graphs;
mod jobs;

use gateway_core::ErrorCode;
use gateway_testkit::{Answer, TestBuilder, TestGateway, text, tiny_workflow};
use reqwest::Method;
use serde_json::{Value, json};

const ADMIN: &str = "key-of-an-administrator";
const USER: &str = "key-of-a-user";
/// Where no ComfyUI is: what is queued stays queued, and nobody says which classes there are.
const NOWHERE: &str = "http://127.0.0.1:9";

/// How a gateway begins that takes graphs; who may send them is asked of nobody.
fn taking() -> TestBuilder {
    TestBuilder::default().variable("ALLOW_RAW_WORKFLOWS", "true")
}

/// The same with keys; the test's own is the administrator's.
fn guarded(builder: TestBuilder) -> TestBuilder {
    builder.variable("API_KEYS", format!("{ADMIN}:admin:ops,{USER}:user:shop")).key(ADMIN)
}

/// Starts it with the workflow `tiny`.
async fn start(builder: TestBuilder) -> TestGateway {
    let test = builder.start().await;
    test.register("tiny", tiny_workflow()).await;
    test
}

/// Starts it with the workflow `tiny` and without ComfyUI.
async fn offline(builder: TestBuilder) -> TestGateway {
    let test = builder.comfyui_url(NOWHERE).start_unready().await;
    test.register("tiny", tiny_workflow()).await;
    test
}

/// A plain picture.
fn picture(color: u32) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "../../x"},
            "_meta": {"title": "Save"}}
    })
}

/// The same with another node.
fn with_node(id: &str, node: Value) -> Value {
    let mut graph = picture(1);
    graph[id] = node;
    graph
}

/// The picture with its colours turned round: such a graph has a class that `tiny` lacks.
fn turned() -> Value {
    let mut graph = with_node("3", json!({"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}));
    graph["2"]["inputs"] = json!({"images": ["3", 0], "filename_prefix": "x"});
    graph
}

fn with_class(class: &str) -> Value {
    with_node("3", json!({"class_type": class, "inputs": {}}))
}

/// The body that asks for a job of `graph`.
fn body(graph: &Value) -> Value {
    json!({ "workflow": graph })
}

/// `method path` with this key.
async fn send_as(test: &TestGateway, key: &str, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let mut request = test.client().request(method, test.url(path)).header("x-api-key", key);
    if let Some(body) = body {
        request = request.json(body);
    }
    Answer::read(request.send().await.expect("an answer")).await
}

/// Asks for a job of `graph` with this key.
async fn sent(test: &TestGateway, key: &str, graph: &Value) -> Answer {
    send_as(test, key, Method::POST, "/jobs", Some(&body(graph))).await
}

/// Makes a key; `more` is what it has besides its name.
async fn key(test: &TestGateway, name: &str, mut more: Value) -> String {
    more["name"] = json!(name);
    text(&test.post("/keys", &more).await.expect(201).json(), "/key")
}

#[track_caller]
fn id(answer: &Answer) -> String {
    text(&answer.json(), "/jobId")
}

#[track_caller]
fn refused(answer: &Answer, code: ErrorCode) -> String {
    let told = (answer.status, answer.code());
    assert_eq!(told, (code.status(), code.as_str().to_owned()), "{}", answer.json());
    text(&answer.json(), "/detail")
}

/// Asserts a problem about a wrong body, with faults at exactly these paths.
#[track_caller]
fn invalid(answer: &Answer, paths: &[&str], what: &str) {
    refused(answer, ErrorCode::ValidationError);
    assert_eq!(answer.fault_paths(), paths, "{what}: {}", answer.json());
}

/// How many prompts ComfyUI has begun.
fn prompts(test: &TestGateway) -> u64 {
    test.sim.stats().prompts_started
}

async fn count_jobs(test: &TestGateway) -> usize {
    test.get("/jobs?limit=100").await.expect(200).json()["items"].as_array().expect("a list").len()
}
