//! Rendering: types, texts, and that no value can change the structure of a graph.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn workflow(properties: Value, inputs: Value) -> Workflow {
    let graph = json!({
        "1": {"class_type": "Any", "inputs": inputs, "_meta": {"title": "{{untouched}}"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    });
    let schema = json!({"type": "object", "properties": properties});
    let source = WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] };
    Workflow::compile(source, None).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn render(workflow: &Workflow, values: Value) -> Value {
    Value::Object(workflow.render(values.as_object().unwrap()).unwrap_or_else(|faults| panic!("{faults:#?}")))
}

fn fault(workflow: &Workflow, values: Value) -> (String, String) {
    let fault = workflow.render(values.as_object().unwrap()).unwrap_err().remove(0);
    (fault.path, fault.message)
}

#[test]
fn a_whole_token_keeps_the_type_of_its_value() {
    let workflow = workflow(json!({"x": {}}), json!({"a": "{{x}}", "b": {"c": [1, "{{ x }}"]}}));
    for value in [json!(30), json!(7.0), json!(true), json!("s"), json!(null), json!(u64::MAX), json!(-1)] {
        let graph = render(&workflow, json!({"x": value}));
        assert_eq!(graph["1"]["inputs"], json!({"a": value, "b": {"c": [1, value]}}));
        assert_eq!(graph["1"]["_meta"]["title"], "{{untouched}}");
    }
}

#[test]
fn a_token_inside_a_text_is_inserted_as_text() {
    let workflow = workflow(json!({"x": {}}), json!({"a": "<{{x}}|{{x}}>"}));
    for (value, text) in
        [(json!(30), "30"), (json!(7.0), "7.0"), (json!(true), "true"), (json!("s\"\n"), "s\"\n"), (json!(null), "")]
    {
        assert_eq!(render(&workflow, json!({"x": value}))["1"]["inputs"]["a"], format!("<{text}|{text}>"));
    }
    let (path, message) = fault(&workflow, json!({"x": [1]}));
    assert_eq!(path, "/inputs/x");
    assert!(message.contains("an array"), "{message}");
}

#[test]
fn a_list_is_wrapped_and_only_where_the_schema_asks_for_one() {
    let listed = workflow(json!({"x": {"type": "array"}}), json!({"a": "{{x}}"}));
    assert_eq!(render(&listed, json!({"x": [1, "b"]}))["1"]["inputs"]["a"], json!({"__value__": [1, "b"]}));
    let open = workflow(json!({"x": {}}), json!({"a": "{{x}}"}));
    assert_eq!(fault(&open, json!({"x": [1]})).0, "/inputs/x");
    assert_eq!(fault(&open, json!({"x": {"a": 1}})).0, "/inputs/x");
}

#[test]
fn no_list_can_act_as_a_link_even_after_comfyui_unwraps_it() {
    let listed = workflow(json!({"x": {"type": "array"}}), json!({"a": "{{x}}"}));
    for link in [json!(["2", 0]), json!(["2", 0.0]), json!(["2", true])] {
        assert!(fault(&listed, json!({"x": link})).1.contains("taken for a link"));
    }
    let parts = workflow(json!({"x": {}, "y": {}}), json!({"a": {"__value__": ["{{x}}", "{{y}}"]}}));
    assert!(fault(&parts, json!({"x": "2", "y": 0})).1.contains("taken for a link"));
    let object = workflow(json!({"x": {"type": "object"}}), json!({"a": "{{x}}"}));
    let wrapped = json!({"x": {"__value__": ["2", 0]}});
    let faults = object.render(wrapped.as_object().unwrap()).unwrap_err();
    assert!(faults.iter().any(|fault| fault.message == "must not have a field `__value__`"), "{faults:?}");
    assert_eq!(render(&object, json!({"x": {"k": 1}}))["1"]["inputs"]["a"], json!({"k": 1}));
}

#[test]
fn missing_values_and_files_that_are_not_uploaded_are_faults() {
    let workflow = workflow(json!({"x": {"format": "image"}, "y": {}}), json!({"image": "{{x}}", "b": "{{y}}"}));
    let faults = workflow.render(json!({"x": {"url": "https://a/b"}}).as_object().unwrap()).unwrap_err();
    assert_eq!(faults[0].path, "/inputs/x");
    assert!(faults[0].message.contains("not uploaded"));
    assert_eq!(faults[1].path, "/inputs/y");
    assert_eq!(render(&workflow, json!({"x": "gw/abc.png", "y": 1}))["1"]["inputs"]["image"], "gw/abc.png");
}

