//! Workers, the queue and jobs that nobody could run, as operators see and steer them.

use gateway_core::{ErrorCode, Timestamp};
use gateway_testkit::{TestGateway, until};
use serde_json::{Value, json};

use super::support::problem;

async fn worker(test: &TestGateway) -> Value {
    let workers = test.get("/workers").await.expect(200).json();
    assert_eq!(workers["items"].as_array().map(Vec::len), Some(1), "{workers}");
    workers["items"][0].clone()
}

async fn state_is(test: &TestGateway, state: &str) {
    until(&format!("the worker is {state}"), || async { (worker(test).await["state"] == state).then_some(()) }).await;
}

#[tokio::test]
async fn workers_are_listed_with_their_servers() {
    let test = TestGateway::start().await;
    let worker = worker(&test).await;
    assert!(worker["id"].as_str().is_some_and(|id| id.starts_with("w-")), "{worker}");
    assert_eq!(worker["state"], "running", "{worker}");
    let backend = &worker["backends"][0];
    assert_eq!((&backend["url"], &backend["state"]), (&json!(test.sim.url()), &json!("ready")), "{worker}");
    assert_eq!((&backend["version"], &backend["inFlight"]), (&json!("0.3.64"), &json!(0)), "{worker}");
    assert!(backend["devices"].as_array().is_some_and(|devices| !devices.is_empty()), "{worker}");
}

#[tokio::test]
async fn a_paused_queue_takes_jobs_and_hands_none_out_until_it_is_resumed_even_after_a_restart() {
    let mut test = TestGateway::start().await;
    assert_eq!(test.post("/queue/pause", &json!({})).await.expect(200).json(), json!({"paused": true}));
    state_is(&test, "paused").await;
    let id = test.submit("tiny", json!({"color": 1})).await;
    test.stop_gateway().await;
    test.start_gateway().await;
    state_is(&test, "paused").await;
    test.wait_ready().await;
    let health = test.get("/health").await.json();
    assert_eq!((&health["queue"]["paused"], &health["queue"]["depth"]), (&json!(true), &json!(1)), "{health}");
    assert_eq!((&test.job(&id).await["status"], test.sim.stats().prompts_accepted), (&json!("queued"), 0));
    assert_eq!(test.post("/queue/resume", &json!({})).await.expect(200).json(), json!({"paused": false}));
    assert_eq!(test.wait_ended(&id).await["status"], "succeeded");
    problem(&test.post("/queue/pause", &json!({"for": 5})).await, ErrorCode::ValidationError);
}

#[tokio::test]
async fn a_worker_that_is_drained_ends_what_it_has_and_takes_no_more() {
    let test = TestGateway::start().await;
    problem(&test.post("/workers/w-0/drain", &json!({})).await, ErrorCode::NotFound);
    test.sim.update(|switches| switches.node_ms = 400);
    let running = test.submit("tiny", json!({"color": 1})).await;
    test.wait_status(&running, "running").await;
    let id = worker(&test).await["id"].as_str().expect("an id").to_owned();
    let drained = test.post(&format!("/workers/{id}/drain"), &json!({})).await.expect(202).json();
    assert_eq!(drained, json!({"id": id, "state": "draining"}));
    state_is(&test, "draining").await;
    let waiting = test.submit("tiny", json!({"color": 2})).await;
    assert_eq!(test.wait_ended(&running).await["status"], "succeeded");
    assert_eq!((&test.job(&waiting).await["status"], test.sim.stats().prompts_accepted), (&json!("queued"), 1));
}

#[tokio::test]
async fn jobs_that_lost_their_workers_too_often_are_listed_and_can_be_run_again() {
    let test = TestGateway::start().await;
    assert_eq!(test.get("/queue/dead").await.expect(200).json(), json!({"items": [], "nextCursor": null}));
    test.sim.update(|switches| switches.node_ms = 60_000);
    let id = test.submit("tiny", json!({"color": 1})).await;
    test.wait_status(&id, "running").await;
    // As the sweep does with a claim that ran out, for a job that may lose one worker.
    let far = Timestamp::from_millis(i64::MAX);
    test.gateway().database().recover_jobs(far, 1, 10).await.expect("the database");
    let dead = test.get("/queue/dead").await.json();
    assert_eq!((&dead["items"][0]["jobId"], &dead["items"][0]["error"]["code"]), (&json!(id), &json!("WORKER_LOST")));
    test.sim.update(|switches| switches.node_ms = 0);
    test.sim.crash().await;
    test.sim.restart().await.expect("the port is free");
    let again = test.post(&format!("/queue/dead/{id}/retry"), &json!({})).await.expect(202).json();
    assert_eq!(again["retryOf"], json!(id));
    let ended = test.wait_ended(again["jobId"].as_str().expect("an id")).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let path = format!("/queue/dead/{}/retry", ended["jobId"].as_str().expect("an id"));
    problem(&test.post(&path, &json!({})).await, ErrorCode::Conflict);
    assert_eq!(test.get("/queue/dead").await.json()["items"].as_array().map(Vec::len), Some(1), "what ended stays so");
}
