//! Who may send graphs, which classes they may have, and that others see nothing of them.

use gateway_core::ErrorCode;
use gateway_testkit::{TestBuilder, tiny_workflow};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ADMIN, USER, body, count_jobs, guarded, id, invalid, key, offline, picture, prompts, refused, send_as, sent, start,
    taking, text, turned, with_class, with_node,
};

#[tokio::test]
async fn where_it_is_not_switched_on_nobody_may_send_a_graph() {
    let test = start(guarded(TestBuilder::default())).await;
    let raw = key(&test, "lab", json!({"role": "admin", "raw": true})).await;
    for key in [ADMIN, USER, &raw] {
        let detail = refused(&sent(&test, key, &picture(1)).await, ErrorCode::Forbidden);
        assert!(detail.contains("ALLOW_RAW_WORKFLOWS"), "{detail}");
    }
    assert_eq!(test.get("/capabilities").await.json()["features"]["rawWorkflows"], false);
    assert_eq!(count_jobs(&test).await, 0);
}

#[tokio::test]
async fn administrators_and_keys_with_the_right_may_send_graphs_and_nobody_else() {
    let test = offline(guarded(taking())).await;
    assert_eq!(test.get("/capabilities").await.json()["features"]["rawWorkflows"], true);
    let lab = key(&test, "lab", json!({"role": "user", "raw": true})).await;
    let plain = key(&test, "lab", json!({"role": "user"})).await;
    let bound = key(&test, "bound", json!({"role": "admin", "workflows": ["tiny"]})).await;
    let both = key(&test, "both", json!({"role": "user", "workflows": ["tiny"], "raw": true})).await;
    for may in [ADMIN, &lab, &both] {
        let _accepted = sent(&test, may, &picture(1)).await.expect(202);
    }
    for (may_not, graph) in [(USER, picture(1)), (USER, json!("no graph")), (&plain, picture(1)), (&bound, picture(1))]
    {
        let detail = refused(&sent(&test, may_not, &graph).await, ErrorCode::Forbidden);
        assert!(detail.contains("the right raw"), "{detail}");
    }
    assert_eq!(count_jobs(&test).await, 3);
}

#[tokio::test]
async fn a_graph_is_run_again_by_who_may_send_it_and_while_its_nodes_are_allowed() {
    let test = start(guarded(taking())).await;
    let lab = key(&test, "lab", json!({"role": "user", "raw": true})).await;
    let plain = key(&test, "lab", json!({"role": "user"})).await;
    test.register("turned", json!({ "workflow": turned() })).await;
    let graph = turned();
    let job = id(&sent(&test, &lab, &graph).await.expect(202));
    test.wait_status(&job, "succeeded").await;
    let path = format!("/jobs/{job}/retry");
    let detail = refused(&send_as(&test, &plain, Method::POST, &path, None).await, ErrorCode::Forbidden);
    assert!(detail.contains("the right raw"), "{detail}");
    let again = id(&send_as(&test, &lab, Method::POST, &path, None).await.expect(202));
    test.wait_status(&again, "succeeded").await;
    let _deleted = test.send(Method::DELETE, "/workflows/turned", None).await.expect(204);
    let answer = send_as(&test, &lab, Method::POST, &path, None).await;
    invalid(&answer, &["/workflow/3/class_type"], "a class that no workflow has any more");
    assert_eq!(prompts(&test), 2);
}

