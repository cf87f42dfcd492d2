//! What a workflow may not be registered with; nothing of it is stored.

use gateway_core::ErrorCode;
use gateway_testkit::{TestGateway, until};
use serde_json::{Map, Value, json};

use super::support::{invalid, offline, problem};

const LOADER: &str = "CheckpointLoaderSimple";

/// A sound graph of a picture and a node that saves it.
fn graph() -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    })
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut graph = graph();
    *graph.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
    graph
}

fn with_node(id: &str, node: Value) -> Value {
    let mut graph = graph();
    graph[id] = node;
    graph
}

async fn refused(test: &TestGateway, graph: Value, paths: &[&str]) -> Value {
    let body = json!({"id": "bad", "workflow": graph});
    let answer = test.post("/workflows", &body).await;
    let body = invalid(&answer, paths);
    problem(&test.get("/workflows/bad").await, ErrorCode::WorkflowNotFound);
    body
}

#[tokio::test]
async fn a_graph_of_comfyuis_editor_is_refused_with_the_way_to_export_the_right_one() {
    let test = offline().await;
    let export = json!({"last_node_id": 2, "nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "version": 0.4});
    let body = refused(&test, export.clone(), &["/workflow"]).await;
    assert!(body["detail"].as_str().unwrap().contains("Export (API)"), "{body}");
    let wrapped = json!({"id": "bad", "workflow": {"nodes": [], "links": {}}});
    invalid(&test.post("/workflows", &wrapped).await, &["/workflow"]);
    let answer = test.send(reqwest::Method::PUT, "/workflows/tiny", Some(&json!({"workflow": export}))).await;
    invalid(&answer, &["/workflow"]);
    assert_eq!(test.get("/workflows/tiny").await.json()["version"], 1);
}

#[tokio::test]
async fn broken_nodes_and_links_are_refused_where_they_are() {
    let test = offline().await;
    let missing = Value::Null;
    for (graph, path) in [
        (json!([]), "/workflow"),
        (json!("x"), "/workflow"),
        (missing.clone(), "/workflow"),
        (json!({}), "/workflow"),
        (with_node("3", json!(7)), "/workflow/3"),
        (with_node("3", json!({"class_type": "X"})), "/workflow/3"),
        (with_node("3", json!({"inputs": {}})), "/workflow/3/class_type"),
        (with_node("3", json!({"class_type": "", "inputs": {}})), "/workflow/3/class_type"),
        (with_node("3", json!({"class_type": 7, "inputs": {}})), "/workflow/3/class_type"),
        (with_node("3", json!({"class_type": "__proto__", "inputs": {}})), "/workflow/3/class_type"),
        (with_node("3", json!({"class_type": "LoadTrainingDataset", "inputs": {}})), "/workflow/3/class_type"),
        (with_node("3", json!({"class_type": "loadtrainingdataset", "inputs": {}})), "/workflow/3/class_type"),
        (with_node("3", json!({"class_type": "{{name}}", "inputs": {}})), "/workflow/3/class_type"),
        (with_node("3", json!({"class_type": "X", "inputs": []})), "/workflow/3/inputs"),
        (changed("/2/inputs/images", json!(["9", 0])), "/workflow/2/inputs/images"),
        (changed("/2/inputs/images", json!(["1", 99])), "/workflow/2/inputs/images"),
        (changed("/2/inputs/images", json!(["1", -1])), "/workflow/2/inputs/images"),
        (
            with_node("3", json!({"class_type": "ImageInvert", "inputs": {"image": ["3", 0]}})),
            "/workflow/3/inputs/image",
        ),
        (changed("/2/inputs/filename_prefix", json!("../../x")), "/workflow/2/inputs/filename_prefix"),
        (changed("/2/inputs/filename_prefix", json!("/abs")), "/workflow/2/inputs/filename_prefix"),
        (changed("/1/inputs/color", json!("{{")), "/workflow/1/inputs/color"),
        (changed("/1/inputs/color", json!("{{1a}}")), "/workflow/1/inputs/color"),
    ] {
        refused(&test, graph, &[path]).await;
    }
    let mut cycle = changed("/2/inputs/images", json!(["3", 0]));
    cycle["3"] = json!({"class_type": "ImageBatch", "inputs": {"image1": ["4", 0], "image2": ["1", 0]}});
    cycle["4"] = json!({"class_type": "ImageInvert", "inputs": {"image": ["3", 0]}});
    let answer = test.post("/workflows", &json!({"id": "bad", "workflow": cycle})).await;
    let body = problem(&answer, ErrorCode::ValidationError);
    assert!(body["detail"].as_str().unwrap().contains("cycle"), "{body}");
}

#[tokio::test]
async fn graphs_over_the_limits_and_without_an_end_are_refused() {
    let test = offline().await;
    let picture = graph()["1"].clone();
    let mut many = graph();
    for id in 10..1_009 {
        many[id.to_string()] = picture.clone();
    }
    refused(&test, many, &["/workflow"]).await;
    let linked: Map<String, Value> = (0..10_001).map(|n| (format!("i{n}"), json!(["1", 0]))).collect();
    refused(&test, with_node("3", json!({"class_type": "X", "inputs": linked})), &["/workflow"]).await;
    refused(&test, json!({"1": picture}), &["/workflow"]).await;
    let mut saves = graph();
    for id in 10..210 {
        saves[id.to_string()] = saves["2"].clone();
    }
    refused(&test, saves, &["/workflow"]).await;
}

#[tokio::test]
async fn every_fault_of_a_registration_is_told_at_once() {
    let test = offline().await;
    let body = json!({
        "id": "Not An Id",
        "name": 7,
        "description": "x".repeat(4_001),
        "workflow": {
            "1": {"class_type": "EmptyImage", "inputs": {"width": "{{width}}", "height": "{{nowhere}}"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["7", 0]}}
        },
        "inputSchema": {"type": "object", "properties": {"width": {"type": "integer"}, "unused": {"type": "string"}}},
        "outputs": ["2", "8"],
        "requirements": [],
        "colour": "red"
    });
    let answer = test.post("/workflows", &body).await;
    problem(&answer, ErrorCode::ValidationError);
    let mut paths = answer.fault_paths();
    paths.sort();
    assert_eq!(
        paths,
        [
            "/colour",
            "/description",
            "/id",
            "/inputSchema/properties/unused",
            "/name",
            "/outputs/1",
            "/requirements",
            "/workflow/1/inputs/height",
            "/workflow/2/inputs/images",
        ]
    );
    for (field, value, path) in [
        ("id", json!(""), "/id"),
        ("id", json!("a/b"), "/id"),
        ("id", json!("x".repeat(65)), "/id"),
        ("id", Value::Null, "/id"),
        ("name", json!("x".repeat(201)), "/name"),
        ("outputs", json!("2"), "/outputs"),
        ("outputs", json!([2]), "/outputs"),
        ("outputs", json!(["2", "2"]), "/outputs/1"),
        ("inputSchema", json!([]), "/inputSchema"),
        ("inputSchema", json!({"type": "string"}), "/inputSchema/type"),
    ] {
        let mut body = json!({"id": "ok", "workflow": graph()});
        body[field] = value;
        let answer = test.post("/workflows", &body).await;
        problem(&answer, ErrorCode::ValidationError);
        assert!(answer.fault_paths().iter().any(|each| each == path), "{field}: {:?}", answer.fault_paths());
    }
    for reference in ["https://example.com/schema", "#/properties/a", "file:///etc/passwd"] {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": reference}}});
        let workflow = changed("/1/inputs/color", json!("{{a}}"));
        let answer = test.post("/workflows", &json!({"id": "ok", "workflow": workflow, "inputSchema": schema})).await;
        problem(&answer, ErrorCode::ValidationError);
    }
    let free = changed("/2/inputs/filename_prefix", json!("{{prefix}}"));
    let schema = json!({"type": "object", "properties": {"prefix": {"type": "string"}}});
    let answer = test.post("/workflows", &json!({"id": "ok", "workflow": free, "inputSchema": schema})).await;
    invalid(&answer, &["/workflow/2/inputs/filename_prefix"]);
    assert_eq!(test.get("/workflows").await.json()["items"].as_array().unwrap().len(), 1);
}

fn askers() -> Value {
    json!({"workflow": {
        "1": {"class_type": LOADER, "inputs": {"ckpt_name": "{{checkpoint}}"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{prompt}}", "clip": ["1", 1]}},
        "3": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["2", 0], "conditioning_2": ["2", 0]}},
        "4": {"class_type": "EmptyImage", "inputs": {
            "width": "{{width}}", "height": 32, "batch_size": 1, "color": "{{color|3}}"
        }},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "x"}}
    }})
}

