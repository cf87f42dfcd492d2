//! The document against the routes, against itself, against the readers of requests, and against the file that is kept
//! of it.

use std::collections::BTreeSet;

use jsonschema::{Draft, Validator};

use super::*;

const ROUTES: &str = include_str!("../routes.rs");
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

/// Each value of the document with the pointer to it, but for what stands in examples.
fn walk<'d>(value: &'d Value, place: String, visit: &mut dyn FnMut(&str, &'d Value)) {
    visit(&place, value);
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in parts.into_iter().filter(|(name, _)| !matches!(name.as_str(), "example" | "examples")) {
        walk(value, format!("{place}/{name}"), visit);
    }
}

/// Path, method and fields of every operation.
fn documented(document: &Value) -> Vec<(String, String, &Map<String, Value>)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            operations.push((path.clone(), method.to_ascii_uppercase(), operation.as_object().unwrap()));
        }
    }
    operations
}

/// What holds a value against `schema`, whose references lead into `document`.
fn validator(document: &Value, schema: &Value) -> Validator {
    let whole = json!({"allOf": [schema], "components": document["components"]});
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).offline();
    options.build(&whole).unwrap_or_else(|error| panic!("{schema} is no schema: {error}"))
}

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    let mut routes = BTreeSet::new();
    for rest in ROUTES.split("at(\"/").skip(1) {
        let (path, rest) = rest.split_once("\", \"").unwrap();
        let (methods, _) = rest.split_once('"').unwrap();
        routes.extend(methods.split(", ").map(|method| (format!("/{path}"), method.to_owned())));
    }
    assert!(routes.len() > 40, "{routes:?}");
    let document = document();
    let documented: BTreeSet<_> = documented(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
    assert_eq!(documented, routes);
}

#[test]
fn every_reference_leads_to_something_and_every_component_is_led_to() {
    let document = document();
    let mut used = BTreeSet::new();
    walk(&document, String::new(), &mut |place, value| {
        let Some(target) = value.get("$ref").and_then(Value::as_str) else { return };
        let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{place} leads elsewhere: {target}"));
        assert!(document.pointer(pointer).is_some(), "{place}: there is no {target}");
        used.insert(pointer.to_owned());
    });
    for kind in ["responses", "parameters"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(used.contains(&format!("/components/{kind}/{name}")), "nothing uses {kind}/{name}");
        }
    }
    let spare: Vec<_> = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| !used.contains(&format!("/components/schemas/{name}")))
        .collect();
    // What inputs are made of, only a workflow says.
    assert_eq!(spare, ["FileInput"]);
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_what_it_is() {
    let document = document();
    let tags: Vec<&str> = TAGS.iter().map(|(name, _)| *name).collect();
    let mut names = BTreeSet::new();
    for (path, method, operation) in documented(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name} twice");
        let one = operation["tags"].as_array().unwrap();
        assert!(one.len() == 1 && tags.contains(&one[0].as_str().unwrap()), "{name}: {one:?}");
        for field in ["summary", "description"] {
            assert!(operation[field].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {field}");
        }
        for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let of_path = |parameter: &Value| parameter["in"] == "path" && parameter["name"] == part;
            let parameters = operation.get("parameters").and_then(Value::as_array);
            assert!(parameters.is_some_and(|all| all.iter().any(of_path)), "{name} does not say what {part} is");
        }
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name} never does what it is for");
        let open = operation.get("security").is_some();
        assert_eq!(responses.contains_key("401"), !open, "{method} {path}");
    }
    for (_, _, operation) in documented(&document) {
        for link in operation["responses"].as_object().unwrap().values().filter_map(|answer| answer.get("links")) {
            for to in link.as_object().unwrap().values() {
                assert!(names.contains(to["operationId"].as_str().unwrap()), "{to} leads to no operation");
            }
        }
    }
}

#[test]
fn every_example_is_one_of_its_schema() {
    let document = document();
    let mut examples = 0;
    walk(&document, String::new(), &mut |place, value| {
        let Some(schema) = value.get("schema") else { return };
        let named = value.get("examples").and_then(Value::as_object).into_iter().flat_map(Map::values);
        let all: Vec<&Value> = named.map(|example| &example["value"]).chain(value.get("example")).collect();
        if all.is_empty() {
            return;
        }
        let validator = validator(&document, schema);
        for example in all {
            examples += 1;
            let faults: Vec<String> = validator.iter_errors(example).map(|error| error.to_string()).collect();
            assert!(faults.is_empty(), "{place}: {example}\n{faults:#?}");
        }
    });
    assert!(examples > 100, "{examples}");
}

#[test]
fn every_code_has_the_status_of_the_table() {
    let document = document();
    for (name, response) in document["components"]["responses"].as_object().unwrap() {
        let Some(content) = response.get("content") else { continue };
        let content = &content["application/problem+json"];
        for (code, example) in content["examples"].as_object().unwrap() {
            let status = gateway_core::ErrorCode::parse(code).unwrap().status();
            let status = if name.ends_with("408") { 408 } else { status };
            assert_eq!(example["value"]["status"], status, "{name}");
            assert_eq!(content["schema"]["$ref"], format!("#/components/schemas/Problem{status}"), "{name}");
        }
    }
}

