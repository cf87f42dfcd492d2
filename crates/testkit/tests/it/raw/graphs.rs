//! What a graph may not be or say, and where that is told.

use gateway_core::ErrorCode;
use serde_json::{Map, Value, json};

use super::{body, count_jobs, id, invalid, offline, picture, refused, taking, text, with_class, with_node};

#[tokio::test]
async fn broken_nodes_links_and_ends_are_refused_where_they_are() {
    let allowed = "EmptyImage,SaveImage,ImageInvert,ImageBatch,CLIPTextEncode,PreviewImage";
    let test = offline(taking().variable("RAW_NODES_ALLOWED", allowed)).await;
    let image = |link: Value| json!({"class_type": "ImageInvert", "inputs": {"image": link}});
    let mut endless = with_node("3", image(json!(["4", 0])));
    endless["4"] = image(json!(["3", 0]));
    let mut many_nodes = picture(1);
    let mut many_ends = picture(1);
    for at in 10..1_009 {
        many_nodes[at.to_string()] = many_nodes["1"].clone();
    }
    for at in 10..42 {
        many_ends[at.to_string()] = many_ends["2"].clone();
    }
    let links: Map<String, Value> = (0..20_000).map(|at| (format!("i{at}"), json!(["1", 0]))).collect();
    let only_previews = json!({"1": {"class_type": "PreviewImage", "inputs": {}}});
    let says = |text: &str| json!({"class_type": "CLIPTextEncode", "inputs": {"text": text}});
    for (what, graph, path) in [
        ("the editor's format", json!({"nodes": [{"id": 1}], "links": [], "version": 0.4}), "/workflow"),
        ("a list", json!([]), "/workflow"),
        ("nothing", Value::Null, "/workflow"),
        ("no node", json!({}), "/workflow"),
        ("no class", with_node("3", json!({"inputs": {}})), "/workflow/3/class_type"),
        ("a number for a class", with_node("3", json!({"class_type": 7, "inputs": {}})), "/workflow/3/class_type"),
        ("no inputs", with_node("3", json!({"class_type": "ImageInvert"})), "/workflow/3"),
        ("a link to nothing", with_node("3", image(json!(["9", 0]))), "/workflow/3/inputs/image"),
        ("a link to itself", with_node("3", image(json!(["3", 0]))), "/workflow/3/inputs/image"),
        ("an output 99", with_node("3", image(json!(["1", 99]))), "/workflow/3/inputs/image"),
        ("a cycle", endless, "/workflow/4/inputs/image"),
        ("1,001 nodes", many_nodes, "/workflow"),
        ("33 ends", many_ends, "/workflow"),
        ("20,000 links", with_node("3", json!({"class_type": "ImageBatch", "inputs": links})), "/workflow"),
        ("no end", json!({"1": picture(1)["1"]}), "/workflow"),
        ("nothing but previews", only_previews, "/workflow"),
        ("another folder", with_node("3", says("a door [output]")), "/workflow/3/inputs/text"),
        ("another folder", with_node("3", says("x[ Input ]")), "/workflow/3/inputs/text"),
        ("a content address", with_node("3", says("blake3:00")), "/workflow/3/inputs/text"),
        ("a program", with_node("3", says("model.ckpt")), "/workflow/3/inputs/text"),
        ("a long text", with_node("3", says(&"x".repeat(70_000))), "/workflow/3/inputs/text"),
    ] {
        invalid(&test.post("/jobs", &body(&graph)).await, &[path], what);
    }
    for class in ["", "__proto__"] {
        let answer = test.post("/jobs", &body(&with_class(class))).await;
        refused(&answer, ErrorCode::ValidationError);
        assert!(answer.fault_paths().iter().all(|path| path == "/workflow/3/class_type"), "{}", answer.json());
    }
    let export = test.post("/jobs", &body(&json!({"nodes": [], "links": []}))).await;
    assert!(text(&export.json(), "/detail").contains("Export (API)"), "{}", export.json());
    let large = with_node("3", says(&"x".repeat(5 << 20)));
    refused(&test.post("/jobs", &body(&large)).await, ErrorCode::PayloadTooLarge);
    let listed = test.get("/workflows").await.json();
    assert_eq!((count_jobs(&test).await, listed["items"].as_array().map(Vec::len)), (0, Some(1)));
}