#[test]
fn texts_that_look_like_json_or_templates_are_only_texts() {
    let workflow =
        workflow(json!({"x": {"type": "string"}, "y": {}}), json!({"a": "{{x}}", "b": "[{{x}}]", "c": "{{y}}"}));
    for text in [
        "x\"}},\"99\":{\"class_type\":\"LoadTrainingDataset\"",
        "{{y}}",
        "{{x}}",
        "{{",
        "}}",
        "{{{{",
        "[\"2\",0]",
        "\u{2028}\u{2029}",
        "👩‍👩‍👧‍👦",
        "\u{202e}abc",
        "\\u0041\\n",
    ] {
        let inputs = json!({"x": text, "y": "other"});
        let resolved = workflow.resolve(inputs.as_object().unwrap(), &Map::new(), &mut || 0).unwrap();
        let graph = Value::Object(workflow.render(&resolved).unwrap());
        let expected = json!({"a": text, "b": format!("[{text}]"), "c": "other"});
        assert_eq!(graph["1"]["inputs"], expected);
    }
}

/// Each node's id, class and links.
type Skeleton = Vec<(String, String, Vec<(String, Value)>)>;

fn skeleton(graph: &Map<String, Value>) -> Skeleton {
    graph
        .iter()
        .map(|(id, node)| {
            let inputs = node["inputs"].as_object().unwrap();
            let links = inputs.iter().filter(|(_, value)| value.is_array());
            let links = links.map(|(name, link)| (name.clone(), link.clone())).collect();
            (id.clone(), node["class_type"].to_string(), links)
        })
        .collect()
}

pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\"{}\\[\\]0-9:,_a-z|\u{2028}😀-]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|each| Value::Object(each.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_string_arrives_exactly_and_leaves_the_structure_alone(text in any::<String>(), times in 1_usize..50) {
        let text = text.repeat(times);
        let workflow = workflow(json!({"x": {"type": "string"}}), json!({"a": "{{x}}", "b": "<{{x}}>"}));
        let values = Map::from_iter([("x".to_owned(), Value::from(text.clone()))]);
        let graph = workflow.render(&values).unwrap();
        let other = workflow.render(&Map::from_iter([("x".to_owned(), Value::from("plain"))])).unwrap();
        prop_assert_eq!(skeleton(&graph), skeleton(&other));
        prop_assert_eq!(&graph["1"]["inputs"]["a"], &Value::from(text.clone()));
        prop_assert_eq!(&graph["1"]["inputs"]["b"], &Value::from(format!("<{text}>")));
        let read_again: Value = serde_json::from_str(&serde_json::to_string(&graph).unwrap()).unwrap();
        prop_assert_eq!(read_again, Value::Object(graph));
    }

    #[test]
    fn no_value_of_any_shape_makes_a_link_or_a_panic(value in any_json(), declared in 0_usize..4) {
        let schema = [json!({}), json!({"type": "array"}), json!({"type": ["object", "array", "string"]}), json!({"type": "integer"})];
        let workflow = workflow(json!({"x": schema[declared], "seed": {}}), json!({"a": "{{x}}", "b": {"c": "{{x}}"}, "s": "{{seed}}"}));
        let inputs = Map::from_iter([("x".to_owned(), value)]);
        let before = json!({"1": {"inputs": {}}, "2": {"inputs": {"images": ["1", 0]}}});
        if let Ok(resolved) = workflow.resolve(&inputs, &Map::new(), &mut || u64::MAX) {
            let graph = workflow.render(&resolved).unwrap();
            for id in ["1", "2"] {
                let links = |node: &Value| node["inputs"].as_object().unwrap().values().filter(|each| each.is_array()).count();
                prop_assert_eq!(links(&graph[id]), links(&before[id]));
            }
        }
    }

    #[test]
    fn no_template_text_makes_a_panic(text in "[{}|a-z0-9_\" \u{2028}é]{0,30}") {
        let graph = json!({"1": {"class_type": "SaveImage", "inputs": {"a": text}}});
        let source = WorkflowSource { graph: &graph, input_schema: None, outputs: &[] };
        let _ = Workflow::compile(source, None);
    }

    #[test]
    fn no_graph_and_no_schema_makes_a_panic(graph in any_json(), schema in any_json()) {
        let wrapped = json!({"1": {"class_type": "SaveImage", "inputs": graph}, "2": graph});
        for graph in [&graph, &wrapped] {
            let schema = json!({"type": "object", "properties": schema, "x": schema});
            let source = WorkflowSource { graph, input_schema: Some(&schema), outputs: &[] };
            let _ = Workflow::compile(source, None);
            let _ = check_sizes(wrapped.as_object().unwrap(), &SizeLimits { max_side: 1, max_batch: 1 }, &|_, _| String::new());
            let _ = NodeCatalog::parse(graph).check_graph(wrapped.as_object().unwrap(), &[]);
        }
    }
}
