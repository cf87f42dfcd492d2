//! What is old goes, in steps of some seconds; what is not old or still needed stays.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gateway_config::Settings;
use gateway_core::{ErrorCode, Timestamp};
use gateway_testkit::{TestBuilder, TestGateway, until};
use image::{ImageFormat, RgbImage};
use serde_json::{Value, json};

use super::{
    break_fragile, cancel, copying, encoded, handed, in_an_hour, listed, noise, output, pixels, prompts, refused,
    start, stored, submit, text, until_stored, upload, wish,
};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How a gateway begins that keeps all until it is started again, and then as `aged` says.
fn ageing(aged: impl Fn(&mut Settings) + Send + Sync + 'static) -> (TestBuilder, Arc<AtomicBool>) {
    let old = Arc::new(AtomicBool::new(false));
    let is_old = Arc::clone(&old);
    let builder = TestBuilder::default().settings(move |settings| {
        if is_old.load(Ordering::SeqCst) {
            aged(settings);
        }
    });
    (builder, old)
}

/// Starts the gateway again, where all that there is counts as old.
async fn age(test: &mut TestGateway, old: &AtomicBool) {
    test.stop_gateway().await;
    old.store(true, Ordering::SeqCst);
    test.start_gateway().await;
    test.wait_ready().await;
}

/// How a gateway begins that keeps uploads for no longer than they are used.
fn forgetful() -> TestBuilder {
    TestBuilder::default().settings(|settings| settings.files.upload_ttl = Duration::from_millis(1))
}

/// A job that copies `picture`, once it was accepted with these fields besides; its id and the file of its upload.
/// What nobody uses may go before anybody could: then it is handed in again.
async fn using(test: &TestGateway, picture: &RgbImage, fields: Value) -> (String, PathBuf) {
    let png = encoded(picture, ImageFormat::Png);
    until("the job is accepted", || async {
        let id = upload(test, &png).await;
        let mut body = json!({"workflowId": "copy", "inputs": {"image": {"uploadId": id}}, "cache": false});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        let answer = test.post("/jobs", &body).await;
        let file = stored(test).into_iter().find(|file| file.to_string_lossy().contains(&id))?;
        (answer.status == 202).then(|| (super::id(&answer), file))
    })
    .await
}

/// Waits until an upload that nobody uses is gone, which was handed in after all others.
async fn unused_gone(test: &TestGateway) {
    let id = upload(test, &encoded(&noise(9, 9, 9), ImageFormat::Png)).await;
    until("what nobody uses is gone", || async {
        let there = stored(test).iter().any(|file| file.to_string_lossy().contains(&id));
        (!there).then_some(())
    })
    .await;
    let answer = test.post("/jobs", &wish("copy", json!({"image": {"uploadId": id}}))).await;
    refused(&answer, ErrorCode::ValidationError);
    assert_eq!(answer.fault_paths(), ["/inputs/image"]);
}

