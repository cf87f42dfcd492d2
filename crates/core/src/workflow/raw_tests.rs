//! Graphs of callers: what they become, what is refused and where that is told, and that nothing of them is changed.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::render_tests::any_json;
use super::*;
use crate::Fault;
use crate::ids::{is_raw_workflow_id, is_workflow_id};

/// Allows every class of these tests.
fn policy() -> NodePolicy {
    let classes = ["CLIPTextEncode", "EmptyImage", "KSampler", "LoadImage", "PrimitiveString", "SaveImage", "Stacker"];
    NodePolicy::new(&classes.map(str::to_owned), &[], &[])
}

fn graph() -> Value {
    json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": {"uploadId": "u"}, "upload": "image"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a {{cat}}", "clip": ["9", 1]}, "_meta": {"title": "Secret"}},
        "3": {"class_type": "KSampler", "inputs": {"seed": 7, "cfg": 7.5, "sampler_name": "euler", "on": true, "none": null}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "../../x"}},
        "9": {"class_type": "Stacker", "inputs": {"lora": {"on": true, "weight": 1, "__value__": ["x", 2, []]}}},
    })
}

fn read(graph: &Value) -> (RawGraph, Vec<Fault>) {
    RawGraph::read(graph.clone(), &policy())
}

/// Every fault that a graph of a caller has, as it is told.
fn faults(graph: &Value) -> Vec<(String, String)> {
    let (raw, mut faults) = read(graph);
    match Workflow::compile(raw.source(), None) {
        Err(more) => faults.extend(raw.told(more)),
        Ok(workflow) => {
            let resolved = workflow.resolve(raw.inputs(), &Map::new(), &mut || 0);
            faults.extend(raw.told(resolved.err().unwrap_or_default()));
        }
    }
    Fault::in_order(faults).into_iter().map(|fault| (fault.path, fault.message)).collect()
}

/// The graph that would run.
fn rendered(graph: &Value) -> Value {
    let (raw, faults) = read(graph);
    assert_eq!(faults, []);
    let workflow = Workflow::compile(raw.source(), None).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let mut draws = 0;
    let resolved = workflow.resolve(raw.inputs(), &Map::new(), &mut || {
        draws += 1;
        draws
    });
    let resolved = workflow.name_files(&resolved.unwrap(), |_, _| "gateway/file.png".to_owned());
    assert_eq!(draws, 0, "nothing is drawn: the caller has said all");
    Value::Object(workflow.render(&resolved).unwrap())
}

#[test]
fn what_runs_is_what_was_sent_but_for_files_and_names_of_files() {
    let mut expected = graph();
    expected["1"]["inputs"]["image"] = json!("gateway/file.png");
    expected["2"].as_object_mut().unwrap().remove("_meta");
    expected["4"]["inputs"]["filename_prefix"] = json!("gateway");
    assert_eq!(rendered(&graph()), expected);
}

#[test]
fn what_is_kept_of_the_structure_holds_no_text_of_the_caller() {
    let (raw, _) = read(&graph());
    let kept = format!("{}{}", raw.graph(), Workflow::compile(raw.source(), None).unwrap().input_schema());
    for text in ["cat", "Secret", "euler", "uploadId", "../"] {
        assert!(!kept.contains(text), "{text}: {kept}");
    }
    assert_eq!(raw.inputs()["text_2"], "a {{cat}}");
    assert_eq!(raw.inputs()["image_1"], json!({"uploadId": "u"}));
}

#[test]
fn graphs_that_differ_in_values_alone_are_one_workflow_and_others_are_not() {
    let id = |graph: &Value| read(graph).0.id().to_owned();
    let first = id(&graph());
    assert!(is_raw_workflow_id(&first) && is_workflow_id(&first) && first.len() == 36, "{first}");
    for (pointer, value) in [
        ("/2/inputs/text", json!("{{other}}")),
        ("/3/inputs/seed", json!(8)),
        ("/1/inputs/image", json!({"url": "https://example.com/x.png"})),
        ("/2/_meta/title", json!("Other")),
        ("/4/inputs/filename_prefix", json!("y")),
    ] {
        let mut other = graph();
        *other.pointer_mut(pointer).unwrap() = value;
        assert_eq!(id(&other), first, "{pointer}");
    }
    for (pointer, value) in [
        ("/3/class_type", json!("Stacker")),
        ("/4/inputs/images", json!(["1", 1])),
        ("/3/inputs/on", json!(false)),
        ("/2/inputs", json!({})),
    ] {
        let mut other = graph();
        *other.pointer_mut(pointer).unwrap() = value;
        assert_ne!(id(&other), first, "{pointer}");
    }
}

