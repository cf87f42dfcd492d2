//! What the tests with a misbehaving ComfyUI share.

use gateway_testkit::{TestBuilder, TestGateway, sampler_workflow, tiny_workflow, until};
use serde_json::{Value, json};

/// Milliseconds of a step of [`sampler_workflow`] where a test uses [`gateway`].
pub(super) const STEP_MS: u64 = 20;

/// A gateway with the workflows `tiny` and `sampler`, whose sampler takes [`STEP_MS`] a step.
pub(super) async fn gateway(builder: TestBuilder) -> TestGateway {
    let test = builder.switches(|switches| switches.step_ms = STEP_MS).start().await;
    register(&test).await;
    test
}

/// Registers `tiny` and `sampler`.
pub(super) async fn register(test: &TestGateway) {
    test.register("tiny", tiny_workflow()).await;
    test.register("sampler", sampler_workflow()).await;
}

/// Inputs of a run of `sampler` that ends only when it is stopped.
pub(crate) fn endless() -> Value {
    json!({"steps": 10_000})
}

/// Waits until ComfyUI has begun to run `count` prompts in all.
pub(super) async fn started(test: &TestGateway, count: u64) {
    until("ComfyUI begins the prompt", || async { (test.sim.stats().prompts_started >= count).then_some(()) }).await;
}

/// What `GET path` of the simulator gives.
pub(super) async fn sim_json(test: &TestGateway, path: &str) -> Value {
    let response = test.client().get(format!("{}{path}", test.sim.url())).send().await.expect("the simulator answers");
    assert_eq!(response.status(), 200, "GET {path}");
    response.json().await.expect("JSON")
}

/// Ids of the prompts that run and that wait in the simulator.
pub(super) async fn queue(test: &TestGateway) -> (Vec<String>, Vec<String>) {
    let queue = sim_json(test, "/queue").await;
    let ids = |key: &str| {
        let items = queue[key].as_array().expect("a list").iter();
        items.map(|item| item[1].as_str().expect("an id").to_owned()).collect()
    };
    (ids("queue_running"), ids("queue_pending"))
}

/// Waits until the simulator's queue is empty.
pub(super) async fn idle(test: &TestGateway) {
    until("ComfyUI's queue is empty", || async {
        let (running, pending) = queue(test).await;
        (running.is_empty() && pending.is_empty()).then_some(())
    })
    .await;
}

/// Waits until so many prompts wait in the simulator behind the one that runs.
pub(super) async fn pending(test: &TestGateway, count: usize) -> Vec<String> {
    until("prompts wait in ComfyUI", || async {
        let (_, pending) = queue(test).await;
        (pending.len() == count).then_some(pending)
    })
    .await
}

/// Asserts that the job succeeded in its attempt `attempt`, with at least one output.
#[track_caller]
pub(super) fn succeeded(job: &Value, attempt: u64) {
    assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(attempt)), "{job}");
    assert!(job["outputs"].as_array().is_some_and(|outputs| !outputs.is_empty()), "{job}");
}

/// Asserts that the job failed with this code in its attempt `attempt`, and that its error says what to do.
#[track_caller]
pub(super) fn failed(job: &Value, code: &str, attempt: u64) {
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!(code)), "{job}");
    assert_eq!(job["attempt"], attempt, "{job}");
    assert!(job["error"]["recommendation"].as_str().is_some_and(|text| !text.is_empty()), "{job}");
    assert!(job["outputs"].as_array().is_none_or(Vec::is_empty), "{job}");
}

/// The error's message.
pub(super) fn message(job: &Value) -> &str {
    job["error"]["message"].as_str().unwrap_or_default()
}

/// Asserts that no prompt ran twice, and how many ran.
#[track_caller]
pub(super) fn each_ran_once(test: &TestGateway, prompts: usize) {
    let starts = test.sim.stats().starts;
    assert_eq!(starts.len(), prompts, "{starts:?}");
    assert!(starts.values().all(|count| *count == 1), "{starts:?}");
}

/// Asks for the job to be canceled.
pub(super) async fn cancel(test: &TestGateway, id: &str) {
    let _accepted = test.post(&format!("/jobs/{id}/cancel"), &json!({})).await.expect(202);
}

/// Submits a job with a time limit of its own.
pub(super) async fn submit_limited(test: &TestGateway, inputs: Value, timeout_ms: u64) -> String {
    let body = json!({"workflowId": "sampler", "inputs": inputs, "timeoutMs": timeout_ms});
    let answer = test.post("/jobs", &body).await.expect(202);
    answer.json()["jobId"].as_str().expect("an id").to_owned()
}

/// Sends ComfyUI the prompt of somebody else: `steps` steps of sampling.
pub(super) async fn strangers_prompt(test: &TestGateway, steps: u64) -> String {
    let mut graph = sampler_workflow()["workflow"].take();
    graph["1"]["inputs"]["ckpt_name"] = json!("v1-5-random.safetensors");
    graph["4"]["inputs"]["seed"] = json!(1);
    graph["4"]["inputs"]["steps"] = json!(steps);
    graph["4"]["inputs"]["sampler_name"] = json!("euler");
    let request = test.client().post(format!("{}/prompt", test.sim.url())).json(&json!({"prompt": graph}));
    let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    answer["prompt_id"].as_str().expect("an id").to_owned()
}

/// How the simulator's history says that a prompt ended, once it has.
pub(super) async fn strangers_end(test: &TestGateway, prompt_id: &str) -> String {
    until("the stranger's prompt ends", || async {
        let history = sim_json(test, &format!("/history/{prompt_id}")).await;
        history[prompt_id]["status"]["status_str"].as_str().map(str::to_owned)
    })
    .await
}