/// Waits until `GET path` is answered with this code.
async fn until_refused(test: &TestGateway, path: &str, code: ErrorCode) {
    until(&format!("{path} is answered with {code}"), || async {
        let answer = test.get(path).await;
        assert!(answer.status == 200 || answer.code() == code.as_str(), "{path}: {}", answer.json());
        (answer.status == code.status()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn old_outputs_go_and_their_jobs_tell_that_they_were_there() {
    let (builder, old) = ageing(|settings| settings.retention.outputs = Some(Duration::ZERO));
    let mut test = copying(builder).await;
    let body = wish("tiny", json!({"color": 1}));
    let first = submit(&test, &body, 202).await;
    let job = test.wait_status(&first, "succeeded").await;
    let hit = submit(&test, &body, 200).await;
    let image = json!({"image": {"jobId": first, "file": job["outputs"][0]["file"]}});
    let url = text(&job, "/outputs/0/url");
    let _form = test.get(&format!("{url}?format=webp")).await.expect(200);
    assert_eq!(stored(&test).len(), 2);
    age(&mut test, &old).await;
    for id in [&first, &hit] {
        let url = url.replace(&first, id);
        until_refused(&test, &url, ErrorCode::Gone).await;
        for query in ["format=webp", "format=jpeg", "width=10", "download=1"] {
            refused(&test.get(&format!("{url}?{query}")).await, ErrorCode::Gone);
        }
        let now = test.get(&format!("/jobs/{id}?include=base64")).await.expect(200).json();
        assert_eq!((&now["status"], now["outputs"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)), "{now}");
        let shown = &now["outputs"][0];
        assert!(Timestamp::parse(&text(shown, "/removedAt")).is_some(), "{shown}");
        assert_eq!((shown.get("thumbnailUrl"), shown.get("base64")), (None, None), "{shown}");
        for field in ["file", "url", "kind", "contentType", "size", "sha256", "width", "height"] {
            let before = text(&job["outputs"][0], "/url").replace(&first, id);
            let before = if field == "url" { json!(before) } else { job["outputs"][0][field].clone() };
            assert_eq!(shown[field], before, "{field}");
        }
        let list = test.get(&format!("/outputs/{id}")).await.expect(200).json();
        assert_eq!(list["items"][0]["removedAt"], shown["removedAt"]);
    }
    until_stored(&test, 0).await;
    let answer = test.post("/jobs", &wish("copy", image)).await;
    refused(&answer, ErrorCode::ValidationError);
    assert_eq!(answer.fault_paths(), ["/inputs/image"]);

    let again = submit(&test, &body, 202).await;
    assert_eq!(test.wait_status(&again, "succeeded").await["cached"], false);
    assert_eq!(prompts(&test), 2);
    until_stored(&test, 0).await;
}

#[tokio::test]
async fn old_jobs_go_with_all_that_is_theirs_and_one_that_waits_stays() {
    let (builder, old) = ageing(|settings| settings.retention.jobs = Some(Duration::ZERO));
    let mut test = start(builder).await;
    break_fragile(&test);
    let mut body = wish("tiny", json!({"color": 1}));
    body["metadata"] = json!({"requestId": "r-1"});
    let made = submit(&test, &body, 202).await;
    let url = text(&test.wait_status(&made, "succeeded").await, "/outputs/0/url");
    let failed = submit(&test, &wish("fragile", json!({"seed": 1})), 202).await;
    test.wait_status(&failed, "failed").await;
    let mut late = wish("tiny", json!({"color": 2}));
    late["notBefore"] = json!(in_an_hour());
    let (canceled, waiting) = (submit(&test, &late, 202).await, submit(&test, &late, 202).await);
    cancel(&test, &canceled).await;
    let batch = json!({"workflowId": "tiny", "items": [{"inputs": {"color": 1}}]});
    let batch = text(&test.post("/batches", &batch).await.expect(202).json(), "/batchId");
    assert_eq!((listed(&test).await.len(), stored(&test).len()), (5, 1));
    age(&mut test, &old).await;
    for id in [&made, &failed, &canceled] {
        until_refused(&test, &format!("/jobs/{id}"), ErrorCode::JobNotFound).await;
        refused(&test.get(&format!("/jobs/{id}/logs")).await, ErrorCode::JobNotFound);
        refused(&test.get(&format!("/outputs/{id}")).await, ErrorCode::JobNotFound);
    }
    refused(&test.get(&url).await, ErrorCode::OutputNotFound);
    until_refused(&test, &format!("/batches/{batch}"), ErrorCode::BatchNotFound).await;
    until_stored(&test, 0).await;
    // Who repeats its request is told that it was answered before.
    refused(&test.post("/jobs", &body).await, ErrorCode::Gone);
    let left = listed(&test).await;
    assert_eq!((left.len(), text(&left[0], "/jobId"), &left[0]["status"]), (1, waiting.clone(), &json!("queued")));
    cancel(&test, &waiting).await;
    until_refused(&test, &format!("/jobs/{waiting}"), ErrorCode::JobNotFound).await;
}

#[tokio::test]
async fn an_upload_that_nobody_uses_goes_after_its_time() {
    let test = copying(forgetful()).await;
    unused_gone(&test).await;
    until_stored(&test, 0).await;
}

#[tokio::test]
async fn an_upload_stays_as_long_as_a_job_waits_for_its_time() {
    let test = copying(forgetful()).await;
    let (id, file) = using(&test, &noise(40, 24, 1), json!({"notBefore": in_an_hour()})).await;
    // Whatever takes what is old takes the oldest first.
    unused_gone(&test).await;
    assert!(file.exists(), "the job still needs it");
    assert_eq!(test.job(&id).await["status"], "queued");
    cancel(&test, &id).await;
    until_stored(&test, 0).await;
}

#[tokio::test]
async fn an_upload_stays_until_its_job_has_run() {
    let test = copying(forgetful()).await;
    let _paused = test.post("/queue/pause", &json!({})).await.expect(200);
    until("the worker takes no jobs", || async {
        (test.get("/workers").await.expect(200).json()["items"][0]["state"] == "paused").then_some(())
    })
    .await;
    let picture = noise(40, 24, 1);
    let (id, file) = using(&test, &picture, json!({})).await;
    unused_gone(&test).await;
    assert!(file.exists(), "the job still needs it");
    assert_eq!((&test.job(&id).await["status"], handed(&test)), (&json!("queued"), 0));
    let _resumed = test.post("/queue/resume", &json!({})).await.expect(200);
    let job = test.wait_status(&id, "succeeded").await;
    assert!(pixels(&output(&test, &job).await) == picture, "another picture");
    until("the upload is gone", || async { (!file.exists()).then_some(()) }).await;
    until_stored(&test, 1).await;
}

#[tokio::test]
async fn what_is_not_old_stays() {
    let test = copying(TestBuilder::default().settings(|settings| {
        settings.retention.jobs = Some(DAY);
        settings.retention.outputs = Some(DAY);
        settings.files.upload_ttl = Duration::from_millis(1);
    }))
    .await;
    let body = wish("tiny", json!({"color": 1}));
    let id = submit(&test, &body, 202).await;
    let job = test.wait_status(&id, "succeeded").await;
    // The same sweep would take them.
    unused_gone(&test).await;
    assert_eq!(test.job(&id).await, job);
    assert_eq!(output(&test, &job).await.len() as u64, job["outputs"][0]["size"].as_u64().expect("a number"));
    submit(&test, &body, 200).await;
}