#[tokio::test]
async fn a_graph_of_a_thousand_nodes_is_taken() {
    let test = offline(taking()).await;
    let mut graph = picture(1);
    for at in 10..1_008 {
        graph[at.to_string()] = graph["1"].clone();
    }
    assert_eq!(graph.as_object().map(Map::len), Some(1_000));
    let answer = test.post("/jobs", &body(&graph)).await.expect(202);
    assert_eq!(test.job(&id(&answer)).await["progress"]["nodesTotal"], 1_000);
}

#[tokio::test]
async fn a_body_with_a_graph_has_the_fields_of_a_job_and_no_others() {
    let test = offline(taking()).await;
    for field in ["client_id", "extra_data", "number", "front", "prompt_id", "prompt"] {
        let mut body = body(&picture(1));
        body[field] = json!({"api_key_comfy_org": "x"});
        invalid(&test.post("/jobs", &body).await, &[&format!("/{field}")], field);
    }
    for (field, value, paths) in [
        ("workflowId", json!("tiny"), &["/workflow"][..]),
        ("workflowId", json!("raw_00000000000000000000000000000000"), &["/workflowId"]),
        ("inputs", json!({"color": 1}), &["/inputs"]),
        ("params", json!({"color": 1}), &["/params"]),
        ("priority", json!("root"), &["/priority"]),
    ] {
        let mut body = body(&picture(1));
        body[field] = value;
        invalid(&test.post("/jobs", &body).await, paths, field);
    }
    let batch = json!({"workflow": picture(1), "items": [{}, {}]});
    invalid(&test.post("/batches", &batch).await, &["/workflow"], "a batch");
    let mut all = body(&picture(1));
    all["priority"] = json!("high");
    all["metadata"] = json!({"order": 7});
    all["timeoutMs"] = json!(5_000);
    all["output"] = json!({"format": "webp"});
    let job = test.job(&id(&test.post("/jobs", &all).await.expect(202))).await;
    assert_eq!((&job["priority"], &job["metadata"]), (&json!("high"), &json!({"order": 7})), "{job}");
}

#[tokio::test]
async fn every_fault_of_the_body_and_of_the_graph_is_named_at_once() {
    let test = offline(taking()).await;
    let mut graph = with_node("3", json!({"class_type": "Nowhere", "inputs": {"image": ["77", 0]}}));
    graph["1"]["inputs"]["path"] = json!("../x");
    let mut body = body(&graph);
    body["priority"] = json!("root");
    let paths = ["/priority", "/workflow/1/inputs/path", "/workflow/3/class_type", "/workflow/3/inputs/image"];
    invalid(&test.post("/jobs", &body).await, &paths, "all");
}

#[tokio::test]
async fn what_a_graph_would_make_is_bounded_and_told_where_it_stands() {
    let test = offline(taking()).await;
    let mut graph = picture(1);
    graph["1"]["inputs"]["width"] = json!(100_000);
    invalid(&test.post("/jobs", &body(&graph)).await, &["/workflow/1/inputs/width"], "too wide");
}

#[tokio::test]
async fn a_text_stays_text_whatever_stands_in_it() {
    let test = offline(taking().variable("RAW_NODES_ALLOWED", "EmptyImage,SaveImage,CLIPTextEncode")).await;
    for text in [
        r#"x"}},"99":{"class_type":"LoadTrainingDataset","inputs":{}}"#,
        "{{secret}}",
        "{{text_3}}",
        "{{",
        "}}",
        "{{{{",
        "\\\"\n\r\t\u{1b}[31m",
        "[\"1\", 0]",
        "see https://example.com/ and ../../etc/passwd",
    ] {
        let node = json!({"class_type": "CLIPTextEncode", "inputs": {"text": text}});
        let answer = test.post("/jobs", &body(&with_node("3", node))).await.expect(202);
        let job = test.job(&id(&answer)).await;
        assert_eq!((&job["inputs"]["text_3"], &job["resolvedInputs"]["text_3"]), (&json!(text), &json!(text)));
    }
}
