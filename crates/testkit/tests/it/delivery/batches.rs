//! Batches: accepted as a whole or not at all, counted, canceled, and told of once.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use gateway_core::ErrorCode;
use gateway_testkit::{Answer, Received, Receiver, Reply, TestBuilder, TestGateway, until};
use image::ImageFormat;
use serde_json::{Value, json};

use super::{
    LONG, UNKNOWN, allow, break_fragile, calling, cancel, copying, deliveries, delivery, encoded, ended, fetching,
    handed, hurry, listed, noise, offline, output, pixels, prompts, refused, start, stored, submit, text, upload, wish,
    wish_told,
};

/// The body that asks for a batch of `tiny`, a job for each colour.
fn colors(colors: &[u32]) -> Value {
    let items: Vec<Value> = colors.iter().map(|color| json!({"inputs": {"color": color}})).collect();
    json!({"workflowId": "tiny", "items": items})
}

/// The same, its end told to `url`.
fn colors_told(list: &[u32], url: &str) -> Value {
    let mut body = colors(list);
    body["callbackUrl"] = json!(url);
    body
}

/// The body that asks for a batch of `workflow`, a job for each of so many seeds, that is over once steps take no time.
fn long(workflow: &str, count: u64) -> Value {
    let items: Vec<Value> = (0..count).map(|seed| json!({"params": {"seed": seed}})).collect();
    json!({"workflowId": workflow, "inputs": {"steps": LONG}, "items": items})
}

/// Sends `body`; gives the batch that has to come of it.
async fn accepted(test: &TestGateway, body: &Value) -> Value {
    let answer = test.post("/batches", body).await.expect(202);
    let batch = answer.json();
    assert_eq!(answer.header("location"), format!("/batches/{}", text(&batch, "/batchId")));
    assert_eq!(batch["pollUrl"], answer.header("location"));
    batch
}

/// The batch as it is shown.
async fn shown(test: &TestGateway, batch: &Value) -> Value {
    test.get(&format!("/batches/{}", text(batch, "/batchId"))).await.expect(200).json()
}

/// Waits until all jobs of the batch have ended; gives it.
async fn completed(test: &TestGateway, batch: &Value) -> Value {
    until("all jobs of the batch have ended", || async {
        let now = shown(test, batch).await;
        let sum: u64 = now["counts"].as_object().expect("an object").values().filter_map(Value::as_u64).sum();
        assert_eq!((&now["total"], now["jobIds"] == batch["jobIds"]), (&json!(sum), true), "{now}");
        assert_eq!(now["status"] == "completed", now["finishedAt"].is_string(), "{now}");
        (now["status"] == "completed").then_some(now)
    })
    .await
}

/// The ids of the jobs of a batch.
fn jobs(batch: &Value) -> Vec<String> {
    let ids = batch["jobIds"].as_array().expect("a list").iter();
    ids.map(|id| id.as_str().expect("an id").to_owned()).collect()
}

/// Asserts how many jobs of the batch have succeeded, failed and were canceled, and that there are no others.
#[track_caller]
fn counts(batch: &Value, succeeded: u64, failed: u64, canceled: u64) {
    let counts = json!({"queued": 0, "running": 0, "succeeded": succeeded, "failed": failed, "canceled": canceled});
    assert_eq!((&batch["counts"], &batch["total"]), (&counts, &json!(succeeded + failed + canceled)), "{batch}");
}

/// Asserts that `request` is the message that all jobs of `batch` have ended.
#[track_caller]
fn tells(request: &Received, batch: &Value) {
    let message = request.json();
    assert_eq!((&message["type"], &message["id"]), (&json!("batch.completed"), &json!(request.header("webhook-id"))));
    let mut batch = batch.clone();
    let fields = batch.as_object_mut().expect("an object");
    for name in ["pollUrl", "jobIds"] {
        fields.remove(name).expect("a field");
    }
    assert_eq!(message["data"], batch);
}

/// Asserts that `receiver` has had `count` messages, once another one that is later has arrived there.
async fn nothing_more(test: &TestGateway, receiver: &Receiver, count: usize) {
    let id = super::id(&test.post("/jobs", &wish_told("tiny", json!({"color": 99}), &receiver.url("/last"))).await);
    delivery(test, &id, "delivered").await;
    let paths: Vec<String> = receiver.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths.len(), count + 1, "{paths:?}");
}

