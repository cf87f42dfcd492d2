//! Privacy mode: what a job was about is gone once it has ended, errors repeat nothing, and what is left elsewhere is
//! taken away. That nothing of it is anywhere is searched for by the tests of the command line, with the real process.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use comfyui_sim::{FailNode, PreviewMethod};
use gateway_testkit::{
    Answer, Receiver, TestBuilder, TestGateway, copy_workflow, files_below, paint_workflow, read_below, until,
};
use image::{ImageFormat, RgbImage};
use serde_json::{Value, json};

const CANARY: &str = "canary-in-a-prompt";
const REDACTED: &str = "[redacted]";

fn private() -> TestBuilder {
    TestBuilder::default().variable("PRIVACY_MODE", "true")
}

/// Starts it with the workflows `paint` and `copy`.
async fn start(builder: TestBuilder) -> TestGateway {
    let test = builder.start().await;
    test.register("paint", paint_workflow()).await;
    test.register("copy", copy_workflow()).await;
    test
}

#[track_caller]
fn silent(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    assert!(!text.contains(CANARY), "{what} repeats it: {text}");
}

/// All that can be read of a job.
async fn read_all(test: &TestGateway, id: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for path in ["", "/logs", "/events", "/webhooks"] {
        all.extend(test.get(&format!("/jobs/{id}{path}")).await.expect(200).bytes);
    }
    all
}

fn id_of(answer: &Answer) -> String {
    answer.json()["jobId"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_job_that_has_ended_says_nothing_of_what_it_was_about_and_is_not_run_again() {
    let receiver = Receiver::start().await;
    let test = start(private().variable("WEBHOOK_ALLOWED_DOMAINS", format!("127.0.0.1:{}", receiver.port()))).await;
    let body = json!({
        "workflowId": "paint", "inputs": {"prompt": CANARY}, "params": {"steps": 2}, "metadata": {"order": 17},
        "callbackUrl": receiver.url("/hook"), "webhookEvents": ["job.started", "job.succeeded"],
    });
    let id = id_of(&test.post("/jobs", &body).await.expect(202));
    let job = test.wait_status(&id, "succeeded").await;
    assert_eq!((&job["inputs"], &job["params"]), (&json!({"prompt": REDACTED}), &json!({"steps": REDACTED})));
    let resolved = job["resolvedInputs"].as_object().expect("an object");
    assert!(resolved.contains_key("seed") && resolved.values().all(|value| value == REDACTED), "{job}");
    assert_eq!((&job["metadata"], &job["workflowId"]), (&json!({"order": 17}), &json!("paint")));
    silent("the job", &read_all(&test, &id).await);

    let messages = receiver.until_count(2).await;
    for message in &messages {
        silent("a message", &message.body);
        assert_eq!(message.json()["data"]["inputs"]["prompt"], REDACTED);
    }
    let output = test.get(job["outputs"][0]["url"].as_str().expect("a URL")).await.expect(200);
    silent("the picture", &output.bytes);
    assert!(!String::from_utf8_lossy(&output.bytes).contains("class_type"), "the workflow is in the picture");

    let refused = test.post(&format!("/jobs/{id}/retry"), &json!({})).await.expect(409);
    assert_eq!(refused.code(), "CONFLICT");
    assert!(refused.json()["detail"].as_str().is_some_and(|text| text.contains("PRIVACY_MODE")), "{}", refused.json());
    assert_eq!(test.get("/capabilities").await.json()["features"]["privacy"], true);
}

#[tokio::test]
async fn errors_of_comfyui_keep_their_code_and_place_and_repeat_no_value() {
    let test = start(private()).await;
    let refused = test.run("paint", json!({"prompt": "a fox", "sampler": CANARY})).await;
    assert_eq!((&refused["status"], &refused["error"]["code"]), (&json!("failed"), &json!("COMFYUI_REJECTED")));
    assert_eq!(refused["error"]["message"], "ComfyUI refused KSampler (node 4)");
    assert_eq!(refused["error"]["details"][0]["path"], "/4/inputs/sampler_name");

    let message = format!("the text {CANARY} can't be read");
    let fault = FailNode { class_type: "CLIPTextEncode".into(), exception_type: "ValueError".into(), message };
    test.sim.update(|switches| switches.fail_node = Some(fault));
    let failed = test.run("paint", json!({ "prompt": CANARY })).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("COMFYUI_NODE_ERROR")));
    assert_eq!(failed["error"]["message"], "CLIPTextEncode failed (node 2)");
    assert!(failed["error"]["recommendation"].is_string(), "{failed}");
    for job in [refused, failed] {
        silent("the job", &read_all(&test, job["jobId"].as_str().expect("an id")).await);
    }
}

