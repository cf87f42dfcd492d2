//! A gateway that is restarted while ComfyUI has its prompts.

use std::time::Duration;

use comfyui_sim::{Profile, SimConfig};
use gateway_testkit::TestBuilder;
use serde_json::json;

use super::support::*;

#[tokio::test]
async fn jobs_that_run_wait_in_comfyui_or_wait_here_outlive_a_restart_and_run_once() {
    for profile in [Profile::V0_3_40, Profile::V0_3_64, Profile::V0_40] {
        let builder = TestBuilder::default()
            .sim(SimConfig { profile, ..SimConfig::default() })
            .settings(|settings| settings.worker.grace = Duration::from_millis(100));
        let mut test = gateway(builder).await;
        let mut jobs = Vec::new();
        for _ in 0..3 {
            jobs.push(test.submit("sampler", json!({"steps": 150})).await);
        }
        started(&test, 1).await;
        pending(&test, 1).await;
        test.stop_gateway().await;
        test.sim.update(|switches| switches.step_ms = 2);
        test.start_gateway().await;
        for id in &jobs {
            succeeded(&test.wait_ended(id).await, 1);
        }
        each_ran_once(&test, 3);
    }
}

#[tokio::test]
async fn a_run_that_ended_while_the_gateway_was_down_is_collected_and_not_repeated() {
    let builder = TestBuilder::default().settings(|settings| settings.worker.grace = Duration::from_millis(100));
    let mut test = gateway(builder).await;
    let id = test.submit("sampler", json!({"steps": 50})).await;
    started(&test, 1).await;
    test.stop_gateway().await;
    idle(&test).await;
    test.start_gateway().await;
    succeeded(&test.wait_ended(&id).await, 1);
    each_ran_once(&test, 1);
}

#[tokio::test]
async fn a_prompt_that_comfyui_lost_while_the_gateway_was_down_is_run_again() {
    let builder = TestBuilder::default().settings(|settings| settings.worker.grace = Duration::from_millis(100));
    let mut test = gateway(builder).await;
    let id = test.submit("sampler", endless()).await;
    started(&test, 1).await;
    test.stop_gateway().await;
    test.sim.crash().await;
    test.sim.update(|switches| switches.step_ms = 0);
    test.sim.restart().await.expect("the port is free");
    test.start_gateway().await;
    succeeded(&test.wait_ended(&id).await, 2);
    each_ran_once(&test, 2);
}

#[tokio::test]
async fn a_job_canceled_after_a_restart_is_stopped_in_comfyui() {
    let builder = TestBuilder::default().settings(|settings| settings.worker.grace = Duration::from_millis(100));
    let mut test = gateway(builder).await;
    let id = test.submit("sampler", endless()).await;
    started(&test, 1).await;
    test.stop_gateway().await;
    test.start_gateway().await;
    test.wait_status(&id, "running").await;
    cancel(&test, &id).await;
    assert_eq!(test.wait_ended(&id).await["status"], "canceled");
    idle(&test).await;
}