async fn cancel_all(test: &TestGateway, batch: &Value) -> Answer {
    test.post(&format!("/batches/{}/cancel", text(batch, "/batchId")), &json!({})).await
}

#[tokio::test]
async fn each_item_is_a_job_with_what_all_share_and_what_is_its_own() {
    let test = start(TestBuilder::default()).await;
    let body = json!({
        "workflowId": "tiny", "inputs": {"width": 32, "height": 16}, "params": {"color": 1}, "priority": "high",
        "metadata": {"project": "x"},
        "items": [{}, {"inputs": {"color": 2}}, {"params": {"color": 3, "width": 48}}, {"inputs": {"height": 24}}]
    });
    let batch = accepted(&test, &body).await;
    assert_eq!((&batch["workflowId"], &batch["metadata"]), (&json!("tiny"), &json!({"project": "x"})), "{batch}");
    let ids = jobs(&batch);
    counts(&completed(&test, &batch).await, 4, 0, 0);
    for (id, (color, width, height)) in ids.iter().zip([(1, 32, 16), (2, 32, 16), (3, 48, 16), (1, 32, 24)]) {
        let job = test.job(id).await;
        assert_eq!((&job["batchId"], &job["priority"]), (&batch["batchId"], &json!("high")), "{job}");
        let picture = pixels(&output(&test, &job).await);
        assert_eq!((picture.dimensions(), picture.get_pixel(0, 0).0), ((width, height), [0, 0, color]), "{job}");
        assert!(deliveries(&test, id).await.is_empty());
    }
    assert_eq!(jobs(&shown(&test, &batch).await), ids);
    assert_eq!(listed(&test).await.len(), 4);
}

#[tokio::test]
async fn a_sweep_is_a_job_for_each_combination_in_order() {
    let test = start(TestBuilder::default()).await;
    let body = json!({
        "workflowId": "tiny", "inputs": {"height": 16, "width": 99}, "sweep": {"color": [1, 2, 3], "width": [16, 32]}
    });
    let batch = accepted(&test, &body).await;
    counts(&completed(&test, &batch).await, 6, 0, 0);
    let mut made = Vec::new();
    for id in jobs(&batch) {
        let resolved = test.job(&id).await["resolvedInputs"].clone();
        made.push((resolved["color"].clone(), resolved["width"].clone(), resolved["height"].clone()));
    }
    let wanted = [(1, 16), (1, 32), (2, 16), (2, 32), (3, 16), (3, 32)];
    assert_eq!(made, wanted.map(|(color, width)| (json!(color), json!(width), json!(16))));
}

#[tokio::test]
async fn a_batch_is_over_when_its_last_job_is_however_each_ended() {
    let test = start(TestBuilder::default()).await;
    break_fragile(&test);
    let batch = accepted(&test, &long("fragile", 4)).await;
    let ids = jobs(&batch);
    test.wait_status(&ids[0], "running").await;
    cancel(&test, &ids[3]).await;
    test.wait_status(&ids[3], "canceled").await;
    let now = shown(&test, &batch).await;
    assert_eq!((&now["status"], &now["counts"]["canceled"]), (&json!("running"), &json!(1)), "{now}");
    assert_eq!(now.get("finishedAt"), None);
    hurry(&test);
    counts(&completed(&test, &batch).await, 0, 3, 1);
}

