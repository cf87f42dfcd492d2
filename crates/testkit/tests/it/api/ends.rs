//! Canceling, retrying and deleting jobs.

use comfyui_sim::FailNode;
use gateway_core::ErrorCode;
use gateway_testkit::{TestGateway, files_below, until};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{fragile_workflow, is_time, offline, problem, run_for_ever, text, with};

const UNKNOWN: &str = "01900000-0000-7000-8000-000000000000";

async fn post(test: &TestGateway, path: String) -> gateway_testkit::Answer {
    test.send(Method::POST, &path, None).await
}

#[tokio::test]
async fn a_waiting_job_is_canceled_at_once_and_an_ended_one_not_again() {
    let test = offline().await;
    let id = test.submit("tiny", json!({"color": 1})).await;
    let canceled = post(&test, format!("/jobs/{id}/cancel")).await.expect(202);
    assert_eq!(canceled.json(), json!({"jobId": id, "status": "canceled", "cancelRequested": true}));
    let job = test.job(&id).await;
    assert_eq!(job["status"], "canceled");
    is_time(&job["finishedAt"]);
    assert!(job.get("position").is_none() && job.get("error").is_none(), "{job}");
    let told = problem(&post(&test, format!("/jobs/{id}/cancel")).await, ErrorCode::Conflict);
    assert!(told["detail"].as_str().unwrap().contains("canceled"), "{told}");
    assert_eq!(test.get("/health").await.json()["queue"]["depth"], 0);
}

#[tokio::test]
async fn a_running_job_is_interrupted_alone() {
    let test = TestGateway::start().await;
    let (first, second) = (run_for_ever(&test, 1).await, run_for_ever(&test, 2).await);
    until("ComfyUI runs it", || async { (test.sim.stats().prompts_started > 0).then_some(()) }).await;
    let canceled = post(&test, format!("/jobs/{first}/cancel")).await.expect(202);
    assert_eq!(canceled.json(), json!({"jobId": first, "status": "running", "cancelRequested": true}));
    assert_eq!(test.job(&first).await["cancelRequested"], true);
    let _again = post(&test, format!("/jobs/{first}/cancel")).await.expect(202);
    test.sim.update(|switches| switches.step_ms = 0);
    assert_eq!(test.wait_ended(&first).await["status"], "canceled");
    assert_eq!(test.wait_ended(&second).await["status"], "succeeded");
    problem(&post(&test, format!("/jobs/{first}/cancel")).await, ErrorCode::Conflict);
    problem(&post(&test, format!("/jobs/{second}/cancel")).await, ErrorCode::Conflict);
}

#[tokio::test]
async fn a_failed_job_is_retried_as_a_new_one() {
    let test = TestGateway::start().await;
    test.register("fragile", fragile_workflow()).await;
    let fault =
        FailNode { class_type: "ImageInvert".into(), exception_type: "ValueError".into(), message: "no".into() };
    test.sim.update(|switches| switches.fail_node = Some(fault));
    let body = json!({
        "workflowId": "fragile", "inputs": {"color": 9}, "priority": "high", "timeoutMs": 60_000,
        "metadata": {"requestId": "r", "note": [1]},
    });
    let id = text(&test.post("/jobs", &body).await.expect(202).json(), "/jobId");
    let failed = test.wait_status(&id, "failed").await;
    assert_eq!(failed["error"]["code"], "COMFYUI_NODE_ERROR");
    assert_eq!(failed["error"]["node"], json!({"id": "2", "classType": "ImageInvert", "title": "Turn around"}));
    assert!(failed["error"]["recommendation"].is_string() && failed["error"]["retryable"].is_boolean(), "{failed}");
    test.sim.update(|switches| switches.fail_node = None);
    let retried = post(&test, format!("/jobs/{id}/retry")).await.expect(202);
    let new = text(&retried.json(), "/jobId");
    assert_ne!(new, id);
    assert_eq!((retried.header("location"), &retried.json()["retryOf"]), (format!("/jobs/{new}").as_str(), &json!(id)));
    let job = test.wait_ended(&new).await;
    assert_eq!(
        (&job["status"], &job["retryOf"], &job["attempt"]),
        (&json!("succeeded"), &json!(id), &json!(1)),
        "{job}"
    );
    for field in ["inputs", "metadata", "priority", "workflowId"] {
        assert_eq!(job[field], failed[field], "{field}");
    }
    assert_eq!(test.job(&id).await, failed, "the first job stays as it ended");
    problem(&post(&test, format!("/jobs/{UNKNOWN}/retry")).await, ErrorCode::JobNotFound);
}

