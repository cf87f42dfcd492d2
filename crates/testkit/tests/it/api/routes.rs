//! Every route, at the root and under `/v1`: the whole way of a workflow and a job.

use gateway_testkit::{Answer, TestGateway, tiny_workflow};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::text;

async fn call(test: &TestGateway, method: Method, path: &str, body: Option<Value>, status: u16) -> Answer {
    let answer = test.send(method.clone(), path, body.as_ref()).await;
    assert_eq!(answer.status, status, "{method} {path}: {}", String::from_utf8_lossy(&answer.bytes));
    assert!(!answer.header("x-request-id").is_empty(), "{method} {path}");
    let media = answer.header("content-type");
    let json = media == "application/json" || answer.bytes.is_empty();
    assert!(json || path.ends_with("/events") || path.ends_with(".png"), "{method} {path}: {media}");
    answer
}

#[tokio::test]
async fn every_route_answers_at_the_root_and_under_v1() {
    let test = TestGateway::start().await;
    for prefix in ["", "/v1"] {
        let at = |path: &str| format!("{prefix}{path}");
        for path in ["/health", "/health/live", "/health/ready", "/capabilities", "/workflows", "/jobs", "/jobs/stats"]
        {
            call(&test, Method::GET, &at(path), None, 200).await;
        }
        for path in ["/health", "/health/live", "/health/ready"] {
            assert!(call(&test, Method::HEAD, &at(path), None, 200).await.bytes.is_empty());
        }
        let mut workflow = tiny_workflow();
        workflow["id"] = json!("mine");
        call(&test, Method::POST, &at("/workflows"), Some(workflow.clone()), 201).await;
        call(&test, Method::GET, &at("/workflows/mine"), None, 200).await;
        call(&test, Method::PUT, &at("/workflows/mine"), Some(workflow), 200).await;
        let inputs = json!({"inputs": {"color": 3}});
        call(&test, Method::POST, &at("/workflows/mine/validate"), Some(inputs), 200).await;
        let job = json!({"workflowId": "mine", "inputs": {"color": 3}, "cache": false});
        let id = text(&call(&test, Method::POST, &at("/jobs"), Some(job), 202).await.json(), "/jobId");
        let job = at(&format!("/jobs/{id}"));
        let watched = call(&test, Method::GET, &format!("{job}/events"), None, 200).await;
        assert!(String::from_utf8_lossy(&watched.bytes).contains("event: end"));
        assert_eq!(call(&test, Method::GET, &job, None, 200).await.json()["status"], "succeeded");
        call(&test, Method::GET, &format!("{job}/logs"), None, 200).await;
        call(&test, Method::GET, &format!("{job}/webhooks"), None, 200).await;
        let outputs = at(&format!("/outputs/{id}"));
        let list = call(&test, Method::GET, &outputs, None, 200).await.json();
        let file = format!("{outputs}/{}", text(&list, "/items/0/file"));
        call(&test, Method::GET, &file, None, 200).await;
        call(&test, Method::HEAD, &file, None, 200).await;
        call(&test, Method::POST, &format!("{job}/retry"), None, 202).await;
        let later =
            json!({"workflowId": "mine", "inputs": {"color": 3}, "notBefore": super::support::from_now(600_000)});
        let id = text(&call(&test, Method::POST, &at("/jobs"), Some(later), 202).await.json(), "/jobId");
        call(&test, Method::POST, &at(&format!("/jobs/{id}/cancel")), None, 202).await;
        call(&test, Method::DELETE, &at(&format!("/jobs/{id}")), None, 204).await;
        call(&test, Method::DELETE, &at("/workflows/mine"), None, 204).await;
    }
}
