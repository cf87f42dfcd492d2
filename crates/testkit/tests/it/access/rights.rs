//! What bounds a single key or owner: its own rate, its jobs that may wait, the workflows that it may run.

use futures_util::future::join_all;
use gateway_core::ErrorCode;
use gateway_core::allowlist::Allowlist;
use gateway_testkit::{Answer, Receiver, TestGateway, copy_workflow, sampler_workflow};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ADMIN, ALICE, BOB, HOUR_MS, Shown, answer, from_now, get, guarded, key, make, offline, post, refused, request,
    submit, wish,
};

/// The body that asks for a job of `tiny`.
fn tiny(color: u32) -> Value {
    wish("tiny", json!({"color": color}))
}

/// The body that asks for a batch of so many jobs.
fn batch(workflow: &str, count: u32) -> Value {
    let items: Vec<Value> = (0..count).map(|color| json!({"inputs": {"color": 1_000 + color}})).collect();
    json!({"workflowId": workflow, "items": items})
}

/// Asserts that there is no room for it, and that it is told when to look again.
#[track_caller]
fn full(answer: &Answer) {
    refused(answer, ErrorCode::QueueFull);
    let seconds: u32 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=3_600).contains(&seconds) && answer.json()["retryable"] == json!(true), "{seconds}");
}

async fn cancel(test: &TestGateway, shown: &Shown, job: &str) {
    let _canceled = post(test, shown, &format!("/jobs/{job}/cancel"), &json!({})).await.expect(202);
}

#[tokio::test]
async fn a_key_with_a_rate_of_its_own_has_that_and_no_other() {
    let test = offline(guarded().variable("RATE_LIMIT_WINDOW_MS", "3600000")).await;
    let strict = key(&make(&test, json!({"name": "shop", "rateLimit": 3})).await.key);
    let wide = key(&make(&test, json!({"name": "shop", "rateLimit": 40})).await.key);
    for left in [2, 1, 0] {
        let answer = get(&test, &strict, "/jobs").await.expect(200);
        assert_eq!(answer.header("x-ratelimit-remaining"), left.to_string());
        assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=3;w=3600");
    }
    for _ in 0..3 {
        refused(&get(&test, &strict, "/jobs").await, ErrorCode::RateLimited);
    }
    // Of the same owner, and counted for itself.
    for _ in 0..40 {
        assert_eq!(get(&test, &wide, "/jobs").await.expect(200).header("x-ratelimit-limit"), "40");
    }
    refused(&get(&test, &wide, "/jobs").await, ErrorCode::RateLimited);
    for other in [ADMIN, ALICE] {
        assert_eq!(get(&test, &key(other), "/jobs").await.expect(200).header("x-ratelimit-limit"), "1000000000");
    }
}

#[tokio::test]
async fn an_owner_with_as_many_waiting_jobs_as_it_may_have_is_refused_until_one_has_gone() {
    let test = offline(guarded()).await;
    let shop = key(&make(&test, json!({"name": "shop", "queueLimit": 2})).await.key);
    let first = submit(&test, &shop, &tiny(1), 202).await;
    let mut later = tiny(2);
    later["notBefore"] = json!(from_now(HOUR_MS));
    submit(&test, &shop, &later, 202).await;
    for body in [tiny(3), later, tiny(1)] {
        full(&post(&test, &shop, "/jobs", &body).await);
    }
    full(&post(&test, &shop, "/batches", &batch("tiny", 1)).await);
    // Others have as much room as before, also those with more of it under the same name.
    submit(&test, &key(BOB), &tiny(1), 202).await;
    let more = key(&make(&test, json!({"name": "shop", "queueLimit": 3})).await.key);
    submit(&test, &more, &tiny(4), 202).await;
    full(&post(&test, &more, "/jobs", &tiny(5)).await);
    cancel(&test, &shop, &first).await;
    full(&post(&test, &shop, "/jobs", &tiny(6)).await);
    submit(&test, &more, &tiny(6), 202).await;
}

