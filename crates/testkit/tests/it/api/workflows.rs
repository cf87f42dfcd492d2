//! The life of a workflow: versions, races, and the jobs that began with an older one.

use gateway_core::ErrorCode;
use gateway_testkit::{TestGateway, tiny_workflow, until};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{answer, fields, invalid, is_time, offline, problem, text, with};

/// A picture of this side.
fn sized(side: u32) -> Value {
    json!({"workflow": {
        "1": {"class_type": "EmptyImage", "inputs": {
            "width": side, "height": side, "batch_size": 1, "color": "{{color|5}}"
        }},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sized"}}
    }})
}

async fn put(test: &TestGateway, path: &str, body: &Value, tag: Option<&str>) -> gateway_testkit::Answer {
    let mut request = test.client().put(test.url(path)).json(body);
    if let Some(tag) = tag {
        request = request.header("if-match", tag);
    }
    answer(request).await
}

#[tokio::test]
async fn a_workflow_is_registered_read_replaced_and_removed() {
    let test = offline().await;
    let mut body = tiny_workflow();
    body["id"] = json!("mine");
    body["description"] = json!("A plain picture");
    body["requirements"] = json!({"models": ["none"]});
    body["outputs"] = json!(["2"]);
    let created = test.post("/workflows", &body).await.expect(201);
    assert_eq!((created.header("location"), created.header("etag")), ("/workflows/mine", "\"1\""));
    let view = created.json();
    let names = [
        "createdAt",
        "description",
        "id",
        "inputSchema",
        "name",
        "outputs",
        "requirements",
        "updatedAt",
        "version",
        "workflow",
    ];
    assert_eq!(fields(&view), names);
    for field in ["id", "name", "description", "workflow", "inputSchema", "outputs", "requirements"] {
        assert_eq!(view[field], body[field], "{field}");
    }
    assert_eq!(view["version"], 1);
    is_time(&view["createdAt"]);
    is_time(&view["updatedAt"]);

    let read = test.get("/workflows/mine").await.expect(200);
    assert_eq!((read.json(), read.header("etag")), (view, "\"1\""));
    for tag in ["\"1\"", "W/\"1\"", "\"0\", \"1\"", "*"] {
        let known = test.get_with("/workflows/mine", "if-none-match", tag).await.expect(304);
        assert!(known.bytes.is_empty());
        assert_eq!(known.header("etag"), "\"1\"");
    }
    let _changed = test.get_with("/workflows/mine", "if-none-match", "\"2\"").await.expect(200);

    let conflict = problem(&test.post("/workflows", &body).await, ErrorCode::Conflict);
    assert!(conflict["recommendation"].is_string());
    let list = test.get("/workflows").await.expect(200).json();
    assert_eq!((fields(&list), &list["nextCursor"]), (vec!["items", "nextCursor"], &Value::Null));
    let ids: Vec<&str> = list["items"].as_array().unwrap().iter().filter_map(|item| item["id"].as_str()).collect();
    assert_eq!(ids, ["mine", "tiny"]);
    assert_eq!(fields(&list["items"][0]), ["createdAt", "description", "id", "mayRun", "name", "updatedAt", "version"]);

    let replaced = put(&test, "/workflows/mine", &sized(16), Some("\"1\"")).await.expect(200);
    assert_eq!((replaced.header("etag"), &replaced.json()["version"]), ("\"2\"", &json!(2)));
    assert_eq!(replaced.json()["name"], "mine", "a replacement keeps nothing of what it replaces");
    let removed = test.send(Method::DELETE, "/workflows/mine", None).await.expect(204);
    assert!(removed.bytes.is_empty());
    for method in [Method::GET, Method::DELETE] {
        problem(&with(&test, method, "/workflows/mine", &[]).await, ErrorCode::WorkflowNotFound);
    }
    problem(&put(&test, "/workflows/mine", &sized(16), None).await, ErrorCode::WorkflowNotFound);
    problem(&test.post("/workflows/mine/validate", &json!({})).await, ErrorCode::WorkflowNotFound);
    let again = test.post("/workflows", &body).await.expect(201);
    assert_eq!(again.json()["version"], 3, "a version is never used twice");
}

