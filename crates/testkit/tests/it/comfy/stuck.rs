//! A ComfyUI that answers and runs nothing: noticed, told, and no job lost to it.

use std::time::Duration;

use gateway_testkit::{TestBuilder, TestGateway, until};
use serde_json::{Value, json};

use super::support::*;

/// At once, as each of them mostly waits.
#[tokio::test]
async fn a_comfyui_that_answers_and_runs_nothing_is_noticed_and_no_job_is_lost_to_it() {
    tokio::join!(
        a_comfyui_whose_queue_stands_still_is_told_and_its_jobs_run_after_its_restart(),
        a_run_that_ignores_its_interrupt_is_told_and_the_jobs_behind_it_run_after_the_restart(),
        a_job_whose_run_ignores_the_wish_to_cancel_is_canceled_nonetheless(),
        a_run_that_ends_late_frees_the_server_without_a_restart(),
        a_strangers_prompt_that_killed_the_thread_that_runs_prompts_is_told(),
    );
}

async fn wait_stuck(test: &TestGateway) -> Value {
    let health = until("/health says that ComfyUI is stuck", || async {
        let health = test.get("/health").await.json();
        (health["comfyui"]["state"] == "stuck").then_some(health)
    })
    .await;
    let ready = test.get("/health/ready").await;
    assert_eq!((ready.status, ready.code().as_str()), (503, "COMFYUI_UNREACHABLE"), "{}", ready.json());
    assert!(
        ready.json()["detail"].as_str().is_some_and(|detail| detail.contains("restart ComfyUI")),
        "{}",
        ready.json()
    );
    health
}

/// Restarts the simulator once it has been seen to be gone.
async fn restart(test: &TestGateway) {
    test.sim.crash().await;
    until("ComfyUI is seen to be gone", || async {
        (test.get("/health").await.json()["comfyui"]["state"] == "unreachable").then_some(())
    })
    .await;
    test.sim.restart().await.expect("the port is free");
}

async fn a_comfyui_whose_queue_stands_still_is_told_and_its_jobs_run_after_its_restart() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.zombie = true);
    let mut jobs = Vec::new();
    for color in 0..4 {
        jobs.push(test.submit("tiny", json!({"color": color})).await);
    }
    let health = wait_stuck(&test).await;
    assert_eq!(health["comfyui"]["reachable"], true, "{health}");
    until("the prompts are taken back", || async {
        let (running, pending) = queue(&test).await;
        (running.is_empty() && pending.is_empty()).then_some(())
    })
    .await;
    for id in &jobs {
        test.wait_status(id, "queued").await;
    }
    let accepted = test.sim.stats().prompts_accepted;
    assert_eq!(accepted, 2, "a stuck server gets no more prompts");
    test.sim.update(|switches| switches.zombie = false);
    restart(&test).await;
    for id in &jobs {
        succeeded(&test.wait_ended(id).await, 1);
    }
    each_ran_once(&test, 4);
}

async fn a_run_that_ignores_its_interrupt_is_told_and_the_jobs_behind_it_run_after_the_restart() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.interrupt_delay_ms = 3_600_000);
    let stubborn = submit_limited(&test, endless(), 1_000).await;
    let behind = test.submit("tiny", json!({"color": 1})).await;
    pending(&test, 1).await;
    failed(&test.wait_ended(&stubborn).await, "COMFYUI_TIMEOUT", 1);
    wait_stuck(&test).await;
    test.wait_status(&behind, "queued").await;
    test.sim.update(|switches| switches.interrupt_delay_ms = 0);
    restart(&test).await;
    succeeded(&test.wait_ended(&behind).await, 1);
}

async fn a_job_whose_run_ignores_the_wish_to_cancel_is_canceled_nonetheless() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.interrupt_delay_ms = 3_600_000);
    let id = test.submit("sampler", endless()).await;
    started(&test, 1).await;
    cancel(&test, &id).await;
    assert_eq!(test.wait_ended(&id).await["status"], "canceled");
    wait_stuck(&test).await;
}

async fn a_run_that_ends_late_frees_the_server_without_a_restart() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.interrupt_delay_ms = 13_000);
    let late = submit_limited(&test, endless(), 1_000).await;
    failed(&test.wait_ended(&late).await, "COMFYUI_TIMEOUT", 1);
    let next = test.submit("tiny", json!({"color": 1})).await;
    succeeded(&test.wait_ended(&next).await, 1);
    test.wait_ready().await;
    each_ran_once(&test, 2);
}

async fn a_strangers_prompt_that_killed_the_thread_that_runs_prompts_is_told() {
    let builder = TestBuilder::default().settings(|settings| settings.comfyui.timeout = Duration::from_secs(2));
    let test = gateway(builder).await;
    let killer = json!({"prompt": {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        "3": {"class_type": "EmptyImage"}
    }});
    let sent = test.client().post(format!("{}/prompt", test.sim.url())).json(&killer).send().await.expect("an answer");
    assert_eq!(sent.status(), 200);
    let behind = test.submit("tiny", json!({"color": 1})).await;
    wait_stuck(&test).await;
    test.wait_status(&behind, "queued").await;
    until("the prompt is taken back", || async { queue(&test).await.1.is_empty().then_some(()) }).await;
    restart(&test).await;
    succeeded(&test.wait_ended(&behind).await, 1);
}
