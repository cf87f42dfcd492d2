//! Registration: every kind of fault, where it is reported, and that all are reported at once.

use serde_json::{Map, Value, json};

use super::*;
use crate::Fault;

fn graph() -> Value {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{prompt}}", "clip": ["1", 1]}, "_meta": {"title": "Prompt {{x"}},
        "3": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["2", 0], "steps": "{{steps|20}}"}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "gateway/x"}},
    })
}

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "prompt": {"type": "string"},
        "steps": {"type": "integer", "minimum": 1, "maximum": 150},
    }, "required": ["prompt"]})
}

fn compile_with(graph: &Value, schema: &Value, outputs: &[&str]) -> Result<Workflow, Vec<Fault>> {
    let outputs: Vec<String> = outputs.iter().map(|id| (*id).to_owned()).collect();
    let source = WorkflowSource { graph, input_schema: Some(schema), outputs: &outputs };
    Workflow::compile(source, None)
}

fn faults(graph: &Value, schema: &Value) -> Vec<(String, String)> {
    let faults = compile_with(graph, schema, &[]).err().unwrap_or_default();
    faults.into_iter().map(|fault| (fault.path, fault.message)).collect()
}

fn assert_fault(found: &[(String, String)], path: &str, part: &str) {
    assert!(
        found.iter().any(|(at, message)| at == path && message.contains(part)),
        "no fault at {path} with {part:?} in {found:#?}"
    );
}

fn catalog() -> NodeCatalog {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workflow/object_info_core.json"));
    NodeCatalog::parse(&serde_json::from_str::<Value>(text).unwrap()["object_info"])
}

#[test]
fn a_sound_workflow_compiles_and_tells_about_its_nodes() {
    let workflow = compile_with(&graph(), &schema(), &[]).unwrap();
    assert_eq!(workflow.node_count(), 4);
    assert_eq!(workflow.output_nodes(), ["4"]);
    assert_eq!(workflow.node_title("2"), Some("Prompt {{x"));
    assert_eq!(workflow.node_title("3"), Some("KSampler"));
    assert_eq!(workflow.class_type("3"), Some("KSampler"));
    assert_eq!((workflow.class_type("9"), workflow.node_title("9")), (None, None));
    assert_eq!(workflow.placeholders("3", "steps"), ["steps"]);
    assert!(workflow.placeholders("3", "model").is_empty());
    assert_eq!(workflow.input_schema(), &schema());
}

#[test]
fn a_workflow_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Workflow>();
    shared::<NodeCatalog>();
}

#[test]
fn what_is_no_graph_has_one_fault_that_helps() {
    let mut large = Map::new();
    for at in 0..1001 {
        large.insert(at.to_string(), json!({"class_type": "SaveImage", "inputs": {}}));
    }
    let empty = json!({"type": "object"});
    for (value, part) in [
        (json!({"nodes": [], "links": []}), "Export (API)"),
        (json!({"nodes": [{"id": 1}], "version": 0.4}), "Export (API)"),
        (json!([]), "must be an object"),
        (json!("x"), "must be an object"),
        (json!(null), "must be an object"),
        (json!({}), "has no nodes"),
        (Value::Object(large), "the limit is 1000"),
    ] {
        let found = faults(&value, &empty);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_fault(&found, "/workflow", part);
    }
    assert!(!looks_like_ui_export(&graph()) && !looks_like_ui_export(&json!(null)));
}