#[test]
fn what_a_graph_may_not_say_is_told_where_it_stands() {
    let long = "x".repeat(65 * 1024);
    for (pointer, value, path, part) in [
        ("/3/class_type", json!("Unknown"), "/workflow/3/class_type", "RAW_NODES_ALLOWED"),
        ("/3/class_type", json!("LoadTrainingDataset"), "/workflow/3/class_type", "unpickles"),
        ("/3/class_type", json!("__proto__"), "/workflow/3/class_type", "no name of a node class"),
        ("/3/class_type", json!(""), "/workflow/3/class_type", "is empty"),
        ("/3/class_type", json!(7), "/workflow/3/class_type", "must be a string"),
        ("/3", json!({"inputs": {}}), "/workflow/3/class_type", "is missing"),
        ("/3", json!(7), "/workflow/3", "must be an object"),
        ("/1/inputs/image", json!("cat.png"), "/workflow/1/inputs/image", "must be a file"),
        ("/1/inputs/image", json!("x.png [output]"), "/workflow/1/inputs/image", "must be a file"),
        ("/1/inputs/image", json!({"path": "/etc/passwd"}), "/workflow/1/inputs/image", "must be a file"),
        ("/1/inputs/image", json!({"uploadId": ""}), "/workflow/1/inputs/image/uploadId", "not empty"),
        ("/1/inputs/image", json!(["9", 0]), "/workflow/1/inputs/image", "must not be a link"),
        ("/2/inputs/text", json!("a door [Temp]"), "/workflow/2/inputs/text", "one of ComfyUI's folders"),
        ("/2/inputs/text", json!(long), "/workflow/2/inputs/text", "at most 65536 bytes"),
        ("/2/inputs/clip", json!(["77", 0]), "/workflow/2/inputs/clip", "does not exist"),
        ("/2/inputs/clip", json!(["2", 0]), "/workflow/2/inputs/clip", "to itself"),
        ("/2/inputs/clip", json!(["9", 99]), "/workflow/2/inputs/clip", "the limit is 64"),
        ("/9/inputs/lora/weight", json!("x.pkl"), "/workflow/9/inputs/lora/weight", "can hold programs"),
        ("/9/inputs/lora/__value__", json!(["1", 0]), "/workflow/9/inputs/lora/weight", "taken for a link"),
        ("/3/inputs/path", json!("/etc/passwd"), "/workflow/3/inputs/path", "absolute path"),
        ("/4/class_type", json!("Stacker"), "/workflow", "no output node"),
    ] {
        let mut graph = graph();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        graph.pointer_mut(parent).unwrap()[key] = value;
        let found = faults(&graph);
        assert!(found.iter().any(|(at, told)| at == path && told.contains(part)), "{pointer} {part}: {found:#?}");
        assert!(found.iter().all(|(at, _)| at.starts_with("/workflow")), "{pointer}: {found:#?}");
    }
}

#[test]
fn what_is_no_graph_is_told_at_the_graph() {
    for (graph, part) in [
        (json!({"nodes": [{"id": 1}], "links": []}), "Export (API)"),
        (json!([]), "must be an object"),
        (json!("x"), "must be an object"),
        (json!(null), "must be an object"),
        (json!({}), "has no nodes"),
        (json!({"1": {"class_type": "SaveImage", "inputs": 7}}), "must be an object"),
    ] {
        let found = faults(&graph);
        assert!(found.iter().any(|(at, told)| at.starts_with("/workflow") && told.contains(part)), "{found:#?}");
    }
    let previews = json!({"1": {"class_type": "PreviewImage", "inputs": {}}});
    let policy = NodePolicy::new(&["PreviewImage".to_owned()], &[], &[]);
    let (raw, _) = RawGraph::read(previews, &policy);
    let told = raw.told(Workflow::compile(raw.source(), None).unwrap_err());
    assert_eq!(told.iter().map(|fault| fault.path.as_str()).collect::<Vec<_>>(), ["/workflow"]);
    assert!(told[0].message.contains("it only previews"), "{told:?}");
}

fn pictures(nodes: usize, inputs: &Value) -> Value {
    let mut graph = Map::new();
    for at in 1..nodes {
        graph.insert(at.to_string(), json!({"class_type": "EmptyImage", "inputs": inputs}));
    }
    graph.insert("0".to_owned(), json!({"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}));
    Value::Object(graph)
}

#[test]
fn a_thousand_nodes_are_taken_with_all_their_numbers_and_one_more_is_not() {
    let numbers = json!({"width": 8, "height": 8, "batch_size": 1, "color": 0});
    let graph = pictures(1_000, &numbers);
    assert_eq!(rendered(&graph), graph);
    assert_eq!(read(&graph).0.inputs().len(), 1_000, "the rest stays in the graph");
    let found = faults(&pictures(1_001, &numbers));
    assert!(found.iter().any(|(_, told)| told.contains("the limit is 1000")), "{found:?}");
    let found = faults(&pictures(600, &json!({"a": "x", "b": "y"})));
    assert!(found.iter().any(|(_, told)| told.contains("has 1198 texts and files")), "{found:?}");
}

proptest! {
    #[test]
    fn whatever_is_accepted_runs_exactly_as_it_was_sent(text in any_json(), more in any_json(), name in "[a-z_. é]{1,8}") {
        let mut graph = json!({
            "1": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["2", 0]}},
            "2": {"class_type": "Stacker", "inputs": {}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
        });
        graph["2"]["inputs"][name] = more;
        let (raw, faults) = read(&graph);
        let compiled = Workflow::compile(raw.source(), None);
        if let (Ok(workflow), true) = (compiled, faults.is_empty())
            && let Ok(resolved) = workflow.resolve(raw.inputs(), &Map::new(), &mut || 0)
        {
            prop_assert_eq!(Value::Object(workflow.render(&resolved).unwrap()), graph);
        }
    }

    #[test]
    fn nothing_that_is_sent_makes_a_panic_or_a_fault_elsewhere(graph in any_json(), inputs in any_json()) {
        let wrapped = json!({"1": {"class_type": "SaveImage", "inputs": inputs}, "2": graph});
        for graph in [&graph, &wrapped] {
            for (path, _) in faults(graph) {
                prop_assert!(path.starts_with("/workflow"), "{}", path);
            }
        }
    }
}
