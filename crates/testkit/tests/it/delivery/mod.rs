//! How jobs are handed in and how results reach people: webhooks, repeated requests, results of before, answers that
//! wait, files in and out, batches, and how long what is kept.

mod batches;
mod cache;
mod forms;
mod idempotency;
mod inputs;
mod retention;
mod uploads;
mod waiting;
mod webhooks;

use std::io::Cursor;
use std::path::PathBuf;

use comfyui_sim::FailNode;
use gateway_config::Settings;
use gateway_core::ErrorCode;
use gateway_core::allowlist::Allowlist;
use gateway_testkit::{
    Answer, Receiver, TestBuilder, TestGateway, copy_workflow, files_below, in_an_hour, sampler_workflow, sha256, text,
    tiny_workflow, until,
};
use image::{ImageFormat, Rgb, RgbImage};
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

/// Starts it with the workflow `copy` besides.
async fn copying(builder: TestBuilder) -> TestGateway {
    let test = start(builder).await;
    test.register("copy", copy_workflow()).await;
    test
}

/// How a gateway begins that may fetch files from `receiver`.
fn fetching(receiver: &Receiver) -> TestBuilder {
    let host = format!("127.0.0.1:{}", receiver.port());
    TestBuilder::default().settings(move |settings| {
        settings.files.urls.allow = Allowlist::parse(&host).expect("a list of hosts");
    })
}

/// How many files were handed to ComfyUI.
fn handed(test: &TestGateway) -> u64 {
    test.sim.stats().requests.get("POST /upload/image").copied().unwrap_or_default()
}

/// A picture of noise, another one for each `number`.
fn noise(width: u32, height: u32, number: u32) -> RgbImage {
    let mut state = number.wrapping_mul(2_654_435_761) | 1;
    RgbImage::from_fn(width, height, |_, _| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let [red, green, blue, _] = state.to_be_bytes();
        Rgb([red, green, blue])
    })
}

/// A file of `picture`.
fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("a file");
    bytes.into_inner()
}

/// What the picture in `bytes` shows.
#[track_caller]
fn pixels(bytes: &[u8]) -> RgbImage {
    image::load_from_memory(bytes).expect("a picture").to_rgb8()
}

/// A sound of `size` bytes, which is none to whoever listens.
fn wav(size: usize) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    bytes.resize(size, 0);
    bytes
}

/// Hands in `bytes`; gives the id of the upload that has to come of it.
async fn upload(test: &TestGateway, bytes: &[u8]) -> String {
    let request = test.client().post(test.url("/uploads")).body(bytes.to_vec());
    text(&Answer::read(request.send().await.expect("an answer")).await.expect(201).json(), "/uploadId")
}

/// The bytes of the one output of a job.
async fn output(test: &TestGateway, job: &Value) -> Vec<u8> {
    assert_eq!(job["outputs"].as_array().map(Vec::len), Some(1), "{job}");
    test.get(&text(job, "/outputs/0/url")).await.expect(200).bytes
}

/// The files in the storage.
fn stored(test: &TestGateway) -> Vec<PathBuf> {
    files_below(&test.folder().join("outputs"))
}

/// Waits until the storage holds `count` files.
async fn until_stored(test: &TestGateway, count: usize) {
    until(&format!("the storage holds {count} files"), || async { (stored(test).len() == count).then_some(()) }).await;
}

/// The jobs that there are, at most 100.
async fn listed(test: &TestGateway) -> Vec<Value> {
    test.get("/jobs?limit=100").await.expect(200).json()["items"].as_array().expect("a list").clone()
}
