//! How owners share the servers: none runs more than it may, others pass it, and who weighs more gets more.

use gateway_auth::key::ConfiguredKeys;
use gateway_config::Settings;
use gateway_testkit::{Answer, TestBuilder, TestGateway, tiny_workflow, until};
use serde_json::{Value, json};

use super::{Shared, worker};

const BOSS: &str = "boss-0123456789abcdef";

/// An API and a worker that runs two jobs at once.
async fn node(tweak: impl Fn(&mut Settings) + Send + Sync + 'static) -> TestGateway {
    let settings = move |settings: &mut Settings| {
        tweak(settings);
        settings.worker.concurrency = 2;
        settings.access.keys = ConfiguredKeys::parse(&format!("{BOSS}:admin:boss")).expect("keys");
    };
    let test = TestBuilder::default().key(BOSS).settings(settings).start_unready().await;
    test.sim.update(|switches| switches.node_ms = 30);
    let _worker = worker(&test, &test.sim.url()).await;
    test
}

async fn key(test: &TestGateway, body: Value) -> String {
    let made = test.post("/keys", &body).await.expect(201).json();
    for (name, value) in body.as_object().expect("fields") {
        assert_eq!(made[name], *value, "{made}");
    }
    made["key"].as_str().expect("a key").to_owned()
}

async fn submit(test: &TestGateway, key: &str, color: u32) -> String {
    let job = json!({"workflowId": "tiny", "inputs": {"color": color}});
    let request = test.client().post(test.url("/jobs")).header("x-api-key", key).json(&job);
    let answer = Answer::read(request.send().await.expect("an answer")).await.expect(202);
    answer.json()["jobId"].as_str().expect("an id").to_owned()
}

async fn pause(test: &TestGateway) {
    let _answer = test.post("/queue/pause", &json!({})).await.expect(200);
    until("the workers are paused", || async {
        let workers = test.get("/workers").await.json();
        let mut items = workers["items"].as_array()?.iter();
        items.all(|worker| worker["state"] == "paused").then_some(())
    })
    .await;
}

/// Before workers go on, they look at what keys say.
async fn resume(test: &TestGateway) {
    let _answer = test.post("/queue/resume", &json!({})).await.expect(200);
}

fn time(job: &Value, name: &str) -> String {
    job[name].as_str().unwrap_or_else(|| panic!("no {name}: {job}")).to_owned()
}

async fn one_at_a_time(test: &TestGateway) {
    test.register("tiny", tiny_workflow()).await;
    pause(test).await;
    let bounded = key(test, json!({"name": "bounded", "runningLimit": 1, "weight": 100})).await;
    let free = key(test, json!({"name": "free"})).await;
    let mut jobs = Vec::new();
    for color in 0..8 {
        jobs.push(submit(test, &bounded, color).await);
    }
    let passing = submit(test, &free, 100).await;
    resume(test).await;
    until("all have ended", || async {
        let running = test.get("/jobs?status=running&owner=bounded").await.expect(200).json();
        assert!(running["items"].as_array().is_some_and(|items| items.len() <= 1), "{running}");
        let ended = test.get("/jobs?status=succeeded&owner=bounded").await.expect(200).json();
        ended["items"].as_array().is_some_and(|items| items.len() == 8).then_some(())
    })
    .await;
    let mut spans = Vec::new();
    for id in &jobs {
        let job = test.job(id).await;
        spans.push((time(&job, "startedAt"), time(&job, "finishedAt")));
    }
    spans.sort();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{spans:?}");
    let passing = test.wait_ended(&passing).await;
    assert!(time(&passing, "startedAt") < spans[2].0, "{passing}: {spans:?}");
}

#[tokio::test]
async fn an_owner_runs_no_more_at_once_than_its_key_allows_and_others_pass_it() {
    let test = node(|_settings| {}).await;
    one_at_a_time(&test).await;
}

#[tokio::test]
async fn an_owner_runs_no_more_at_once_than_its_key_allows_however_many_workers_there_are() {
    let Some(shared) = Shared::new() else { return };
    let (one, other) = (node(shared.tweak("one")).await, node(shared.tweak("other")).await);
    let _worker = worker(&one, &other.sim.url()).await;
    one_at_a_time(&one).await;
}

#[tokio::test]
async fn whoever_weighs_three_times_as_much_gets_three_times_as_much() {
    let test = node(|_settings| {}).await;
    test.register("tiny", tiny_workflow()).await;
    pause(&test).await;
    let heavy = key(&test, json!({"name": "heavy", "weight": 3})).await;
    let light = key(&test, json!({"name": "light"})).await;
    let mut jobs = Vec::new();
    for color in 0..20 {
        jobs.push((submit(&test, &light, color).await, false));
        jobs.push((submit(&test, &heavy, color).await, true));
    }
    resume(&test).await;
    let mut order = Vec::new();
    for (id, heavy) in &jobs {
        let job = test.wait_ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        order.push((time(&job, "startedAt"), *heavy));
    }
    order.sort();
    let first = order[..20].iter().filter(|(_, heavy)| *heavy).count();
    assert!((13..=17).contains(&first), "{first} of 20: {order:?}");
}
