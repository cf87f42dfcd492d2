use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{MAX_CHAIN, MAX_NODES, PreparedPrompt, PromptFault, PromptFaultKind};

fn graph(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn refuse(value: Value) -> Vec<PromptFault> {
    PreparedPrompt::prepare(graph(value), None).unwrap_err()
}

fn kinds(faults: &[PromptFault]) -> Vec<&PromptFaultKind> {
    faults.iter().map(|fault| &fault.kind).collect()
}

fn chain(length: usize) -> Map<String, Value> {
    let node = |index: usize| {
        let inputs = if index == 0 { json!({}) } else { json!({"image": [(index - 1).to_string(), 0]}) };
        (index.to_string(), json!({"class_type": "ImageInvert", "inputs": inputs}))
    };
    (0..length).map(node).collect()
}

#[test]
fn a_sound_graph_is_kept_as_it_is_with_exact_seeds_and_order() {
    let sound = graph(json!({
        "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}, "_meta": {"title": "t"}},
        "3": {"class_type": "KSampler", "inputs": {"seed": 18_446_744_073_709_551_615_u64, "list": {"__value__": [1, 2, 3]}}},
    }));
    let prepared = PreparedPrompt::prepare(sound.clone(), None).unwrap();
    assert_eq!(prepared.graph(), &sound);
    assert_eq!(serde_json::to_string(prepared.graph()).unwrap(), serde_json::to_string(&sound).unwrap());
    assert!(prepared.dropped_nodes().is_empty());
}

#[test]
fn shapes_that_kill_a_server_are_refused_with_the_node_named() {
    let faults = refuse(json!({
        "1": null, "2": "text", "3": [],
        "4": {"inputs": {}}, "5": {"class_type": 7, "inputs": {}}, "6": {"class_type": "", "inputs": {}},
        "7": {"class_type": "A"}, "8": {"class_type": "A", "inputs": null}, "9": {"class_type": "A", "inputs": []},
    }));
    let named: Vec<&str> = faults.iter().filter_map(|fault| fault.node_id.as_deref()).collect();
    assert_eq!(named, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    use PromptFaultKind::{MissingClassType, MissingInputs, NotAnObject};
    assert_eq!(
        kinds(&faults),
        [
            &NotAnObject,
            &NotAnObject,
            &NotAnObject,
            &MissingClassType,
            &MissingClassType,
            &MissingClassType,
            &MissingInputs,
            &MissingInputs,
            &MissingInputs
        ]
    );
    assert_eq!(kinds(&refuse(json!({}))), [&PromptFaultKind::Empty]);
}

#[test]
fn unreachable_nodes_of_a_wrong_shape_are_refused_even_with_known_outputs() {
    let outputs = ["1".to_owned()];
    let wrong = graph(json!({"1": {"class_type": "A", "inputs": {}}, "2": {"class_type": "A"}}));
    assert_eq!(kinds(&PreparedPrompt::prepare(wrong, Some(&outputs)).unwrap_err()), [&PromptFaultKind::MissingInputs]);
}

#[test]
fn arrays_that_are_no_links_and_links_to_nowhere_are_refused() {
    for bad in [
        json!([]),
        json!(["1"]),
        json!([1, 0]),
        json!(["1", -1]),
        json!(["1", 0.5]),
        json!(["1", "0"]),
        json!(["1", 0, 0]),
    ] {
        let faults =
            refuse(json!({"1": {"class_type": "A", "inputs": {}}, "2": {"class_type": "B", "inputs": {"x": bad}}}));
        assert_eq!(kinds(&faults), [&PromptFaultKind::BadLink], "{bad}");
        assert_eq!((faults[0].node_id.as_deref(), faults[0].input.as_deref()), (Some("2"), Some("x")));
    }
    let faults = refuse(json!({"2": {"class_type": "B", "inputs": {"x": ["99", 0]}}}));
    assert_eq!(faults[0].to_string(), "node \"2\", input \"x\": it is linked to node \"99\", which does not exist");
}

#[test]
fn texts_with_nul_are_refused_wherever_they_hide() {
    for inputs in
        [json!({"a": "x\u{0}"}), json!({"a": {"b": ["\u{0}"]}}), json!({"a": {"\u{0}": 1}}), json!({"\u{0}": 1})]
    {
        let faults = refuse(json!({"1": {"class_type": "A", "inputs": inputs}}));
        assert!(kinds(&faults).contains(&&PromptFaultKind::NulInText), "{inputs}");
    }
    assert_eq!(kinds(&refuse(json!({"\u{0}": {"class_type": "A", "inputs": {}}}))), [&PromptFaultKind::BadNodeId]);
}

#[test]
fn values_nested_too_deep_are_refused() {
    let mut deep = Value::Null;
    for _ in 0..400 {
        deep = Value::Array(vec![deep]);
    }
    let faults = refuse(json!({"1": {"class_type": "A", "inputs": {"x": deep}}}));
    assert_eq!(kinds(&faults), [&PromptFaultKind::NestedTooDeep]);
}

#[test]
fn loops_are_refused_and_the_loop_is_shown() {
    let faults = refuse(json!({
        "a": {"class_type": "A", "inputs": {"x": ["c", 0]}},
        "b": {"class_type": "A", "inputs": {"x": ["a", 0]}},
        "c": {"class_type": "A", "inputs": {"x": ["b", 0], "y": ["free", 0]}},
        "free": {"class_type": "A", "inputs": {}},
        "behind": {"class_type": "A", "inputs": {"x": ["c", 0]}},
    }));
    let [PromptFault { kind: PromptFaultKind::Cycle { nodes }, .. }] = faults.as_slice() else { panic!("{faults:?}") };
    let mut sorted = nodes.clone();
    sorted.sort();
    assert_eq!(sorted, ["a", "b", "c"]);
    let own = refuse(json!({"1": {"class_type": "A", "inputs": {"x": ["1", 0]}}}));
    assert_eq!(own[0].kind, PromptFaultKind::Cycle { nodes: vec!["1".to_owned()] });
}

#[test]
fn chains_up_to_the_limit_pass_and_longer_ones_are_refused() {
    assert!(PreparedPrompt::prepare(chain(MAX_CHAIN), None).is_ok());
    let faults = PreparedPrompt::prepare(chain(3_000), None).unwrap_err();
    assert_eq!(kinds(&faults), [&PromptFaultKind::ChainTooLong { nodes: 3_000 }]);
    assert_eq!(faults[0].node_id.as_deref(), Some("2999"));
}

#[test]
fn graphs_with_too_many_nodes_are_refused() {
    let node = json!({"class_type": "A", "inputs": {}});
    let many: Map<String, Value> = (0..=MAX_NODES).map(|index| (index.to_string(), node.clone())).collect();
    let faults = PreparedPrompt::prepare(many, None).unwrap_err();
    assert_eq!(kinds(&faults), [&PromptFaultKind::TooManyNodes { nodes: MAX_NODES + 1 }]);
}

#[test]
fn with_known_outputs_only_what_feeds_them_is_sent() {
    let mut nodes = chain(3_000);
    nodes.insert("out".to_owned(), json!({"class_type": "SaveImage", "inputs": {"images": ["1", 0]}, "_meta": null}));
    nodes.insert("stray".to_owned(), json!({"class_type": "A", "inputs": {"x": ["nowhere", 0]}}));
    let prepared = PreparedPrompt::prepare(nodes, Some(&["out".to_owned()])).unwrap();
    let sent: Vec<&str> = prepared.graph().keys().map(String::as_str).collect();
    assert_eq!(sent, ["0", "1", "out"]);
    assert_eq!(prepared.dropped_nodes().len(), 2_999);
    assert!(prepared.graph()["out"].get("_meta").is_none(), "a _meta that is no object makes newer servers fail");
}

#[test]
fn outputs_that_do_not_exist_are_refused_instead_of_dropped() {
    let node = graph(json!({"1": {"class_type": "A", "inputs": {}}}));
    let missing = PreparedPrompt::prepare(node.clone(), Some(&["1".to_owned(), "7".to_owned()])).unwrap_err();
    assert_eq!(kinds(&missing), [&PromptFaultKind::OutputMissing]);
    assert_eq!(kinds(&PreparedPrompt::prepare(node, Some(&[])).unwrap_err()), [&PromptFaultKind::NoOutputs]);
}

proptest! {
    #[test]
    fn random_links_either_form_a_loop_or_are_accepted(edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..24)) {
        let mut nodes: Map<String, Value> =
            (0..12).map(|index| (index.to_string(), json!({"class_type": "A", "inputs": {}}))).collect();
        for (position, (from, to)) in edges.iter().enumerate() {
            nodes[&to.to_string()]["inputs"][format!("x{position}")] = json!([from.to_string(), 0]);
        }
        // Reachability by repeated squaring is slow and obvious, hence a fair judge.
        let mut reach = [[false; 12]; 12];
        for (from, to) in &edges {
            reach[*from][*to] = true;
        }
        for _ in 0..4 {
            for a in 0..12 { for b in 0..12 { for c in 0..12 {
                if reach[a][b] && reach[b][c] { reach[a][c] = true; }
            }}}
        }
        let loops = (0..12).any(|index| reach[index][index]);
        match PreparedPrompt::prepare(nodes, None) {
            Ok(prepared) => { prop_assert!(!loops); prop_assert_eq!(prepared.graph().len(), 12); }
            Err(faults) => {
                prop_assert!(loops);
                let [PromptFault { kind: PromptFaultKind::Cycle { nodes }, .. }] = faults.as_slice() else {
                    return Err(TestCaseError::fail("not a cycle"));
                };
                for (index, node) in nodes.iter().enumerate() {
                    let feeder = &nodes[(index + 1) % nodes.len()];
                    let edge = (feeder.parse().unwrap(), node.parse().unwrap());
                    prop_assert!(edges.contains(&edge));
                }
            }
        }
    }
}
