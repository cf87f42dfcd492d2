//! A Redis that must not be used, that is full, or that talks TLS.

use std::path::Path;
use std::time::Duration;

use comfyui_gateway::{Gateway, StartError};
use comfyui_sim::SimConfig;
use gateway_broker::{Broker as _, RedisBroker};
use gateway_config::{Overrides, Settings};
use gateway_testkit::stack::Redis;
use gateway_testkit::{TestBuilder, TestGateway, tiny_workflow, until};
use serde_json::json;

use super::Shared;

fn without() -> bool {
    Shared::new().is_none()
}

async fn refused(shared: &Shared) -> String {
    let overrides = Overrides::default().with("PORT", Some(0)).with("HOST", Some("127.0.0.1"));
    let mut settings: Settings =
        gateway_config::load(&shared.folder.path().join("no.env"), &overrides).expect("settings");
    shared.tweak("x")(&mut settings);
    match Gateway::start(settings, false).await {
        Err(error @ StartError::Queue(_)) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_gateway) => panic!("it started"),
    }
}

/// A Redis of one's own in `folder`, and a node on it with the workflow `tiny`.
async fn alone(folder: &Path) -> (Redis, Shared, TestGateway) {
    let redis = Redis::with(folder, &[]).await;
    let shared = Shared::on(redis.url());
    let node = shared.node("one", SimConfig::default()).await;
    node.register("tiny", tiny_workflow()).await;
    (redis, shared, node)
}

/// Has the worker take nothing.
async fn pause(node: &TestGateway) {
    let _answer = node.post("/queue/pause", &json!({})).await.expect(200);
    until("the worker is paused", || async {
        (node.get("/workers").await.json()["items"][0]["state"] == "paused").then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_that_drops_entries_when_it_is_full_is_refused_with_the_remedy() {
    if without() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::with(folder.path(), &["--maxmemory-policy", "allkeys-lru"]).await;
    let text = refused(&Shared::on(redis.url())).await;
    assert!(text.contains("allkeys-lru") && text.contains("maxmemory-policy noeviction"), "{text}");
}

#[tokio::test]
async fn one_that_does_not_take_the_password_is_refused_and_the_password_is_not_shown() {
    if without() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::with(folder.path(), &[]).await;
    assert_eq!(redis.ask(&["config", "set", "requirepass", "right"]), "OK");
    for (url, told) in
        [(redis.url().replace("redis://", "redis://:hunter2@"), "password"), (redis.url(), "authentication required")]
    {
        let text = refused(&Shared::on(url)).await;
        assert!(text.to_lowercase().contains(told) && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_full_one_costs_no_job_and_jobs_run_on() {
    if without() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (redis, shared, node) = alone(folder.path()).await;
    let before = node.run("tiny", json!({"color": 1})).await;
    assert_eq!(before["status"], "succeeded", "{before}");
    pause(&node).await;
    let known = node.submit("tiny", json!({"color": 2})).await;
    // Less than it uses already.
    assert_eq!(redis.ask(&["config", "set", "maxmemory", "100kb"]), "OK");
    assert!(redis.ask(&["set", "x", "y"]).starts_with("OOM"));
    let unknown = node.submit("tiny", json!({"color": 3})).await;
    // One that starts now can use what is there, too, and the worker is known on.
    let other = TestBuilder::default().api_alone().settings(shared.tweak("other")).start_unready().await;
    assert_eq!(other.get("/health").await.json()["queue"]["depth"], 1);
    assert_eq!(other.get("/workers").await.json()["items"].as_array().map(Vec::len), Some(1));
    let _answer = node.post("/queue/resume", &json!({})).await.expect(200);
    for id in [known, unknown] {
        let job = node.wait_ended(&id).await;
        assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job}");
    }
    assert_eq!(redis.ask(&["config", "set", "maxmemory", "0"]), "OK");
    assert_eq!(node.run("tiny", json!({"color": 4})).await["status"], "succeeded");
}

#[tokio::test]
async fn a_job_that_it_never_heard_of_is_run_soon() {
    if without() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (redis, shared, node) = alone(folder.path()).await;
    // The audit of all that waits would find it, too, only later.
    assert_eq!(redis.ask(&["set", &format!("{{{}}}:turn:audit", shared.prefix), "another worker's"]), "OK");
    pause(&node).await;
    let job = node.submit("tiny", json!({"color": 1})).await;
    // As where the API dies between the commit and the hint.
    let broker = RedisBroker::open(&shared.queue(), Duration::from_secs(600)).await.expect("it opens");
    broker.forget(job.parse().expect("an id")).await.expect("it forgets");
    assert_eq!(node.get("/health").await.json()["queue"]["depth"], 0);
    let _answer = node.post("/queue/resume", &json!({})).await.expect(200);
    assert_eq!(node.wait_ended(&job).await["status"], "succeeded");
}

#[tokio::test]
async fn jobs_are_accepted_and_run_though_it_never_was_there_and_are_known_to_it_when_it_comes() {
    if without() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::with(folder.path(), &[]).await;
    redis.kill();
    let shared = Shared::on(redis.url());
    let node = TestBuilder::default().settings(shared.tweak("one")).start_unready().await;
    node.register("tiny", tiny_workflow()).await;
    let ready = node.get("/health/ready").await;
    assert_eq!((ready.status, ready.code().as_str()), (503, "QUEUE_UNAVAILABLE"));
    assert_eq!(node.get("/health").await.json()["queue"]["depth"], json!(null));
    let job = node.run("tiny", json!({"color": 1})).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    // One that waits for certain, whatever workers find in the database.
    let later = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let later = later.format(&time::format_description::well_known::Rfc3339).expect("a time");
    let job = json!({"workflowId": "tiny", "inputs": {"color": 2}, "notBefore": later});
    let waiting = node.post("/jobs", &job).await.expect(202).json();
    redis.restart().await;
    until("Redis knows what waits", || async {
        node.get("/health").await.json()["queue"]["depth"].as_u64().filter(|depth| *depth > 0)
    })
    .await;
    let id = waiting["jobId"].as_str().expect("an id");
    let _answer = node.post(&format!("/jobs/{id}/cancel"), &json!({})).await.expect(202);
    assert_eq!(node.get("/health").await.json()["queue"]["depth"], 0, "and forgets it");
    assert_eq!(node.run("tiny", json!({"color": 3})).await["status"], "succeeded");
}
