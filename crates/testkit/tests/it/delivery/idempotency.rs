//! The same request again is the same job, whatever became of that.

use std::collections::HashSet;

use futures_util::future::join_all;
use gateway_core::ErrorCode;
use gateway_testkit::{Answer, TestBuilder, TestGateway};
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::{break_fragile, cancel, id, offline, refused, start, submit, wish};
use crate::postgres::Own;

/// The body that asks for a job, with the id of the request in it.
fn marked(workflow: &str, inputs: Value, request: &str) -> Value {
    json!({"workflowId": workflow, "inputs": inputs, "metadata": {"requestId": request}})
}

/// Sends `body` with these values of `Idempotency-Key`.
async fn keyed(test: &TestGateway, keys: &[&[u8]], body: &Value) -> Answer {
    let mut request = test.client().post(test.url("/jobs")).json(body);
    for key in keys {
        request = request.header("idempotency-key", HeaderValue::from_bytes(key).expect("a header's value"));
    }
    Answer::read(request.send().await.expect("an answer")).await
}

/// How many jobs there are.
async fn jobs(test: &TestGateway) -> usize {
    test.get("/jobs?limit=100").await.expect(200).json()["items"].as_array().expect("a list").len()
}

/// Asserts that `answer` is about the job `first`, which is as `status` says by now.
#[track_caller]
fn repeats(answer: &Answer, first: &str, status: &str) {
    let told = answer.json();
    assert_eq!((answer.status, id(answer).as_str(), &told["status"]), (200, first, &json!(status)), "{told}");
    assert_eq!(answer.header("location"), format!("/jobs/{first}"));
}

async fn delete(test: &TestGateway, job: &str) {
    let _deleted = test.send(Method::DELETE, &format!("/jobs/{job}"), None).await.expect(204);
}

#[tokio::test]
async fn the_same_body_with_the_same_id_is_the_same_job_however_it_is_written() {
    let test = offline(TestBuilder::default()).await;
    let body = marked("tiny", json!({"color": 1, "width": 64}), "r-1");
    let first = submit(&test, &body, 202).await;
    repeats(&test.post("/jobs", &body).await, &first, "queued");
    for same in [
        r#"{"inputs":{"width":64,"color":1},"metadata":{"requestId":"r-1"},"workflowId":"tiny"}"#,
        "{ \"metadata\" : {\"requestId\":\"r-1\"},\n\t\"workflowId\":\"tiny\", \"inputs\":{\"color\":1,\"width\":64} }\n",
        r#"{"workflowId":"t\u0069ny","inputs":{"color":1.0,"width":6.4e1},"metadata":{"requestId":"r\u002d1"}}"#,
    ] {
        repeats(&test.post_raw("/jobs", same).await, &first, "queued");
    }
    assert_eq!(jobs(&test).await, 1);
}

#[tokio::test]
async fn another_body_with_the_same_id_is_refused() {
    let test = offline(TestBuilder::default()).await;
    let body = marked("tiny", json!({"color": 1}), "r-1");
    let first = submit(&test, &body, 202).await;
    let mut urgent = body.clone();
    urgent["priority"] = json!("high");
    let mut noted = body.clone();
    noted["metadata"]["note"] = json!("x");
    for other in [marked("tiny", json!({"color": 2}), "r-1"), marked("sampler", json!({}), "r-1"), urgent, noted] {
        refused(&test.post("/jobs", &other).await, ErrorCode::IdempotencyKeyReused);
    }
    assert_eq!(jobs(&test).await, 1);
    repeats(&test.post("/jobs", &body).await, &first, "queued");
}

#[tokio::test]
async fn ids_are_compared_byte_for_byte_and_without_one_each_request_is_a_new_one() {
    let test = offline(TestBuilder::default()).await;
    let mut seen = HashSet::new();
    for request in ["r", "R", "r.", "\u{e9}", "e\u{301}"] {
        assert!(seen.insert(submit(&test, &marked("tiny", json!({"color": 1}), request), 202).await), "{request}");
    }
    for _ in 0..2 {
        assert!(seen.insert(submit(&test, &wish("tiny", json!({"color": 1})), 202).await));
    }
    assert_eq!(jobs(&test).await, 7);
}

#[tokio::test]
async fn the_header_does_the_same_as_the_field_with_or_without_quotes() {
    let test = offline(TestBuilder::default()).await;
    let body = wish("tiny", json!({"color": 1}));
    let first = id(&keyed(&test, &[b"key-1"], &body).await.expect(202));
    for key in [b"key-1".as_slice(), b"\"key-1\""] {
        repeats(&keyed(&test, &[key], &body).await, &first, "queued");
        refused(&keyed(&test, &[key], &wish("tiny", json!({"color": 2}))).await, ErrorCode::IdempotencyKeyReused);
    }
    let both = marked("tiny", json!({"color": 3}), "key-2");
    let second = id(&keyed(&test, &[b"key-2"], &both).await.expect(202));
    repeats(&keyed(&test, &[b"\"key-2\""], &both).await, &second, "queued");
    repeats(&test.post("/jobs", &both).await, &second, "queued");
    let differs = keyed(&test, &[b"key-3"], &both).await;
    refused(&differs, ErrorCode::ValidationError);
    assert_eq!(differs.fault_paths(), ["Idempotency-Key"]);
    assert_eq!(jobs(&test).await, 2);
}