#[tokio::test]
async fn deleting_a_job_removes_its_record_and_its_files() {
    let test = TestGateway::start().await;
    let outputs = test.folder().join("outputs");
    let id = test.submit("tiny", json!({"color": 1})).await;
    let job = test.wait_status(&id, "succeeded").await;
    assert_eq!(files_below(&outputs).len(), 1);
    let deleted = with(&test, Method::DELETE, &format!("/jobs/{id}"), &[]).await.expect(204);
    assert!(deleted.bytes.is_empty());
    for path in
        [format!("/jobs/{id}"), format!("/jobs/{id}/logs"), format!("/jobs/{id}/events"), format!("/outputs/{id}")]
    {
        problem(&test.get(&path).await, ErrorCode::JobNotFound);
    }
    problem(&test.get(&text(&job, "/outputs/0/url")).await, ErrorCode::OutputNotFound);
    problem(&with(&test, Method::DELETE, &format!("/jobs/{id}"), &[]).await, ErrorCode::JobNotFound);
    assert_eq!(test.get("/jobs").await.json()["items"], json!([]));
    until("its files are gone", || async { files_below(&outputs).is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn only_ended_jobs_are_deleted_or_retried() {
    let test = TestGateway::start().await;
    let (running, _ahead) = (run_for_ever(&test, 1).await, run_for_ever(&test, 2).await);
    let queued = test.submit("tiny", json!({"color": 3})).await;
    for id in [&running, &queued] {
        problem(&with(&test, Method::DELETE, &format!("/jobs/{id}"), &[]).await, ErrorCode::Conflict);
        problem(&post(&test, format!("/jobs/{id}/retry")).await, ErrorCode::Conflict);
    }
    assert_eq!(test.get("/jobs").await.json()["items"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn ids_that_name_no_job_are_not_found_whatever_they_look_like() {
    let test = offline().await;
    let real = test.submit("tiny", json!({"color": 1})).await;
    let long = "a".repeat(8_000);
    let upper = real.to_uppercase();
    let odd =
        [UNKNOWN, "0", "%00", "%0d%0aSet-Cookie:x", "%ff%fe", "..%2f..%2fetc", "CON", upper.as_str(), long.as_str()];
    for id in odd.into_iter().chain([format!("{{{real}}}").as_str(), &format!("{real}%20"), &real.replace('-', "")]) {
        for (method, path, code) in [
            (Method::GET, format!("/jobs/{id}"), ErrorCode::JobNotFound),
            (Method::DELETE, format!("/jobs/{id}"), ErrorCode::JobNotFound),
            (Method::GET, format!("/jobs/{id}/logs"), ErrorCode::JobNotFound),
            (Method::GET, format!("/jobs/{id}/events"), ErrorCode::JobNotFound),
            (Method::POST, format!("/jobs/{id}/cancel"), ErrorCode::JobNotFound),
            (Method::POST, format!("/jobs/{id}/retry"), ErrorCode::JobNotFound),
            (Method::GET, format!("/outputs/{id}"), ErrorCode::JobNotFound),
            (Method::GET, format!("/outputs/{id}/image_001.png"), ErrorCode::OutputNotFound),
            (Method::GET, format!("/workflows/{id}"), ErrorCode::WorkflowNotFound),
            (Method::DELETE, format!("/workflows/{id}"), ErrorCode::WorkflowNotFound),
        ] {
            let body: Value = problem(&with(&test, method, &path, &[]).await, code);
            assert!(!body.to_string().contains("Set-Cookie"), "{body}");
        }
    }
}
