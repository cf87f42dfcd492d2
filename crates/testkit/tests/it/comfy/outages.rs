//! ComfyUI that is not there, dies, or takes too long.

use std::time::Duration;

use gateway_testkit::{TestBuilder, TestGateway, until};
use serde_json::json;

use super::support::*;

async fn state_is(test: &TestGateway, state: &str) {
    until(&format!("/health says that ComfyUI is {state}"), || async {
        (test.get("/health").await.json()["comfyui"]["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn jobs_submitted_while_comfyui_is_down_wait_and_run_when_it_comes() {
    let mut test = gateway(TestBuilder::default()).await;
    test.stop_gateway().await;
    test.sim.crash().await;
    test.start_gateway().await;
    let mut jobs = Vec::new();
    for color in 0..3 {
        jobs.push(test.submit("tiny", json!({"color": color})).await);
    }
    state_is(&test, "unreachable").await;
    let ready = test.get("/health/ready").await;
    assert_eq!((ready.status, ready.code().as_str()), (503, "COMFYUI_UNREACHABLE"));
    for id in &jobs {
        assert_eq!(test.job(id).await["status"], "queued");
    }
    test.sim.restart().await.expect("the port is free");
    for id in &jobs {
        succeeded(&test.wait_ended(id).await, 1);
    }
    each_ran_once(&test, 3);
}

#[tokio::test]
async fn a_comfyui_that_dies_in_the_middle_and_comes_back_gives_the_result_on_the_next_attempt() {
    let test = gateway(TestBuilder::default()).await;
    let (running, waiting) = (test.submit("sampler", endless()).await, test.submit("tiny", json!({"color": 1})).await);
    started(&test, 1).await;
    pending(&test, 1).await;
    test.sim.crash().await;
    state_is(&test, "unreachable").await;
    test.sim.update(|switches| switches.step_ms = 0);
    test.sim.restart().await.expect("the port is free");
    for id in [&running, &waiting] {
        succeeded(&test.wait_ended(id).await, 2);
    }
    assert_eq!(test.sim.stats().crashes, 1);
    each_ran_once(&test, 3);
}

#[tokio::test]
async fn a_comfyui_that_dies_of_a_job_each_time_fails_it_after_its_attempts() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| {
        switches.die_on_node = Some("KSampler".to_owned());
        switches.down_ms = Some(300);
    });
    let job = test.run("sampler", json!({})).await;
    failed(&job, "COMFYUI_UNREACHABLE", 3);
    assert_eq!(test.sim.stats().crashes, 3);
    succeeded(&test.run("tiny", json!({"color": 1})).await, 1);
}

#[tokio::test]
async fn a_run_over_its_time_is_interrupted_in_comfyui_and_waiting_there_does_not_count() {
    let builder = TestBuilder::default().settings(|settings| settings.comfyui.timeout = Duration::from_millis(700));
    let test = gateway(builder).await;
    let job = test.run("sampler", endless()).await;
    failed(&job, "COMFYUI_TIMEOUT", 1);
    assert!(message(&job).contains("700 ms"), "{job}");
    idle(&test).await;

    let own = submit_limited(&test, endless(), 1_000).await;
    let job = test.wait_ended(&own).await;
    failed(&job, "COMFYUI_TIMEOUT", 1);
    assert!(message(&job).contains("1000 ms"), "{job}");
    idle(&test).await;

    let first = submit_limited(&test, json!({"steps": 100}), 60_000).await;
    started(&test, 3).await;
    let second = submit_limited(&test, json!({}), 1_000).await;
    pending(&test, 1).await;
    succeeded(&test.wait_ended(&first).await, 1);
    succeeded(&test.wait_ended(&second).await, 1);
    each_ran_once(&test, 4);
}

#[tokio::test]
async fn a_job_whose_comfyui_is_gone_for_good_can_be_canceled() {
    let test = gateway(TestBuilder::default()).await;
    let id = test.submit("sampler", endless()).await;
    started(&test, 1).await;
    test.sim.crash().await;
    state_is(&test, "unreachable").await;
    cancel(&test, &id).await;
    assert_eq!(test.wait_ended(&id).await["status"], "canceled");
}

#[tokio::test]
async fn a_comfyui_that_accepts_and_never_answers_keeps_no_job_from_being_canceled_or_timed_out() {
    let test = gateway(TestBuilder::default()).await;
    let canceled = test.submit("sampler", endless()).await;
    started(&test, 1).await;
    test.sim.update(|switches| switches.hang_accept = true);
    cancel(&test, &canceled).await;
    assert_eq!(test.wait_ended(&canceled).await["status"], "canceled");
    state_is(&test, "unreachable").await;
    test.sim.update(|switches| (switches.hang_accept, switches.step_ms) = (false, 0));
    test.wait_ready().await;
}
