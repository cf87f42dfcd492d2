//! Results that ComfyUI does not have, can't give, or never made.

use gateway_testkit::{TestBuilder, until};
use serde_json::json;

use super::support::*;

#[tokio::test]
async fn success_without_outputs_is_a_failure_that_says_so_and_is_not_retried() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.empty_outputs = true);
    let job = test.run("tiny", json!({"color": 1})).await;
    failed(&job, "COMFYUI_NODE_ERROR", 1);
    assert!(message(&job).contains("made no outputs"), "{job}");

    test.sim.update(|switches| (switches.empty_outputs, switches.block_node) = (false, Some("SaveImage".to_owned())));
    let job = test.run("tiny", json!({"color": 2})).await;
    failed(&job, "COMFYUI_NODE_ERROR", 1);
    assert!(message(&job).contains("made no outputs"), "{job}");
    assert_eq!(job["error"]["node"]["id"], "2", "the node that stopped its branch is named: {job}");
    each_ran_once(&test, 2);
}

#[tokio::test]
async fn a_prompt_in_neither_queue_nor_history_is_lost_and_run_again_under_a_new_id() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.evict_history = true);
    let id = test.submit("tiny", json!({"color": 1})).await;
    until("the first run has ended", || async { (test.sim.stats().prompts_finished == 1).then_some(()) }).await;
    test.sim.update(|switches| switches.evict_history = false);
    succeeded(&test.wait_ended(&id).await, 2);
    each_ran_once(&test, 2);

    test.sim.update(|switches| switches.evict_history = true);
    let job = test.run("tiny", json!({"color": 2})).await;
    failed(&job, "COMFYUI_UNREACHABLE", 3);
    assert!(message(&job).contains("lost"), "{job}");
    each_ran_once(&test, 5);
}

#[tokio::test]
async fn a_history_entry_that_comfyui_can_not_write_is_deleted_and_the_job_run_again() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.poison_history = true);
    let id = test.submit("tiny", json!({"color": 1})).await;
    until("the first run has ended", || async { (test.sim.stats().prompts_finished == 1).then_some(()) }).await;
    test.sim.update(|switches| switches.poison_history = false);
    succeeded(&test.wait_ended(&id).await, 2);
    each_ran_once(&test, 2);
    until("the whole history can be read again", || async {
        let answer = test.client().get(format!("{}/history", test.sim.url())).send().await.expect("an answer");
        (answer.status() == 200).then_some(())
    })
    .await;
}
