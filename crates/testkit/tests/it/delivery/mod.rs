//! What a caller is told without asking, and what it gets without a new run: webhooks, repeated requests, results of
//! before, answers that wait.

mod cache;
mod idempotency;
mod waiting;
mod webhooks;

use comfyui_sim::FailNode;
use gateway_config::Settings;
use gateway_core::ErrorCode;
use gateway_core::allowlist::Allowlist;
use gateway_testkit::{Answer, Receiver, TestBuilder, TestGateway, sampler_workflow, tiny_workflow, until};
use serde_json::{Value, json};

/// Where no ComfyUI is, nor anything else.
const NOWHERE: &str = "http://127.0.0.1:9";
/// A well-formed id that nothing has.
const UNKNOWN: &str = "01900000-0000-7000-8000-000000000000";
/// Steps of a run of `sampler` or `fragile` that is over soon only once its steps take no time.
const LONG: u64 = 1_000;
/// What a step takes until then.
const STEP_MS: u64 = 20;

/// Starts it with the workflows `tiny`, `sampler` and `fragile`.
async fn start(builder: TestBuilder) -> TestGateway {
    let test = builder.switches(|switches| switches.step_ms = STEP_MS).start().await;
    register(&test).await;
    test
}

/// Starts it with a ComfyUI that is never there: what is queued stays queued.
async fn offline(builder: TestBuilder) -> TestGateway {
    let test = builder.comfyui_url(NOWHERE).start_unready().await;
    register(&test).await;
    test
}

async fn register(test: &TestGateway) {
    for (id, workflow) in [("tiny", tiny_workflow()), ("sampler", sampler_workflow()), ("fragile", fragile_workflow())]
    {
        test.register(id, workflow).await;
    }
}

/// The sampler with a last node of a class that no other workflow has, so that it alone can be made to fail.
fn fragile_workflow() -> Value {
    let mut workflow = sampler_workflow();
    workflow["workflow"]["7"] = json!({"class_type": "ImageInvert", "inputs": {"image": ["5", 0]}});
    workflow["workflow"]["6"]["inputs"]["images"] = json!(["7", 0]);
    workflow
}

/// Has prompts of `fragile` fail that begin from now on.
fn break_fragile(test: &TestGateway) {
    let fault =
        FailNode { class_type: "ImageInvert".into(), exception_type: "ValueError".into(), message: "no".into() };
    test.sim.update(|switches| switches.fail_node = Some(fault));
}

/// Lets samplers run to their end at once.
fn hurry(test: &TestGateway) {
    test.sim.update(|switches| switches.step_ms = 0);
}

/// How many prompts ComfyUI has begun.
fn prompts(test: &TestGateway) -> u64 {
    test.sim.stats().prompts_started
}

/// Allows callbacks to these ports of this machine, and shortens the waits between tries.
fn allow(settings: &mut Settings, ports: &[u16]) {
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    settings.webhooks.urls.allow = Allowlist::parse(&hosts.join(",")).expect("a list of hosts");
    settings.webhooks.retry_scale = 0.001;
}

/// How a gateway begins that may call `receiver`.
fn calling(receiver: &Receiver) -> TestBuilder {
    let port = receiver.port();
    TestBuilder::default().settings(move |settings| allow(settings, &[port]))
}

/// The body that asks for a job.
fn wish(workflow: &str, inputs: Value) -> Value {
    json!({"workflowId": workflow, "inputs": inputs})
}

/// The body that asks for a job whose end `url` is told of.
fn wish_told(workflow: &str, inputs: Value, url: &str) -> Value {
    json!({"workflowId": workflow, "inputs": inputs, "callbackUrl": url})
}

/// Sends `body`; gives the id of the job that has to come of it, with this status of the answer.
async fn submit(test: &TestGateway, body: &Value, status: u16) -> String {
    id(&test.post("/jobs", body).await.expect(status))
}

/// The id of the job that `answer` is about.
#[track_caller]
fn id(answer: &Answer) -> String {
    text(&answer.json(), "/jobId")
}

/// The text at `pointer`.
#[track_caller]
fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer}: {value}")).to_owned()
}

/// Asserts that `answer` refuses with this code.
#[track_caller]
fn refused(answer: &Answer, code: ErrorCode) {
    let told = (answer.status, answer.code());
    assert_eq!(told, (code.status(), code.as_str().to_owned()), "{}", answer.json());
}

/// Cancels the job.
async fn cancel(test: &TestGateway, id: &str) {
    let _accepted = test.post(&format!("/jobs/{id}/cancel"), &json!({})).await.expect(202);
}

/// Waits until each of the jobs has ended as `status` says; gives them.
async fn ended(test: &TestGateway, ids: &[String], status: &str) -> Vec<Value> {
    let mut jobs = Vec::new();
    for id in ids {
        jobs.push(test.wait_status(id, status).await);
    }
    jobs
}

/// The log of messages about the job.
async fn deliveries(test: &TestGateway, job: &str) -> Vec<Value> {
    let log = test.get(&format!("/jobs/{job}/webhooks")).await.expect(200).json();
    assert_eq!(log["jobId"], job);
    log["items"].as_array().expect("a list").clone()
}

/// Waits until the one message about the job is as `status` says; gives its entry in the log.
async fn delivery(test: &TestGateway, job: &str, status: &str) -> Value {
    until(&format!("the message is {status}"), || async {
        let items = deliveries(test, job).await;
        assert!(items.len() <= 1, "{items:?}");
        items.into_iter().next().filter(|item| item["status"] == status)
    })
    .await
}

/// The tries in an entry of the log.
fn attempts(entry: &Value) -> Vec<Value> {
    entry["attempts"].as_array().expect("a list").clone()
}