#[tokio::test]
async fn a_batch_finds_room_as_a_whole_or_not_at_all() {
    let test = offline(guarded()).await;
    let shop = key(&make(&test, json!({"name": "shop", "queueLimit": 3})).await.key);
    full(&post(&test, &shop, "/batches", &batch("tiny", 4)).await);
    assert_eq!(get(&test, &shop, "/jobs").await.json()["items"], json!([]));
    let _accepted = post(&test, &shop, "/batches", &batch("tiny", 3)).await.expect(202);
    full(&post(&test, &shop, "/jobs", &tiny(1)).await);
    assert_eq!(get(&test, &shop, "/jobs").await.json()["items"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn the_limit_for_every_owner_holds_where_a_key_has_none_of_its_own() {
    let test = offline(guarded().variable("OWNER_QUEUE_LIMIT", "2")).await;
    let (alice, bob) = (key(ALICE), key(BOB));
    let wide = key(&make(&test, json!({"name": "wide", "queueLimit": 4})).await.key);
    for color in 0..2 {
        for caller in [&alice, &bob, &wide] {
            submit(&test, caller, &tiny(color), 202).await;
        }
    }
    for caller in [&alice, &bob] {
        full(&post(&test, caller, "/jobs", &tiny(7)).await);
    }
    for color in 2..4 {
        submit(&test, &wide, &tiny(color), 202).await;
    }
    full(&post(&test, &wide, "/jobs", &tiny(7)).await);
    // A request that came before is answered all the same.
    let mut known = tiny(8);
    known["metadata"] = json!({"requestId": "again"});
    let admin = key(ADMIN);
    let job = submit(&test, &admin, &known, 202).await;
    submit(&test, &admin, &tiny(9), 202).await;
    full(&post(&test, &admin, "/jobs", &tiny(7)).await);
    assert_eq!(submit(&test, &admin, &known, 200).await, job);
}

#[tokio::test]
async fn a_key_runs_the_workflows_that_it_is_for_and_no_other_in_any_way() {
    let test = offline(guarded()).await;
    test.register("sampler", sampler_workflow()).await;
    let bound = key(&make(&test, json!({"name": "shop", "workflows": ["tiny", "not-there-yet"]})).await.key);
    let free = key(&make(&test, json!({"name": "shop"})).await.key);
    submit(&test, &bound, &tiny(1), 202).await;
    let _accepted = post(&test, &bound, "/batches", &batch("tiny", 2)).await.expect(202);
    let sampler = wish("sampler", json!({}));
    let other = submit(&test, &free, &sampler, 202).await;
    cancel(&test, &free, &other).await;
    refused(&post(&test, &bound, "/jobs", &sampler).await, ErrorCode::Forbidden);
    for workflow in ["sampler", "nowhere"] {
        let items = json!({"workflowId": workflow, "items": [{}, {}]});
        refused(&post(&test, &bound, "/batches", &items).await, ErrorCode::Forbidden);
    }
    let retried = answer(request(&test, &bound, Method::POST, &format!("/jobs/{other}/retry"))).await;
    refused(&retried, ErrorCode::Forbidden);
    // One that is not there is not told from one that it may not run.
    refused(&post(&test, &bound, "/jobs", &wish("nowhere", json!({}))).await, ErrorCode::Forbidden);
    refused(&post(&test, &bound, "/jobs", &wish("not-there-yet", json!({}))).await, ErrorCode::WorkflowNotFound);
    // What others of its name have made it sees.
    assert_eq!(get(&test, &bound, &format!("/jobs/{other}")).await.expect(200).json()["status"], "canceled");
    let all = get(&test, &bound, "/jobs").await.expect(200).json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(4), "{all}");
}

#[tokio::test]
async fn nothing_is_fetched_for_a_key_that_may_not_run_the_workflow() {
    let receiver = Receiver::start().await;
    let host = format!("127.0.0.1:{}", receiver.port());
    let builder = guarded().settings(move |settings| {
        settings.files.urls.allow = Allowlist::parse(&host).expect("a list of hosts");
    });
    let test = offline(builder).await;
    test.register("copy", copy_workflow()).await;
    let bound = key(&make(&test, json!({"name": "shop", "workflows": ["tiny"]})).await.key);
    let inputs = json!({"image": {"url": receiver.url("/x.png")}});
    refused(&post(&test, &bound, "/jobs", &wish("copy", inputs.clone())).await, ErrorCode::Forbidden);
    let batch = json!({"workflowId": "copy", "inputs": inputs, "items": [{}, {}]});
    refused(&post(&test, &bound, "/batches", &batch).await, ErrorCode::Forbidden);
    assert!(receiver.requests().is_empty(), "{:?}", receiver.requests());
}

#[tokio::test]
async fn many_requests_at_once_get_no_more_than_one_after_the_other() {
    let test = offline(guarded().variable("RATE_LIMIT_WINDOW_MS", "3600000")).await;
    let strict = key(&make(&test, json!({"name": "shop", "rateLimit": 30})).await.key);
    let answers = join_all((0..100).map(|_| get(&test, &strict, "/jobs"))).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(429)), (30, 70));
}
