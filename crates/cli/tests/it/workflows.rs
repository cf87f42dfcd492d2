//! `add-workflow` and `list-workflows`, with and without a running gateway.

use serde_json::{Value, json};

use crate::support::Place;

const GRAPH: &str = r#"{
    "1": {"class_type": "EmptyImage", "inputs": {"width": "{{width|64}}", "height": 64, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
}"#;
const SCHEMA: &str =
    r#"{"type": "object", "properties": {"width": {"type": "integer", "minimum": 16, "maximum": 128}}}"#;

fn listed(place: &Place) -> Vec<Value> {
    let answer = place.run(&["--json", "list-workflows"]).expect(0).json();
    answer["items"].as_array().unwrap().clone()
}

#[test]
fn without_a_gateway_workflows_go_straight_into_the_database() {
    let place = Place::new();
    place.write("plane.json", GRAPH);
    place.write("schema.json", SCHEMA);
    let empty = place.run(&["list-workflows"]).expect(0).out;
    assert!(empty.contains("no workflows are registered"), "{empty}");

    let arguments =
        ["add-workflow", "plane.json", "--schema", "schema.json", "--name", "Plane", "--description", "Flat."];
    let added = place.run(&arguments).expect(0).out;
    assert!(added.contains("registered plane version 1 (through the database)"), "{added}");
    assert!(added.contains("try it: comfyui-gateway submit plane --wait"), "{added}");
    place.run(&arguments).expect(1).says(&["the workflow plane exists already", "--replace"]);
    let replaced = place.run(&[&["--json"][..], &arguments, &["--replace"]].concat()).expect(0);
    assert_eq!(replaced.json(), json!({"id": "plane", "version": 2}));

    let items = listed(&place);
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(
        ["id", "name", "description", "version"].map(|name| items[0][name].clone()),
        [json!("plane"), json!("Plane"), json!("Flat."), json!(2)]
    );
    place.write("tinted.json", &GRAPH.replace("\"color\": 0", "\"color\": \"{{color}}\""));
    let added = place.run(&["add-workflow", "tinted.json"]).expect(0).out;
    assert!(added.contains("try it: comfyui-gateway submit tinted color=… --wait"), "{added}");
    let text = place.run(&["list-workflows"]).expect(0).out;
    assert!(text.contains("plane") && text.contains("v2") && text.contains("Plane - Flat."), "{text}");
}

#[test]
fn with_a_gateway_workflows_go_through_it_and_can_be_used_at_once() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    let _gateway = place.start_gateway();
    place.write("plane.json", GRAPH);
    let added = place.run(&["add-workflow", "plane.json"]).expect(0).out;
    assert!(added.contains("registered plane version 1 (through the running gateway)"), "{added}");
    place.run(&["add-workflow", "plane.json"]).expect(1).says(&["exists already", "--replace"]);
    let replaced = place.run(&["--json", "add-workflow", "plane.json", "--replace"]).expect(0).json();
    assert_eq!(replaced, json!({"id": "plane", "version": 2}));
    let items = listed(&place);
    assert_eq!((items.len(), &items[0]["id"], &items[0]["version"]), (1, &json!("plane"), &json!(2)));
    place.run(&["submit", "plane", "width=32", "--wait"]).expect(0);
    let refused = place.run(&["init"]).expect(0);
    refused.says(&["a gateway runs on this database: its workflows are left as they are"]);
    assert_eq!(listed(&place).len(), 1);
}

#[test]
fn what_can_not_be_registered_is_refused_with_every_fault() {
    let place = Place::new();
    place.write("ui.json", r#"{"nodes": [], "links": []}"#);
    place.write("links.json", &GRAPH.replace("[\"1\", 0]", "[\"9\", 0]"));
    place.write("broken.json", "{");
    place.write("plane.json", GRAPH);
    place.write("wrong.json", r#"{"type": "object", "properties": {"wdth": {"type": "integer"}}}"#);
    place.run(&["add-workflow", "ui.json"]).expect(1).says(&["Export (API)"]);
    place.run(&["add-workflow", "links.json"]).expect(1).says(&["/workflow/2/inputs/images", "node `9`"]);
    place.run(&["add-workflow", "broken.json"]).expect(1).says(&["broken.json is not JSON"]);
    place.run(&["add-workflow", "gone.json"]).expect(1).says(&["gone.json can't be read"]);
    place.run(&["add-workflow", "plane.json", "--schema", "wrong.json"]).expect(1).says(&["wdth", "width"]);
    place.run(&["add-workflow", "plane.json", "--id", "Not An Id"]).expect(2).says(&["Not An Id", "a-z"]);
    assert_eq!(listed(&place), [] as [Value; 0]);
}
