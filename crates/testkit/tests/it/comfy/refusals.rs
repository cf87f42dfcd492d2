//! Prompts that ComfyUI refuses, and prompts whose answer does not say.

use comfyui_sim::{Profile, SimConfig};
use gateway_testkit::{TestBuilder, sampler_workflow, until};
use serde_json::{Value, json};

use super::support::*;

fn paths(job: &Value) -> Vec<&str> {
    let details = job["error"]["details"].as_array().expect("details");
    details.iter().filter_map(|fault| fault["path"].as_str()).collect()
}

#[tokio::test]
async fn a_prompt_that_would_run_in_part_fails_with_each_fault_and_the_queued_part_is_taken_back() {
    let test = gateway(TestBuilder::default()).await;
    let mut halves = sampler_workflow();
    halves["workflow"]["7"] = json!({"class_type": "ImageScale", "inputs": {
        "image": ["5", 0], "upscale_method": "{{method}}", "width": 8, "height": 8, "crop": "disabled"
    }});
    halves["workflow"]["8"] =
        json!({"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "x"}});
    halves["inputSchema"]["properties"]["method"] = json!({"type": "string"});
    test.register("halves", halves).await;

    let blocker = test.submit("sampler", endless()).await;
    started(&test, 1).await;
    let job = test.run("halves", json!({"method": "nope"})).await;
    failed(&job, "COMFYUI_REJECTED", 1);
    assert_eq!(paths(&job), ["/7/inputs/upscale_method"], "{job}");
    assert_eq!((&job["error"]["node"]["id"], &job["error"]["retryable"]), (&json!("7"), &json!(false)), "{job}");
    assert_eq!(queue(&test).await.1, [""; 0], "the valid part no longer waits");
    assert_eq!(test.sim.stats().prompts_accepted, 2, "it was queued in part");
    cancel(&test, &blocker).await;
    idle(&test).await;
    each_ran_once(&test, 1);
}

#[tokio::test]
async fn a_refused_prompt_fails_at_once_with_its_reason_for_each_node_and_input() {
    let test = gateway(TestBuilder::default()).await;
    let job = test.run("sampler", json!({"sampler": "nope"})).await;
    failed(&job, "COMFYUI_REJECTED", 1);
    assert_eq!(paths(&job), ["/4/inputs/sampler_name"], "{job}");
    assert_eq!(test.sim.stats().prompts_refused, 1);

    test.sim.update(|switches| switches.max_upload_bytes = 300);
    let job = test.run("sampler", json!({})).await;
    failed(&job, "COMFYUI_REJECTED", 1);
    assert!(message(&job).contains("larger"), "{job}");
    test.sim.update(|switches| switches.max_upload_bytes = 1 << 20);
    succeeded(&test.run("sampler", json!({})).await, 1);
}

#[tokio::test]
async fn a_job_that_no_server_can_run_is_refused_at_submit_with_what_is_missing() {
    let test = gateway(TestBuilder::default()).await;
    let inputs = json!({"inputs": {"checkpoint": "absent.safetensors"}});
    // Known a moment after the server can be used.
    let answer = until("what the server has is known", || async {
        let answer = test.post("/workflows/sampler/validate", &inputs).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    let submitted = test
        .post("/jobs", &json!({"workflowId": "sampler", "inputs": {"checkpoint": "absent.safetensors"}}))
        .await
        .expect(422);
    for answer in [answer, submitted] {
        assert_eq!(
            (answer.code().as_str(), answer.fault_paths()),
            ("VALIDATION_ERROR", vec!["/inputs/checkpoint".into()])
        );
        let text = answer.json().to_string();
        assert!(text.contains("model absent.safetensors") && text.contains("install what is missing"), "{text}");
    }
    assert_eq!(test.sim.stats().prompts_refused, 0);
    succeeded(&test.run("sampler", json!({})).await, 1);
}

async fn refuse_all_with(status: u16, wanted: &str) {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.refuse_prompt_status = Some(status));
    let job = test.run("tiny", json!({"color": 1})).await;
    failed(&job, "COMFYUI_UNREACHABLE", 3);
    assert!(message(&job).contains(wanted), "{status}: {job}");
    assert_eq!(test.sim.stats().prompts_accepted, 0);
    test.sim.update(|switches| switches.refuse_prompt_status = None);
    succeeded(&test.run("tiny", json!({"color": 1})).await, 1);
}

#[tokio::test]
async fn a_prompt_that_fails_inside_comfyui_or_in_front_of_it_is_retried_and_then_fails() {
    let foreign = "did not get through";
    tokio::join!(refuse_all_with(500, "500"), refuse_all_with(400, foreign), refuse_all_with(404, foreign));
}

#[tokio::test]
async fn a_prompt_that_a_filter_refuses_does_not_keep_the_others_from_running() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.refuse_prompt_status = Some(403));
    let refused = test.submit("tiny", json!({"color": 1})).await;
    until("the filter has refused it", || async {
        (test.sim.stats().requests.get("POST /prompt").is_some_and(|count| *count > 0)).then_some(())
    })
    .await;
    test.sim.update(|switches| switches.refuse_prompt_status = None);
    succeeded(&test.run("tiny", json!({"color": 2})).await, 1);
    succeeded(&test.wait_ended(&refused).await, 2);
}

#[tokio::test]
async fn a_lost_answer_is_followed_by_a_look_and_never_by_a_second_submission() {
    for profile in [Profile::V0_3_40, Profile::V0_3_64, Profile::V0_40] {
        let test = gateway(TestBuilder::default().sim(SimConfig { profile, ..SimConfig::default() })).await;
        test.sim.update(|switches| switches.lose_prompt_reply = 1);
        succeeded(&test.run("sampler", json!({"steps": 50})).await, 1);
        // It ends before the look: only its id leads to it, or what was left beside it.
        test.sim.update(|switches| (switches.lose_prompt_reply, switches.step_ms) = (1, 0));
        succeeded(&test.run("sampler", json!({})).await, 1);
        assert_eq!(test.sim.stats().prompts_accepted, 2, "{profile}");
        each_ran_once(&test, 2);
    }
}

#[tokio::test]
async fn events_that_come_before_the_answer_are_not_lost() {
    for profile in [Profile::V0_3_40, Profile::V0_3_64] {
        let test = gateway(TestBuilder::default().sim(SimConfig { profile, ..SimConfig::default() })).await;
        test.sim.update(|switches| switches.event_before_response = true);
        for color in 0..3 {
            succeeded(&test.run("tiny", json!({"color": color})).await, 1);
        }
        each_ran_once(&test, 3);
    }
}