#[test]
fn every_fault_of_a_node_is_named_with_its_place() {
    let long = "x".repeat(65);
    let table = [
        ("/5", json!(7), "/workflow/5", "must be an object"),
        ("/5", json!({"inputs": {}}), "/workflow/5/class_type", "is missing"),
        ("/5", json!({"class_type": "", "inputs": {}}), "/workflow/5/class_type", "is empty"),
        ("/5", json!({"class_type": 7, "inputs": {}}), "/workflow/5/class_type", "must be a string"),
        ("/5", json!({"class_type": "__proto__", "inputs": {}}), "/workflow/5/class_type", "no name of a node class"),
        ("/5", json!({"class_type": "constructor", "inputs": {}}), "/workflow/5/class_type", "no name of a node class"),
        ("/5", json!({"class_type": "{{x}}", "inputs": {}}), "/workflow/5/class_type", "placeholder"),
        ("/5", json!({"class_type": "LoadTrainingDataset", "inputs": {}}), "/workflow/5/class_type", "is not allowed"),
        ("/5", json!({"class_type": "X"}), "/workflow/5", "has no `inputs`"),
        ("/5", json!({"class_type": "X", "inputs": null}), "/workflow/5/inputs", "must be an object"),
        ("/5", json!({"class_type": "X", "inputs": []}), "/workflow/5/inputs", "must be an object"),
        ("/5", json!({"class_type": "X", "inputs": {"a": "b\0"}}), "/workflow/5", "NUL"),
        ("/", json!({"class_type": "X", "inputs": {}}), "/workflow/", "id is empty"),
        (&format!("/{long}"), json!({"class_type": "X", "inputs": {}}), &format!("/workflow/{long}"), "longer than 64"),
        ("/2/inputs/text", json!("{{prompt}} {{"), "/workflow/2/inputs/text", "without a closing"),
        ("/2/inputs/text", json!("{{a b}}"), "/workflow/2/inputs/text", "malformed placeholder"),
        ("/2/inputs/text", json!({"deep": ["{{}}"]}), "/workflow/2/inputs/text", "without a name"),
        (
            "/2/inputs/text",
            json!("{{prompt}}{{other}}"),
            "/workflow/2/inputs/text",
            "`other` is not in the inputSchema",
        ),
        ("/2/inputs/more", json!("{{steps|21}}"), "/workflow/3/inputs/steps", "another default"),
        ("/3/inputs/steps", json!("{{steps|0}}"), "/workflow/3/inputs/steps", "must be between 1 and 150"),
        ("/3/inputs/steps", json!("{{steps|\"\\u0000\"}}"), "/workflow/3/inputs/steps", "NUL"),
        ("/4/inputs/filename_prefix", json!("../x"), "/workflow/4/inputs/filename_prefix", "`..`"),
        ("/4/inputs/filename_prefix", json!("/x"), "/workflow/4/inputs/filename_prefix", "absolute"),
        ("/4/inputs/filename_prefix", json!("a\\x"), "/workflow/4/inputs/filename_prefix", "backslash"),
        (
            "/4/inputs/filename_prefix",
            json!("x{{prompt}}"),
            "/workflow/4/inputs/filename_prefix",
            "`pattern` or `enum`",
        ),
    ];
    for (pointer, value, path, part) in table {
        let mut graph = graph();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        graph.pointer_mut(parent).unwrap()[key] = value;
        assert_fault(&faults(&graph, &schema()), path, part);
    }
}

#[test]
fn every_fault_of_a_link_is_named_with_its_place() {
    let table = [
        (json!(["9", 0]), "links to node `9`, which does not exist"),
        (json!(["3", 0]), "links the node to itself"),
        (json!(["1", -1]), "must be a link"),
        (json!(["1", 65]), "the limit is 64"),
        (json!(["1", 0.5]), "must be a link"),
        (json!(["1", true]), "must be a link"),
        (json!(["1", "{{steps}}"]), "must be a link"),
        (json!(["{{steps}}", 0]), "which does not exist"),
        (json!([1, 0]), "must be a link"),
        (json!(["1"]), "must be a link"),
        (json!([]), "must be a link"),
        (json!({"__value__": ["1", 0]}), "would be taken for a link"),
        (json!(["4", 0]), "closes a cycle"),
    ];
    for (link, part) in table {
        let mut graph = graph();
        graph["3"]["inputs"]["model"] = link.clone();
        let found = faults(&graph, &schema());
        let place = if part == "closes a cycle" { "/workflow/4/inputs/images" } else { "/workflow/3/inputs/model" };
        assert_fault(&found, place, part);
    }
}

#[test]
fn with_a_catalog_an_output_that_a_node_lacks_is_a_fault() {
    let mut graph = graph();
    graph["3"]["inputs"]["model"] = json!(["1", 3]);
    let source = WorkflowSource { graph: &graph, input_schema: Some(&schema()), outputs: &[] };
    let found = Workflow::compile(source, Some(&catalog())).unwrap_err();
    assert_eq!(found[0].path, "/workflow/3/inputs/model");
    assert!(found[0].message.contains("which has 3 outputs"), "{found:?}");
}

#[test]
fn cycles_are_found_wherever_they_are_and_long_chains_too() {
    let mut nodes = Map::new();
    for at in 0..600 {
        let inputs = if at == 0 { json!({}) } else { json!({"images": [(at - 1).to_string(), 0]}) };
        nodes.insert(at.to_string(), json!({"class_type": "SaveImage", "inputs": inputs}));
    }
    assert_fault(
        &faults(&Value::Object(nodes.clone()), &json!({"type": "object"})),
        "/workflow",
        "a chain of 600 nodes",
    );
    nodes["300"]["inputs"]["back"] = json!(["500", 0]);
    let found = faults(&Value::Object(nodes), &json!({"type": "object"}));
    assert!(found.iter().any(|(_, message)| message.contains("closes a cycle")), "{found:?}");
}