#[tokio::test]
async fn refusals_name_what_is_wrong_and_repeat_no_value() {
    for (builder, repeats) in [(private(), false), (TestBuilder::default(), true)] {
        let test = start(builder).await;
        let wish = json!({"workflowId": "paint", "inputs": {"prompt": "a fox", "checkpoint": format!("{CANARY}.safetensors")}});
        let refused = until("what the server has is known", || async {
            let answer = test.post("/workflows/paint/validate", &json!({"inputs": wish["inputs"]})).await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        let submitted = test.post("/jobs", &wish).await.expect(422);
        for answer in [refused, submitted] {
            assert_eq!(answer.fault_paths(), ["/inputs/checkpoint"]);
            assert_eq!(String::from_utf8_lossy(&answer.bytes).contains(CANARY), repeats);
        }
    }
}

#[tokio::test]
async fn nobody_is_sent_previews_nor_titles() {
    let test = start(private()).await;
    test.sim.update(|switches| {
        switches.step_ms = 100;
        switches.preview_method = PreviewMethod::Jpeg;
    });
    let id = test.submit("paint", json!({"prompt": CANARY, "steps": 25})).await;
    let url = test.url(&format!("/jobs/{id}/events?previews=1"));
    let events = test.client().get(url).send().await.expect("an answer").text().await.expect("the whole stream");
    assert!(events.contains("event: progress") && events.contains("event: end"), "{events}");
    assert!(!events.contains("event: preview"), "{events}");
    assert!(events.contains(r#""nodeTitle":"KSampler""#) && !events.contains("The sampler"), "{events}");
    silent("the events", events.as_bytes());
}

#[tokio::test]
async fn files_that_came_with_a_job_go_with_it() {
    let test = start(private()).await;
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::new(8, 8).write_to(&mut bytes, ImageFormat::Png).expect("a picture");
    let request = test.client().post(test.url("/uploads")).body(bytes.into_inner());
    let upload = Answer::read(request.send().await.expect("an answer")).await.expect(201).json()["uploadId"].clone();
    let wish = json!({"image": {"uploadId": upload}});
    let job = test.run("copy", wish.clone()).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let answer = test.post("/jobs", &json!({"workflowId": "copy", "inputs": wish})).await.expect(422);
    assert_eq!(answer.fault_paths(), ["/inputs/image"]);
    let uploads = test.folder().join("outputs/uploads");
    until("the file is gone", || async { files_below(&uploads).is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn what_an_earlier_run_left_is_taken_out_at_the_start() {
    let wanted = Arc::new(AtomicBool::new(false));
    let is_wanted = Arc::clone(&wanted);
    let builder = TestBuilder::default().settings(move |settings| {
        if is_wanted.load(Ordering::Relaxed) {
            settings.be_private();
        }
    });
    let mut test = start(builder).await;
    let job = test.run("paint", json!({"prompt": CANARY, "sampler": CANARY})).await;
    let id = job["jobId"].as_str().expect("an id").to_owned();
    assert!(job["inputs"]["prompt"] == CANARY && job["error"].to_string().contains(CANARY), "{job}");
    test.stop_gateway().await;
    wanted.store(true, Ordering::Relaxed);
    test.start_gateway().await;
    let job = until("the job is redacted", || async {
        let job = test.job(&id).await;
        (job["inputs"]["prompt"] == REDACTED).then_some(job)
    })
    .await;
    assert_eq!((&job["error"]["code"], &job["error"]["message"]), (&json!("COMFYUI_REJECTED"), &json!(REDACTED)));
    silent("the job", &read_all(&test, &id).await);
    let _refused = test.post(&format!("/jobs/{id}/retry"), &json!({})).await.expect(409);
    test.stop_gateway().await;
    let mut files = read_below(test.folder());
    files.retain(|(path, _)| path.to_string_lossy().contains("gateway.db"));
    assert!(files.iter().any(|(path, _)| path.ends_with("gateway.db")), "the database is not there");
    for (path, bytes) in files {
        silent(&path.to_string_lossy(), &bytes);
    }
}

#[tokio::test]
async fn entries_of_ended_jobs_that_nobody_removed_go_from_the_history_and_those_of_others_stay() {
    let test = start(private()).await;
    let job = test.run("paint", json!({ "prompt": CANARY })).await;
    let graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    });
    let ours = json!({"gateway": {"job": job["jobId"]}});
    for extra in [&ours, &json!({})] {
        let prompt = json!({"prompt": graph, "extra_data": extra});
        let sent = test.client().post(format!("{}/prompt", test.sim.url())).json(&prompt).send().await;
        assert_eq!(sent.expect("an answer").status(), 200);
    }
    let history = || async {
        let url = format!("{}/history", test.sim.url());
        test.client().get(url).send().await.expect("an answer").json::<Value>().await.expect("JSON")
    };
    let left = until("what is ours is gone", || async {
        let history = history().await;
        let entries = history.as_object()?.clone();
        (entries.len() == 1 && test.sim.stats().prompts_finished == 3).then_some(entries)
    })
    .await;
    assert!(left.values().all(|entry| entry["prompt"][3]["gateway"].is_null()), "{left:?}");
}