#[tokio::test]
async fn what_can_be_no_id_is_refused_and_makes_no_job() {
    let test = offline(TestBuilder::default()).await;
    let long = "x".repeat(256);
    for request in ["", " ", " a", "a ", "a\u{1}b", "a\nb", "a\u{7f}", long.as_str(), &format!("{long}x")] {
        let answer = test.post("/jobs", &marked("tiny", json!({"color": 1}), request)).await;
        refused(&answer, ErrorCode::ValidationError);
        assert_eq!(answer.fault_paths(), ["/metadata/requestId"], "{request:?}");
    }
    let nul = test.post("/jobs", &marked("tiny", json!({"color": 1}), "a\0b")).await;
    refused(&nul, ErrorCode::ValidationError);
    let body = wish("tiny", json!({"color": 1}));
    for key in [b"".as_slice(), b"\"\"", b"\" a\"", b"a\tb", b"caf\xe9", long.as_bytes(), format!("{long}x").as_bytes()]
    {
        let answer = keyed(&test, &[key], &body).await;
        refused(&answer, ErrorCode::ValidationError);
        assert_eq!(answer.fault_paths(), ["Idempotency-Key"], "{key:?}");
    }
    refused(&keyed(&test, &[b"a", b"b"], &body).await, ErrorCode::ValidationError);
    assert_eq!(jobs(&test).await, 0);

    let longest = "\u{e9}".repeat(255);
    let first = submit(&test, &marked("tiny", json!({"color": 1}), &longest), 202).await;
    repeats(&test.post("/jobs", &marked("tiny", json!({"color": 1}), &longest)).await, &first, "queued");
}

#[tokio::test]
async fn a_request_that_was_refused_has_not_used_its_id() {
    let test = offline(TestBuilder::default()).await;
    refused(&test.post("/jobs", &marked("tiny", json!({"color": -1}), "r-1")).await, ErrorCode::ValidationError);
    refused(&test.post("/jobs", &marked("other", json!({}), "r-1")).await, ErrorCode::WorkflowNotFound);
    let body = marked("tiny", json!({"color": 1}), "r-1");
    let first = submit(&test, &body, 202).await;
    repeats(&test.post("/jobs", &body).await, &first, "queued");
}

#[tokio::test]
async fn a_repeated_request_finds_its_job_as_it_is_by_now() {
    let test = start(TestBuilder::default()).await;
    break_fragile(&test);
    for (workflow, inputs, status) in
        [("tiny", json!({"color": 1}), "succeeded"), ("fragile", json!({"seed": 1}), "failed")]
    {
        let body = marked(workflow, inputs, status);
        let first = submit(&test, &body, 202).await;
        let job = test.wait_status(&first, status).await;
        repeats(&test.post("/jobs", &body).await, &first, status);
        assert_eq!(test.job(&first).await, job, "it is not run again");
    }
    assert_eq!(jobs(&test).await, 2);
}

/// A request whose job was canceled, then deleted.
async fn canceled_and_deleted(test: &TestGateway) {
    let body = marked("tiny", json!({"color": 1}), "r-1");
    let first = submit(test, &body, 202).await;
    cancel(test, &first).await;
    repeats(&test.post("/jobs", &body).await, &first, "canceled");
    delete(test, &first).await;
    for _ in 0..2 {
        refused(&test.post("/jobs", &body).await, ErrorCode::Gone);
    }
    let other = marked("tiny", json!({"color": 2}), "r-1");
    refused(&test.post("/jobs", &other).await, ErrorCode::IdempotencyKeyReused);
    assert_eq!(jobs(test).await, 0);
}

#[tokio::test]
async fn a_repeated_request_finds_its_canceled_job_and_once_that_is_deleted_nothing() {
    canceled_and_deleted(&offline(TestBuilder::default()).await).await;
}

#[tokio::test]
async fn a_repeated_request_finds_its_canceled_job_on_postgres_too() {
    let Some(own) = Own::new() else { return };
    canceled_and_deleted(&offline(TestBuilder::default().database(own.url())).await).await;
}

/// Many times the same request at the same time, over and over.
async fn raced(test: &TestGateway) {
    for round in 0..3 {
        let body = marked("tiny", json!({"color": round}), &format!("race-{round}"));
        let answers = join_all((0..64).map(|_| test.post("/jobs", &body))).await;
        let ids: HashSet<String> = answers.iter().map(id).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses.split_last(), Some((&202, [200; 63].as_slice())));
    }
    assert_eq!(jobs(test).await, 3);
}

#[tokio::test]
async fn of_many_equal_requests_at_the_same_time_one_makes_the_job() {
    raced(&offline(TestBuilder::default()).await).await;
}

#[tokio::test]
async fn of_many_equal_requests_at_the_same_time_one_makes_the_job_on_postgres_too() {
    let Some(own) = Own::new() else { return };
    raced(&offline(TestBuilder::default().database(own.url())).await).await;
}

#[tokio::test]
async fn a_repeated_request_is_answered_though_the_queue_is_full() {
    let test = offline(TestBuilder::default().settings(|settings| settings.queue.max_depth = 1)).await;
    let body = marked("tiny", json!({"color": 1}), "r-1");
    let first = submit(&test, &body, 202).await;
    let other = marked("tiny", json!({"color": 2}), "r-2");
    refused(&test.post("/jobs", &other).await, ErrorCode::QueueFull);
    repeats(&test.post("/jobs", &body).await, &first, "queued");
    cancel(&test, &first).await;
    submit(&test, &other, 202).await;
    repeats(&test.post("/jobs", &body).await, &first, "canceled");
}