#[test]
fn too_many_links_are_refused() {
    let links: Map<String, Value> = (0..10_001).map(|at| (format!("in{at}"), json!(["1", 0]))).collect();
    let graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {}},
        "2": {"class_type": "SaveImage", "inputs": links},
    });
    assert_fault(&faults(&graph, &json!({"type": "object"})), "/workflow", "has 10001 links; the limit is 10000");
}

#[test]
fn a_graph_needs_output_nodes_but_not_too_many() {
    let mut none = graph();
    none["4"]["class_type"] = json!("Nothing");
    assert_fault(&faults(&none, &schema()), "/workflow", "has no output node");
    assert_eq!(compile_with(&none, &schema(), &["4"]).unwrap().output_nodes(), ["4"]);
    for class in ["VHS_VideoCombine", "ShowText", "MyExporter", "websocketSEND", "DisplayAny"] {
        let mut graph = graph();
        graph["4"]["class_type"] = json!(class);
        assert!(compile_with(&graph, &schema(), &[]).is_ok(), "{class}");
    }
    let mut previews = graph();
    previews["4"]["class_type"] = json!("PreviewImage");
    assert_fault(&faults(&previews, &schema()), "/outputs", "it only previews");
    assert!(compile_with(&previews, &schema(), &["4"]).is_ok(), "named, they count");
    let mut inner = graph();
    inner["3"]["class_type"] = json!("SaveAndPass");
    assert_eq!(compile_with(&inner, &schema(), &[]).unwrap().output_nodes(), ["4"]);
    let mut many = graph();
    for at in 10..42 {
        many[at.to_string()] = many["4"].clone();
    }
    assert_fault(&faults(&many, &schema()), "/workflow", "has 33 output nodes");
}

#[test]
fn declared_outputs_must_be_nodes_that_run_for_their_own_sake() {
    let found = compile_with(&graph(), &schema(), &["4", "9", "4"]).unwrap_err();
    let paths: Vec<&str> = found.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["/outputs/1", "/outputs/2"]);
    let outputs = ["3".to_owned()];
    let source = WorkflowSource { graph: &graph(), input_schema: Some(&schema()), outputs: &outputs };
    let found = Workflow::compile(source, Some(&catalog())).unwrap_err();
    assert!(found[0].message.contains("no output node"), "{found:?}");
}

#[test]
fn what_is_declared_and_what_only_previews_is_known() {
    let mut graph = graph();
    graph["5"] = json!({"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}});
    let plain = compile_with(&graph, &schema(), &[]).unwrap();
    assert!(plain.is_preview("5") && !plain.is_preview("4") && !plain.is_declared("5"));
    let declared = compile_with(&graph, &schema(), &["4", "5"]).unwrap();
    assert!(declared.is_declared("5") && declared.is_declared("4") && !declared.is_declared("9"));
}

#[test]
fn every_fault_of_a_schema_is_named_with_its_place() {
    let table = [
        (json!([]), "/inputSchema", "must be a JSON Schema object"),
        (json!({"type": "array"}), "/inputSchema/type", "must be \"object\""),
        (json!({}), "/inputSchema/type", "must be \"object\""),
        (json!({"type": "object", "$schema": "https://example.com/own"}), "/inputSchema/$schema", "must be draft"),
        (json!({"type": "object", "required": "x"}), "/inputSchema/required", "is no valid JSON Schema"),
        (json!({"type": "object", "required": ["x"]}), "/inputSchema/required", "`x`, which is no property"),
        (
            json!({"type": "object", "properties": {"steps": {"type": "int"}}}),
            "/inputSchema/properties/steps/type",
            "is no valid JSON Schema",
        ),
        (
            json!({"type": "object", "properties": {"a": {"$ref": "https://example.com/x"}}}),
            "/inputSchema/properties/a",
            "refers to",
        ),
        (
            json!({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}),
            "/inputSchema/properties/a",
            "refers to",
        ),
        (json!({"type": "object", "properties": {"a": {"$ref": "#"}}}), "/inputSchema/properties/a", "refers to"),
        (
            json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}),
            "/inputSchema/properties/a/not",
            "in a circle",
        ),
        (
            json!({"type": "object", "properties": {"a": {"$dynamicRef": "#x"}}}),
            "/inputSchema/properties/a",
            "not supported",
        ),
        (json!({"type": "object", "properties": {"a": {"$id": "http://x/"}}}), "/inputSchema/properties/a", "`$id`"),
        (json!({"type": "object", "title": "a\0"}), "/inputSchema", "NUL"),
    ];
    for (schema, path, part) in table {
        assert_fault(&faults(&graph(), &schema), path, part);
    }
}

