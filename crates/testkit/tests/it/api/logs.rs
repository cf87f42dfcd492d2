//! `GET /jobs/{id}/logs`.

use comfyui_sim::FailNode;
use gateway_core::ErrorCode;
use gateway_testkit::TestGateway;
use serde_json::{Value, json};

use super::support::{fields, fragile_workflow, is_time, picture_workflow, problem};

async fn lines(test: &TestGateway, id: &str) -> Vec<Value> {
    let logs = test.get(&format!("/jobs/{id}/logs")).await.expect(200).json();
    assert_eq!(fields(&logs), ["items"]);
    let lines = logs["items"].as_array().unwrap().clone();
    for line in &lines {
        is_time(&line["time"]);
        assert!(matches!(line["level"].as_str(), Some("info" | "warn" | "error")), "{line}");
        assert!(line["event"].is_string() && line["message"].is_string(), "{line}");
    }
    assert!(lines.windows(2).all(|pair| pair[0]["time"].as_str() <= pair[1]["time"].as_str()), "{lines:?}");
    lines
}

#[tokio::test]
async fn the_log_of_a_job_tells_its_way_without_its_prompt() {
    let test = TestGateway::start().await;
    test.register("picture", picture_workflow()).await;
    let job = test.run("picture", json!({"prompt": "a secret unicorn", "negative": "hidden dragon"})).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let lines = lines(&test, job["jobId"].as_str().unwrap()).await;
    let events: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!((events.first(), events.last()), (Some(&"accepted"), Some(&"succeeded")), "{events:?}");
    assert!(events.contains(&"started") && events.contains(&"submitted"), "{events:?}");
    let text = json!(lines).to_string();
    assert!(!text.contains("unicorn") && !text.contains("dragon"), "{text}");
    problem(&test.get("/jobs/01900000-0000-7000-8000-000000000000/logs").await, ErrorCode::JobNotFound);
}

#[tokio::test]
async fn a_failure_is_told_without_the_paths_of_comfyuis_machine() {
    let test = TestGateway::start().await;
    test.register("fragile", fragile_workflow()).await;
    let message = "cannot read /home/alice/ComfyUI/models/loras/x.safetensors nor 'C:\\Users\\alice\\ComfyUI\\a.png'";
    let fault = FailNode {
        class_type: "ImageInvert".into(),
        exception_type: "FileNotFoundError".into(),
        message: message.into(),
    };
    test.sim.update(|switches| switches.fail_node = Some(fault));
    let job = test.run("fragile", json!({})).await;
    assert_eq!(job["status"], "failed", "{job}");
    let lines = lines(&test, job["jobId"].as_str().unwrap()).await;
    let last = lines.last().unwrap();
    assert_eq!((&last["level"], &last["event"]), (&json!("error"), &json!("failed")));
    let text = format!("{}{job}", json!(lines));
    for secret in ["/home", "alice", "Users", "Traceback", "/comfyui"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert!(job["error"]["message"].as_str().unwrap().contains("x.safetensors"), "{job}");
}
