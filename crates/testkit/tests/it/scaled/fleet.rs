//! What one process does the others see: events, cancels, drains, pauses, the depth of the queue.

use std::time::Duration;

use comfyui_sim::SimConfig;
use gateway_core::ErrorCode;
use gateway_testkit::{TestBuilder, sampler_workflow, tiny_workflow, until};
use serde_json::json;

use super::{Shared, worker};
use crate::comfy::support::endless;

#[tokio::test]
async fn an_api_without_a_worker_accepts_shows_and_streams_what_others_run() {
    let Some(shared) = Shared::new() else { return };
    let api = shared.api().await;
    let _answer = api.get("/health/ready").await.expect(200);
    api.register("sampler", sampler_workflow()).await;
    let id = api.submit("sampler", json!({"steps": 30})).await;
    let job = api.job(&id).await;
    assert_eq!((&job["status"], &job["position"]), (&json!("queued"), &json!(1)), "{job}");
    let health = api.get("/health").await.json();
    assert_eq!((&health["queue"]["backend"], &health["queue"]["depth"]), (&json!("redis"), &json!(1)), "{health}");
    let stream = api.client().get(api.url(&format!("/jobs/{id}/events"))).send().await.expect("an answer");
    let events = tokio::spawn(async move { stream.text().await.expect("the whole stream") });
    let sim = SimConfig::default();
    let node = shared
        .node_with(
            "one",
            SimConfig { switches: comfyui_sim::Switches { step_ms: 20, ..sim.switches.clone() }, ..sim },
            |_| {},
        )
        .await;
    let text = tokio::time::timeout(Duration::from_secs(60), events).await.expect("the end").expect("events");
    assert!(text.contains("event: end") && text.contains(r#""status":"succeeded""#), "{text}");
    assert!(text.matches("event: progress").count() > 1, "{text}");
    let job = api.wait_ended(&id).await;
    let outputs = api.get(job["outputs"][0]["url"].as_str().expect("a URL")).await;
    assert_eq!((outputs.status, outputs.header("content-type")), (200, "image/png"));
    assert_eq!(node.job(&id).await["worker"], worker(&api, &node.sim.url()).await["id"]);
}

#[tokio::test]
async fn a_job_is_canceled_through_any_api_and_a_worker_is_drained_through_any() {
    let Some(shared) = Shared::new() else { return };
    let api = shared.api().await;
    api.register("sampler", sampler_workflow()).await;
    let node = shared.node_with("one", SimConfig::default(), |_settings| {}).await;
    node.sim.update(|switches| switches.step_ms = 20);
    let id = api.submit("sampler", endless()).await;
    api.wait_status(&id, "running").await;
    until("it is known how far it is", || async {
        (api.job(&id).await["progress"]["step"].as_u64() > Some(1)).then_some(())
    })
    .await;
    let _answer = api.post(&format!("/jobs/{id}/cancel"), &json!({})).await.expect(202);
    assert_eq!(api.wait_ended(&id).await["status"], "canceled");
    let drained = worker(&api, &node.sim.url()).await["id"].as_str().expect("an id").to_owned();
    let other = shared.node("other", SimConfig::default()).await;
    let _answer = api.post(&format!("/workers/{drained}/drain"), &json!({})).await.expect(202);
    until("it says that it drains", || async {
        let workers = api.get("/workers").await.json();
        let mut items = workers["items"].as_array()?.iter();
        items.any(|worker| worker["id"] == drained.as_str() && worker["state"] == "draining").then_some(())
    })
    .await;
    let before = node.sim.stats().prompts_accepted;
    for _ in 0..4 {
        let job = api.run("sampler", json!({"steps": 1})).await;
        assert_eq!(job["status"], "succeeded", "{job}");
    }
    assert_eq!((node.sim.stats().prompts_accepted, other.sim.stats().prompts_accepted), (before, 4));
}

#[tokio::test]
async fn the_queue_is_full_for_every_api_at_once() {
    let Some(shared) = Shared::new() else { return };
    let tweak = shared.tweak("api");
    let small = TestBuilder::default().api_alone().settings(move |settings| {
        tweak(settings);
        settings.queue.max_depth = 3;
    });
    let small = small.start_unready().await;
    let other = shared.api().await;
    other.register("tiny", tiny_workflow()).await;
    for color in 0..3 {
        other.submit("tiny", json!({"color": color})).await;
    }
    let refused = until("the other API has counted", || async {
        let answer = small.post("/jobs", &json!({"workflowId": "tiny", "inputs": {"color": 9}})).await;
        (answer.status != 202).then_some(answer)
    })
    .await;
    assert_eq!((refused.status, refused.code()), (429, ErrorCode::QueueFull.as_str().to_owned()));
    assert!(refused.header("retry-after").parse::<u32>().is_ok());
}

#[tokio::test]
async fn a_job_that_is_handed_back_is_taken_up_where_its_prompt_is() {
    let Some(shared) = Shared::new() else { return };
    let api = shared.api().await;
    api.register("sampler", sampler_workflow()).await;
    let mut node = shared.node("one", SimConfig::default()).await;
    // For longer than the grace of a stop.
    node.sim.update(|switches| switches.step_ms = 20);
    let id = api.submit("sampler", json!({"steps": 500})).await;
    until("it runs", || async { (node.sim.stats().prompts_started == 1).then_some(()) }).await;
    // This one has nothing to do, and leaves it.
    let other = shared.node("other", SimConfig::default()).await;
    node.stop_gateway().await;
    node.start_gateway().await;
    let job = api.wait_ended(&id).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job}");
    assert_eq!((node.sim.stats().prompts_started, other.sim.stats().prompts_started), (1, 0), "it did not run twice");
}