#[test]
fn a_pattern_that_does_not_compile_is_a_fault() {
    let mut schema = schema();
    schema["properties"]["prompt"]["pattern"] = json!("(");
    let found = faults(&graph(), &schema);
    assert!(found.iter().any(|(path, _)| path.starts_with("/inputSchema/properties/prompt/pattern")), "{found:?}");
}

#[test]
fn placeholders_and_properties_must_match() {
    let mut schema = schema();
    schema["properties"]["unused"] = json!({"type": "string"});
    schema["properties"]["workflowId"] = json!({"type": "string"});
    let found = faults(&graph(), &schema);
    assert_eq!(found.len(), 2);
    assert_fault(&found, "/inputSchema/properties/unused", "no placeholder in the workflow uses `unused`");
}

#[test]
fn a_default_must_keep_its_own_rule() {
    let mut bad = schema();
    bad["properties"]["steps"]["default"] = json!(500);
    assert_fault(&faults(&graph(), &bad), "/inputSchema/properties/steps/default", "must be between 1 and 150");
    let mut reference = schema();
    reference["$defs"] = json!({"count": {"type": "integer", "minimum": 1, "maximum": 9}});
    reference["properties"]["steps"] = json!({"$ref": "#/$defs/count", "default": 12});
    assert_fault(&faults(&graph(), &reference), "/inputSchema/properties/steps/default", "must be between 1 and 9");
    reference["properties"]["steps"]["default"] = json!(3);
    assert_eq!(faults(&graph(), &reference), vec![]);
}

#[test]
fn prefix_placeholders_are_fine_where_the_schema_bounds_them() {
    for bound in
        [json!({"type": "string", "pattern": "^[a-z]+$"}), json!({"enum": ["a", "b"]}), json!({"type": "integer"})]
    {
        let mut graph = graph();
        graph["4"]["inputs"]["filename_prefix"] = json!("gateway/{{name}}");
        let mut schema = schema();
        schema["properties"]["name"] = bound.clone();
        assert_eq!(faults(&graph, &schema), vec![], "{bound}");
    }
}

#[test]
fn objects_have_no_place_in_core_nodes_and_lists_none_in_texts() {
    let mut graph = graph();
    graph["3"]["inputs"]["steps"] = json!("{{options}}");
    graph["2"]["inputs"]["text"] = json!("a {{prompt}}");
    let schema = json!({"type": "object", "properties": {"options": {"type": "object"}, "prompt": {"type": "array"}}});
    let found = faults(&graph, &schema);
    assert_fault(&found, "/workflow/3/inputs/steps", "which no input of KSampler takes");
    assert_fault(&found, "/workflow/2/inputs/text", "stands inside a text");
}

#[test]
fn what_is_nested_too_deep_is_refused_before_it_is_walked() {
    let mut deep = json!("x");
    for _ in 0..70 {
        deep = json!([deep]);
    }
    let mut nested = graph();
    nested["2"]["inputs"]["text"] = json!({"a": deep});
    assert_fault(&faults(&nested, &schema()), "/workflow", "deeper than 64");
    assert_fault(&faults(&graph(), &json!({"type": "object", "x": deep})), "/inputSchema", "deeper than 64");
}

#[test]
fn all_faults_come_at_once_in_the_order_of_their_paths() {
    let mut bad = graph();
    bad["1"]["class_type"] = json!("");
    bad["2"]["inputs"]["clip"] = json!(["99", 0]);
    bad["4"]["inputs"]["filename_prefix"] = json!("/etc");
    let mut schema = schema();
    schema["properties"]["unused"] = json!({"type": "string"});
    let found = compile_with(&bad, &schema, &["77"]).unwrap_err();
    let paths: Vec<&str> = found.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/inputSchema/properties/unused",
            "/outputs/0",
            "/workflow/1/class_type",
            "/workflow/2/inputs/clip",
            "/workflow/4/inputs/filename_prefix",
        ]
    );
}

#[test]
fn more_placeholders_or_properties_than_any_workflow_has_are_refused_before_they_are_compared() {
    let count = 200_000;
    let texts: Map<String, Value> = (0..count).map(|at| (format!("t{at}"), json!(format!("{{{{p{at}}}}}")))).collect();
    let mut many = graph();
    many["2"]["inputs"] = Value::Object(texts);
    assert_fault(&faults(&many, &schema()), "/workflow", "has 200001 placeholders; the limit is 2000");
    let properties: Map<String, Value> = (0..count).map(|at| (format!("p{at}"), json!({"type": "string"}))).collect();
    let wide = json!({"type": "object", "properties": properties});
    assert_fault(&faults(&graph(), &wide), "/inputSchema/properties", "has 200000 properties; the limit is 1000");
}