#[tokio::test]
async fn one_wrong_item_and_nothing_is_accepted() {
    let receiver = Receiver::start().await;
    let test = start(calling(&receiver)).await;
    let many = vec![json!({"inputs": {"color": 1}}); 1_001];
    let good = json!({"inputs": {"color": 1}});
    for (part, paths) in [
        (json!({"items": [good, {"inputs": {"color": -1}}]}), &["/items/1/inputs/color"][..]),
        (
            json!({"items": [{"inputs": {"colour": 1}}, good, {"params": {"color": "x"}}, {}]}),
            &["/items/0/inputs/color", "/items/0/inputs/colour", "/items/2/params/color", "/items/3/inputs/color"],
        ),
        (json!({"inputs": {"width": 0}, "items": [good, good]}), &["/items/0/inputs/width", "/items/1/inputs/width"]),
        (
            json!({"items": [good, {"inputs": [], "priority": 1}, 7]}),
            &["/items/1/inputs", "/items/1/priority", "/items/2"],
        ),
        (json!({"sweep": {"color": [1, -1]}}), &["/params/color"]),
        (json!({"sweep": {"color": []}}), &["/sweep/color"]),
        (json!({"sweep": {"color": 1}}), &["/sweep/color"]),
        (json!({"sweep": {}}), &["/sweep"]),
        (json!({"sweep": {"color": (0..100).collect::<Vec<_>>(), "width": (1..12).collect::<Vec<_>>()}}), &["/sweep"]),
        (json!({"items": [good], "sweep": {"color": [1]}}), &["/sweep"]),
        (json!({}), &["/items"]),
        (json!({"items": []}), &["/items"]),
        (json!({"items": {}}), &["/items"]),
        (json!({"items": many}), &["/items"]),
        (json!({"items": [good], "webhookEvents": ["job.failed"]}), &["/webhookEvents"]),
        (json!({"items": [good], "jobs": 1, "timeoutMs": 1}), &["/jobs", "/timeoutMs"]),
    ] {
        let mut body = json!({"workflowId": "tiny", "callbackUrl": receiver.url("/")});
        body.as_object_mut().expect("an object").extend(part.as_object().expect("an object").clone());
        let answer = test.post("/batches", &body).await;
        refused(&answer, ErrorCode::ValidationError);
        let mut told = answer.fault_paths();
        told.sort();
        assert_eq!(told, paths, "{}", answer.json());
    }
    let mut unknown = colors(&[1]);
    unknown["workflowId"] = json!("other");
    refused(&test.post("/batches", &unknown).await, ErrorCode::WorkflowNotFound);
    let inner = colors_told(&[1], "http://10.0.0.1/");
    refused(&test.post("/batches", &inner).await, ErrorCode::CallbackNotAllowed);
    assert!(listed(&test).await.is_empty());
    nothing_more(&test, &receiver, 0).await;
    assert_eq!(prompts(&test), 1);
}