#[tokio::test]
async fn a_schema_is_derived_from_what_comfyui_says_and_from_names_where_it_is_away() {
    let test = TestGateway::start().await;
    test.register("asked", askers()).await;
    let asked = until("the node classes are known", || async {
        let answer = test.send(reqwest::Method::PUT, "/workflows/asked", Some(&askers())).await.expect(200);
        (!answer.json()["inputSchema"]["properties"]["checkpoint"]["enum"].is_null()).then(|| answer.json())
    })
    .await;
    let schema = &asked["inputSchema"];
    let properties = &schema["properties"];
    assert!(properties["checkpoint"]["enum"].as_array().unwrap().contains(&json!("v1-5-random.safetensors")));
    assert_eq!((&properties["width"]["type"], &properties["width"]["minimum"]), (&json!("integer"), &json!(1)));
    assert!(properties["width"]["maximum"].is_u64(), "{properties}");
    assert_eq!(properties["color"]["default"], 3);
    assert_eq!(schema["required"], json!(["checkpoint", "prompt"]), "{schema}");
    // By its name the node that combines would be an output, too; ComfyUI says that it is none.
    assert_eq!(asked["outputs"], json!(["5"]));
    let body = json!({"workflowId": "asked", "inputs": {"prompt": "a", "checkpoint": "nope.safetensors"}});
    invalid(&test.post("/jobs", &body).await, &["/inputs/checkpoint"]);
    let job = test.run("asked", json!({"prompt": "a", "checkpoint": "v1-5-random.safetensors", "width": 16})).await;
    assert_eq!((&job["status"], &job["outputs"][0]["nodeId"]), (&json!("succeeded"), &json!("5")), "{job}");

    let away = offline().await;
    away.register("asked", askers()).await;
    let schema = away.get("/workflows/asked").await.json()["inputSchema"].clone();
    let properties = &schema["properties"];
    assert!(properties["checkpoint"]["enum"].is_null());
    assert_eq!((&properties["width"]["type"], &properties["prompt"]["type"]), (&json!("integer"), &json!("string")));
    assert_eq!(properties["color"]["default"], 3);
    let body = json!({"workflowId": "asked", "inputs": {"prompt": "a", "checkpoint": "x.safetensors", "width": 16}});
    let _accepted = away.post("/jobs", &body).await.expect(202);
}