fn with(field: &str, value: Value) -> Value {
    json!({"workflowId": "w", field: value})
}

fn told(events: Value) -> Value {
    json!({"workflowId": "w", "callbackUrl": "https://a.example/", "webhookEvents": events})
}

/// Bodies of jobs that are taken.
fn good_bodies() -> Vec<Value> {
    vec![
        json!({"workflowId": "w"}),
        with("inputs", json!({"a": 1})),
        with("params", json!(null)),
        with("priority", json!("low")),
        with("priority", json!(0)),
        with("priority", json!(9)),
        with("callbackUrl", json!(null)),
        told(json!(["job.progress", "job.failed"])),
        told(json!(null)),
        with("metadata", json!(null)),
        with("metadata", json!({"requestId": "a b", "x": [1]})),
        with("output", json!(null)),
        with("output", json!({"delivery": "base64", "format": "jpg", "quality": 100})),
        with("output", json!({"format": null, "quality": null})),
        with("cache", json!(false)),
        with("timeoutMs", json!(1_000)),
        with("timeoutMs", json!(21_600_000)),
        with("notBefore", json!("1970-01-02T00:00:00+02:00")),
        json!({"workflow": {"1": {"class_type": "SaveImage", "inputs": {}}}}),
    ]
}

/// And that are not.
fn bad_bodies() -> Vec<Value> {
    let many: Map<String, Value> = (0..65).map(|number| (number.to_string(), json!(number))).collect();
    vec![
        json!({}),
        json!({"workflowId": ""}),
        json!({"workflowId": 7}),
        json!({"workflowId": "raw_0"}),
        json!({"workflowId": "w", "workflow": {"1": {"class_type": "SaveImage", "inputs": {}}}}),
        json!({"workflow": {"1": {"class_type": "SaveImage", "inputs": {}}}, "inputs": {"a": 1}}),
        with("colour", json!(1)),
        with("inputs", json!([])),
        with("inputs", json!(null)),
        with("params", json!("x")),
        with("priority", json!("root")),
        with("priority", json!(10)),
        with("priority", json!(-1)),
        with("priority", json!(null)),
        with("callbackUrl", json!(7)),
        with("callbackUrl", json!("")),
        told(json!([])),
        told(json!(["job.lost"])),
        told(json!("job.failed")),
        with("metadata", json!([])),
        with("metadata", Value::Object(many)),
        with("metadata", json!({"requestId": ""})),
        with("metadata", json!({"requestId": " a"})),
        with("metadata", json!({"requestId": "x".repeat(256)})),
        with("metadata", json!({"requestId": 7})),
        with("output", json!("x")),
        with("output", json!({"delivery": "fax"})),
        with("output", json!({"format": "tiff"})),
        with("output", json!({"format": "jpeg", "quality": 0})),
        with("output", json!({"quality": 101})),
        with("output", json!({"colour": 1})),
        with("cache", json!("no")),
        with("timeoutMs", json!(999)),
        with("timeoutMs", json!(21_600_001)),
        with("timeoutMs", json!("1000")),
        with("notBefore", json!("tomorrow")),
        with("notBefore", json!(0)),
    ]
}

#[test]
fn the_schema_of_a_job_takes_what_its_reader_takes() {
    let document = document();
    let validator = validator(&document, &reference("schemas", "AnyJobRequest"));
    let bodies = good_bodies().into_iter().map(|body| (body, true));
    for (body, good) in bodies.chain(bad_bodies().into_iter().map(|body| (body, false))) {
        let fields = body.as_object().unwrap().clone();
        let (_, faults) = crate::jobs::request::read(fields, gateway_core::Timestamp::from_millis(0));
        assert_eq!(faults.is_empty(), good, "the reader has something else to say of {body}: {faults:?}");
        assert_eq!(validator.is_valid(&body), good, "the schema has something else to say of {body}");
    }
}

#[test]
fn the_page_shows_every_operation_and_loads_nothing() {
    let document = document();
    let page = page::render(&document);
    for (_, _, operation) in documented(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(page.contains(&format!("id=\"{name}\"")), "{name} is not on the page");
    }
    for target in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(page.contains(&format!("id=\"{target}\"")), "a link leads nowhere: {target}");
    }
    for other in ["<script", "<link", "<img", "<iframe", " src=", " style=", "@import", "url("] {
        assert!(!page.contains(other), "{other} is on the page");
    }
}

#[test]
fn the_document_is_the_one_that_is_kept() {
    let kept = std::fs::read_to_string(KEPT).unwrap_or_default();
    let same = kept == openapi() + "\n";
    assert!(
        same,
        "the API is another than docs/openapi.json says; `cargo run -- openapi > docs/openapi.json` writes it"
    );
}