#[tokio::test]
async fn of_all_classes_those_pass_that_are_allowed_and_not_denied_and_only_for_who_may() {
    let allowed = ["EmptyImage", "SaveImage", "VAEDecode", "KSampler", "LoadTrainingDataset", "SRL Eval", "Nowhere"];
    let denied = ["ksampler", "ImageInvert"];
    let builder = guarded(taking())
        .variable("RAW_NODES_ALLOWED", allowed.join(", "))
        .variable("RAW_NODES_DENIED", denied.join(","));
    let test = offline(builder).await;
    let lab = key(&test, "lab", json!({"role": "user", "raw": true})).await;
    let info = test.client().get(format!("{}/object_info", test.sim.url())).send().await.expect("an answer");
    let info: Value = info.json().await.expect("JSON");
    let mut classes: Vec<&str> = info.as_object().expect("classes").keys().map(String::as_str).collect();
    assert!(classes.len() > 50, "{}", classes.len());
    classes.extend(["LoadTrainingDataset", "loadtrainingdataset", "SRL Eval", "Nowhere", "Elsewhere", "emptyimage"]);
    let mut passed = Vec::new();
    for class in classes {
        let graph = with_class(class);
        for key in [ADMIN, &lab] {
            let answer = sent(&test, key, &graph).await;
            if answer.status == 202 {
                passed.push(class);
            } else {
                invalid(&answer, &["/workflow/3/class_type"], class);
            }
        }
        refused(&sent(&test, USER, &graph).await, ErrorCode::Forbidden);
    }
    passed.sort_unstable();
    let twice = ["EmptyImage", "Nowhere", "SaveImage", "VAEDecode"].map(|class| [class, class]);
    assert_eq!(passed, twice.concat());
}

#[tokio::test]
async fn without_a_list_a_graph_has_the_classes_of_registered_workflows() {
    let test = offline(taking()).await;
    let graph = turned();
    invalid(&test.post("/jobs", &body(&graph)).await, &["/workflow/3/class_type"], "no workflow has it");
    test.register("turned", json!({ "workflow": graph })).await;
    let _accepted = test.post("/jobs", &body(&graph)).await.expect(202);
    let mut other = graph.clone();
    other["4"] = json!({"class_type": "ImageScale", "inputs": {"image": ["1", 0]}});
    invalid(&test.post("/jobs", &body(&other)).await, &["/workflow/4/class_type"], "no workflow has that");
    let _deleted = test.send(Method::DELETE, "/workflows/turned", None).await.expect(204);
    invalid(&test.post("/jobs", &body(&graph)).await, &["/workflow/3/class_type"], "none has it any more");
}

#[tokio::test]
async fn what_came_with_a_job_is_no_workflow_to_others_and_keeps_no_text() {
    let test = offline(guarded(taking()).variable("RAW_NODES_ALLOWED", "EmptyImage,SaveImage,CLIPTextEncode")).await;
    let node =
        json!({"class_type": "CLIPTextEncode", "inputs": {"text": "a secret fox"}, "_meta": {"title": "secret"}});
    let job = id(&test.post("/jobs", &body(&with_node("3", node))).await.expect(202));
    let workflow = text(&test.job(&job).await, "/workflowId");
    for path in ["/workflows", "/capabilities"] {
        let listed = test.get(path).await.expect(200);
        assert!(!String::from_utf8_lossy(&listed.bytes).contains("raw_"), "{path}");
    }
    let path = format!("/workflows/{workflow}");
    let kept = test.get(&path).await.expect(200);
    assert!(!String::from_utf8_lossy(&kept.bytes).contains("secret"), "{}", kept.json());
    refused(&send_as(&test, USER, Method::GET, &path, None).await, ErrorCode::WorkflowNotFound);
    for key in [ADMIN, USER] {
        let answer = send_as(&test, key, Method::POST, &format!("{path}/validate"), Some(&json!({"inputs": {}}))).await;
        refused(&answer, ErrorCode::WorkflowNotFound);
        let answer =
            send_as(&test, key, Method::POST, "/jobs", Some(&json!({"workflowId": workflow, "inputs": {}}))).await;
        invalid(&answer, &["/workflowId"], key);
    }
    let mut own = tiny_workflow();
    invalid(&test.send(Method::PUT, &path, Some(&own)).await, &["/id"], "replaced");
    own["id"] = json!("raw_mine");
    invalid(&test.post("/workflows", &own).await, &["/id"], "registered");
}
