//! Results that ComfyUI does not have, can't give, or never made.

use gateway_testkit::{TestBuilder, until};
use serde_json::{Value, json};

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

#[tokio::test]
async fn a_prompt_that_a_stranger_clears_from_the_queue_is_sent_again() {
    let test = gateway(TestBuilder::default()).await;
    let blocker = strangers_prompt(&test, 60).await;
    started(&test, 1).await;
    test.sim.update(|switches| switches.foreign_clear = 1);
    let id = test.submit("tiny", json!({"color": 1})).await;
    succeeded(&test.wait_ended(&id).await, 2);
    assert_eq!(strangers_end(&test, &blocker).await, "success");
    each_ran_once(&test, 2);
}

#[tokio::test]
async fn a_stranger_in_the_queue_is_waited_for_and_left_alone() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.foreign_jobs = 2);
    for _ in 0..2 {
        succeeded(&test.run("sampler", json!({"steps": 5})).await, 1);
    }
    each_ran_once(&test, 4);
}

#[tokio::test]
async fn pictures_that_come_over_the_socket_alone_are_never_lost_in_silence() {
    let test = gateway(TestBuilder::default()).await;
    let graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 2, "color": "{{color}}"}},
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    });
    let schema = json!({"type": "object", "properties": {"color": {"type": "integer"}}});
    test.register("socket", json!({"workflow": graph, "inputSchema": schema})).await;
    test.sim.update(|switches| switches.drop_events = true);
    let id = test.submit("socket", json!({"color": 1})).await;
    until("the first attempt is over", || async {
        (test.job(&id).await["status"] == "queued" && test.sim.stats().prompts_finished == 1).then_some(())
    })
    .await;
    test.sim.update(|switches| switches.drop_events = false);
    let job = test.wait_ended(&id).await;
    succeeded(&job, 2);
    assert_eq!(job["outputs"].as_array().map(Vec::len), Some(2), "{job}");
}

#[tokio::test]
async fn what_is_left_beside_a_prompt_leads_to_its_job_and_its_request() {
    let test = gateway(TestBuilder::default()).await;
    let body = json!({"workflowId": "sampler", "inputs": endless()});
    let request = test.client().post(test.url("/jobs")).header("x-request-id", "trace-7").json(&body);
    let job: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    started(&test, 1).await;
    let queue = sim_json(&test, "/queue").await;
    let beside = &queue["queue_running"][0][3]["gateway"];
    assert_eq!((&beside["job"], &beside["correlationId"]), (&job["jobId"], &json!("trace-7")), "{queue}");
    cancel(&test, job["jobId"].as_str().expect("an id")).await;
}