#[tokio::test]
async fn a_thousand_jobs_are_one_batch() {
    let test = offline(TestBuilder::default()).await;
    let colors: Vec<u32> = (0..100).collect();
    let body = json!({
        "workflowId": "tiny", "cache": false, "sweep": {"color": colors, "width": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}
    });
    let batch = accepted(&test, &body).await;
    assert_eq!((&batch["total"], &batch["counts"]["queued"]), (&json!(1_000), &json!(1_000)));
    let ids: HashSet<String> = jobs(&batch).into_iter().collect();
    assert_eq!(ids.len(), 1_000);
    assert_eq!(shown(&test, &batch).await["jobIds"], batch["jobIds"]);
    until("all are in the queue", || async {
        (test.get("/health").await.json()["queue"]["depth"] == 1_000).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_does_not_fit_into_the_queue_is_refused_as_a_whole() {
    let test = offline(TestBuilder::default().settings(|settings| settings.queue.max_depth = 3)).await;
    refused(&test.post("/batches", &colors(&[1, 2, 3, 4])).await, ErrorCode::QueueFull);
    assert!(listed(&test).await.is_empty());
    let batch = accepted(&test, &colors(&[1, 2, 3])).await;
    let more = test.post("/batches", &colors(&[4])).await;
    refused(&more, ErrorCode::QueueFull);
    assert!(more.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    assert_eq!(listed(&test).await.len(), 3);
    cancel(&test, &jobs(&batch)[1]).await;
    accepted(&test, &colors(&[4])).await;
}

#[tokio::test]
async fn all_jobs_of_a_batch_that_wait_are_canceled_at_once() {
    let receiver = Receiver::start().await;
    let test = offline(calling(&receiver)).await;
    let other = submit(&test, &wish("tiny", json!({"color": 1, "width": 17})), 202).await;
    let list: Vec<u32> = (0..250).collect();
    let batch = accepted(&test, &colors_told(&list, &receiver.url("/"))).await;
    let answer = cancel_all(&test, &batch).await.expect(202).json();
    assert_eq!(answer, json!({"batchId": batch["batchId"], "cancelRequested": true, "jobs": 250}));
    let over = shown(&test, &batch).await;
    assert_eq!(over["status"], "completed", "{}", over["counts"]);
    counts(&over, 0, 0, 250);
    refused(&cancel_all(&test, &batch).await, ErrorCode::Conflict);
    assert_eq!(test.job(&other).await["status"], "queued", "it is none of them");
    tells(&receiver.until_count(1).await[0], &over);
    assert_eq!(test.get("/health").await.json()["queue"]["depth"], 1);
    cancel(&test, &other).await;
}

#[tokio::test]
async fn a_batch_that_runs_is_canceled_whether_its_jobs_run_or_wait_for_each_other() {
    let test = start(TestBuilder::default()).await;
    let mut body = long("sampler", 3);
    // The last two want what the first makes.
    let first = body["items"][0].clone();
    let items = body["items"].as_array_mut().expect("a list");
    items.extend([first.clone(), first]);
    let batch = accepted(&test, &body).await;
    let ids = jobs(&batch);
    test.wait_status(&ids[0], "running").await;
    let _canceled = cancel_all(&test, &batch).await.expect(202);
    counts(&completed(&test, &batch).await, 0, 0, 5);
    refused(&cancel_all(&test, &batch).await, ErrorCode::Conflict);
    hurry(&test);
    let id = submit(&test, &wish("sampler", json!({"seed": 77})), 202).await;
    test.wait_status(&id, "succeeded").await;
}

#[tokio::test]
async fn the_end_of_a_batch_is_told_once() {
    let receiver = Receiver::scripted([Reply::status(500), Reply::status(200)]).await;
    let test = start(calling(&receiver)).await;
    let batch = accepted(&test, &colors_told(&[1, 2, 3], &receiver.url("/batch"))).await;
    let over = completed(&test, &batch).await;
    counts(&over, 3, 0, 0);
    let requests = receiver.until_count(2).await;
    assert!(requests[0].body == requests[1].body, "it is sent again as it was");
    tells(&requests[1], &over);

    // Of results that are there already, nobody runs one.
    let again = accepted(&test, &colors_told(&[3, 1], &receiver.url("/again"))).await;
    let over = completed(&test, &again).await;
    counts(&over, 2, 0, 0);
    tells(&receiver.until_count(3).await[2], &over);
    assert_eq!(prompts(&test), 3);
    nothing_more(&test, &receiver, 3).await;
}

#[tokio::test]
async fn equal_items_are_run_once() {
    let test = start(TestBuilder::default()).await;
    let mut body = long("sampler", 1);
    let item = body["items"][0].clone();
    let items = body["items"].as_array_mut().expect("a list");
    items.extend(vec![item; 3]);
    items.push(json!({"params": {"seed": 9}}));
    let batch = accepted(&test, &body).await;
    let ids = jobs(&batch);
    test.wait_status(&ids[0], "running").await;
    hurry(&test);
    counts(&completed(&test, &batch).await, 5, 0, 0);
    let made = ended(&test, &ids, "succeeded").await;
    for job in &made[1..4] {
        assert_eq!((&job["cached"], &job["cachedFrom"]), (&json!(true), &json!(ids[0])), "{job}");
        assert_eq!(job["outputs"][0]["sha256"], made[0]["outputs"][0]["sha256"]);
    }
    assert_ne!(made[4]["outputs"][0]["sha256"], made[0]["outputs"][0]["sha256"]);
    assert_eq!(prompts(&test), 2);

    let mut body = colors(&[1, 1, 1]);
    body["cache"] = json!(false);
    counts(&completed(&test, &accepted(&test, &body).await).await, 3, 0, 0);
    assert_eq!(prompts(&test), 5, "without the cache each is run");
}

#[tokio::test]
async fn the_same_batch_again_is_the_first_one() {
    let test = offline(TestBuilder::default()).await;
    let mut body = colors(&[1, 2]);
    body["metadata"] = json!({"requestId": "b-1"});
    let batch = accepted(&test, &body).await;
    let again = test.post("/batches", &body).await.expect(200);
    assert_eq!(again.json(), batch);
    assert_eq!(again.header("location"), format!("/batches/{}", text(&batch, "/batchId")));
    let mut other = colors(&[1, 3]);
    other["metadata"] = body["metadata"].clone();
    refused(&test.post("/batches", &other).await, ErrorCode::IdempotencyKeyReused);
    let mut job = wish("tiny", json!({"color": 1}));
    job["metadata"] = body["metadata"].clone();
    refused(&test.post("/jobs", &job).await, ErrorCode::IdempotencyKeyReused);
    assert_eq!(listed(&test).await.len(), 2);

    let keyed = || async {
        let request = test.client().post(test.url("/batches")).header("idempotency-key", "b-2").json(&colors(&[5, 6]));
        Answer::read(request.send().await.expect("an answer")).await
    };
    let answers = join_all((0..16).map(|_| keyed())).await;
    let ids: HashSet<String> = answers.iter().map(|answer| text(&answer.json(), "/batchId")).collect();
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!((ids.len(), statuses.split_last()), (1, Some((&202, [200; 15].as_slice()))));
    assert_eq!(listed(&test).await.len(), 4);
}

#[tokio::test]
async fn files_that_all_jobs_share_are_taken_in_once() {
    let (shared, own) = (noise(40, 24, 1), noise(24, 40, 2));
    let png = encoded(&shared, ImageFormat::Png);
    let receiver = Receiver::answering(move |_| Reply::status(200).body(png.clone())).await;
    let test = copying(fetching(&receiver)).await;
    let own_id = upload(&test, &encoded(&own, ImageFormat::Png)).await;
    let body = json!({
        "workflowId": "copy", "inputs": {"image": {"url": receiver.url("/cat.png")}}, "cache": false,
        "items": [{}, {"inputs": {"image": {"uploadId": own_id}}}, {}]
    });
    let batch = accepted(&test, &body).await;
    counts(&completed(&test, &batch).await, 3, 0, 0);
    for (id, picture) in jobs(&batch).iter().zip([&shared, &own, &shared]) {
        assert!(pixels(&output(&test, &test.job(id).await).await) == *picture, "another picture");
    }
    assert_eq!((receiver.count(), handed(&test), prompts(&test)), (1, 2, 3));

    let before = (listed(&test).await.len(), stored(&test).len());
    for (inputs, items, path) in [
        (json!({"image": {"uploadId": UNKNOWN}}), json!([{}]), "/items/0/inputs/image"),
        (json!({"image": {"base64": "x"}}), json!([{}, {}]), "/inputs/image"),
        (json!({"image": {"url": "http://10.0.0.1/x.png"}}), json!([{}, {}]), "/inputs/image"),
        (
            json!({"image": {"uploadId": own_id}}),
            json!([{}, {"inputs": {"image": {"base64": "x"}}}]),
            "/items/1/inputs/image",
        ),
    ] {
        let answer = test.post("/batches", &json!({"workflowId": "copy", "inputs": inputs, "items": items})).await;
        refused(&answer, ErrorCode::ValidationError);
        assert_eq!(answer.fault_paths(), [path], "{}", answer.json());
        assert_eq!((listed(&test).await.len(), stored(&test).len()), before);
    }
}

#[tokio::test]
async fn a_batch_outlives_a_restart_and_is_told_of_once() {
    let receiver = Receiver::start().await;
    let port = receiver.port();
    let builder = TestBuilder::default().settings(move |settings| {
        allow(settings, &[port]);
        settings.worker.grace = Duration::from_millis(100);
    });
    let mut test = start(builder).await;
    let mut body = long("sampler", 5);
    body["callbackUrl"] = json!(receiver.url("/"));
    // Waits for what the first one makes.
    let first = body["items"][0].clone();
    body["items"].as_array_mut().expect("a list").push(first);
    let batch = accepted(&test, &body).await;
    let ids = jobs(&batch);
    test.wait_status(&ids[0], "running").await;
    cancel(&test, &ids[4]).await;
    test.wait_status(&ids[4], "canceled").await;
    test.stop_gateway().await;
    assert_eq!(receiver.count(), 0);
    test.start_gateway().await;
    hurry(&test);
    let over = completed(&test, &batch).await;
    counts(&over, 5, 0, 1);
    tells(&receiver.until_count(1).await[0], &over);
    nothing_more(&test, &receiver, 1).await;
}

#[tokio::test]
async fn an_unknown_batch_is_none_whatever_is_wanted_of_it() {
    let test = offline(TestBuilder::default()).await;
    let batch = accepted(&test, &colors(&[1])).await;
    let job = jobs(&batch).remove(0);
    let upper = text(&batch, "/batchId").to_uppercase();
    for id in [UNKNOWN, "0", "%00", &job, &upper, &"x".repeat(8_000)] {
        refused(&test.get(&format!("/batches/{id}")).await, ErrorCode::BatchNotFound);
        refused(&test.post(&format!("/batches/{id}/cancel"), &json!({})).await, ErrorCode::BatchNotFound);
    }
    refused(&test.get(&format!("/jobs/{}", text(&batch, "/batchId"))).await, ErrorCode::JobNotFound);
    assert_eq!(shown(&test, &batch).await["counts"]["queued"], 1);
}