#[tokio::test]
async fn of_two_who_replace_the_same_version_one_wins() {
    let test = offline().await;
    let (left, right) = (sized(16), sized(32));
    let (first, second) = tokio::join!(
        put(&test, "/workflows/tiny", &left, Some("\"1\"")),
        put(&test, "/workflows/tiny", &right, Some("\"1\"")),
    );
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let (winner, loser) = if first.status == 200 { (first, second) } else { (second, first) };
    let told = problem(&loser, ErrorCode::Conflict);
    assert!(told["detail"].as_str().unwrap().contains("version 2"), "{told}");
    assert_eq!(test.get("/workflows/tiny").await.json(), winner.json());

    for (tag, status) in
        [("\"1\"", 409), ("\"3\"", 409), ("\"1\", \"2\"", 200), ("*", 200), ("W/\"4\"", 200), ("5", 200)]
    {
        assert_eq!(put(&test, "/workflows/tiny", &left, Some(tag)).await.status, status, "{tag}");
    }
    problem(&put(&test, "/workflows/tiny", &left, Some("yesterday")).await, ErrorCode::BadRequest);
    let mut other = sized(16);
    other["id"] = json!("other");
    invalid(&put(&test, "/workflows/tiny", &other, None).await, &["/id"]);
    other["id"] = json!("tiny");
    assert_eq!(put(&test, "/workflows/tiny", &other, None).await.expect(200).json()["version"], 7);
}

#[tokio::test]
async fn a_job_keeps_the_version_it_began_with_and_outlives_its_workflow() {
    let test = TestGateway::start().await;
    test.register("sized", sized(16)).await;
    test.sim.crash().await;
    let old = test.submit("sized", json!({})).await;
    let _replaced = put(&test, "/workflows/sized", &sized(48), None).await.expect(200);
    let new = test.submit("sized", json!({})).await;
    let _removed = test.send(Method::DELETE, "/workflows/sized", None).await.expect(204);
    problem(&test.post("/jobs", &json!({"workflowId": "sized", "inputs": {}})).await, ErrorCode::WorkflowNotFound);
    test.sim.restart().await.unwrap();
    for (id, version, side) in [(&old, 1, 16), (&new, 2, 48)] {
        let job = test.wait_ended(id).await;
        assert_eq!((&job["status"], &job["workflowVersion"]), (&json!("succeeded"), &json!(version)), "{job}");
        assert_eq!(job["outputs"][0]["width"], side);
        let _picture = test.get(&text(&job, "/outputs/0/url")).await.expect(200);
        problem(&test.send(Method::POST, &format!("/jobs/{id}/retry"), None).await, ErrorCode::WorkflowNotFound);
    }
    let listed = test.get("/jobs?workflowId=sized").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "past jobs stay readable");
}

#[tokio::test]
async fn validation_renders_as_a_job_would_and_queues_nothing() {
    let test = offline().await;
    let body = json!({"inputs": {"color": 7}, "params": {"width": 32}});
    let validated = test.post("/workflows/tiny/validate", &body).await.expect(200).json();
    assert_eq!(fields(&validated), ["resolvedInputs", "valid", "workflow"]);
    assert_eq!(validated["valid"], true);
    let resolved = json!({"color": 7, "width": 32, "height": 64, "batch_size": 1});
    assert_eq!(validated["resolvedInputs"], resolved);
    let inputs = json!({"width": 32, "height": 64, "batch_size": 1, "color": 7});
    assert_eq!(validated["workflow"]["1"]["inputs"], inputs, "values keep their JSON types");
    for body in [json!({"inputs": null}), json!({"inputs": []}), json!({"inputs": {"color": 1}, "params": 7})] {
        let mut job = body.clone();
        job["workflowId"] = json!("tiny");
        let (validated, submitted) =
            (test.post("/workflows/tiny/validate", &body).await, test.post("/jobs", &job).await);
        problem(&submitted, ErrorCode::ValidationError);
        assert_eq!(validated.fault_paths(), submitted.fault_paths(), "{body}");
    }
    assert_eq!(test.get("/jobs").await.json()["items"], json!([]));
    assert_eq!(test.get("/health").await.json()["queue"]["depth"], 0);
}

#[tokio::test]
async fn a_replaced_workflow_is_used_by_the_very_next_job() {
    let test = offline().await;
    test.register("sized", sized(16)).await;
    for round in 2..6 {
        let _first = test.submit("sized", json!({})).await;
        let _replaced = put(&test, "/workflows/sized", &sized(16), None).await.expect(200);
        let id = test.submit("sized", json!({})).await;
        assert_eq!(test.job(&id).await["workflowVersion"], round);
    }
    let seen = until("both lists agree", || async {
        let capabilities = test.get("/capabilities").await.json();
        (capabilities["workflows"].as_array().unwrap().len() == 2).then_some(capabilities)
    })
    .await;
    assert_eq!(fields(&seen["workflows"][0]), ["description", "id", "inputSchema", "name"]);
}
