//! The schemas of what is sent and answered, an area a file. Schemas of requests are as strict as their readers; those of
//! answers name what there is and leave room for more.

mod access;
mod delivery;
mod health;
mod images;
mod jobs;
mod mcp;
mod workers;
mod workflows;

use serde_json::{Map, Value, json};

use super::build::reference;

/// Every schema but those of problems.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    [
        common(),
        health::all(),
        workflows::all(),
        jobs::all(),
        delivery::all(),
        images::all(),
        mcp::all(),
        access::all(),
        workers::all(),
    ]
    .concat()
}

fn common() -> Vec<(&'static str, Value)> {
    let fault = object(
        "One thing that is wrong.",
        &[
            (
                "path",
                text("A JSON pointer into the body, `?name` for a parameter of the query, or the name of a header."),
            ),
            ("message", text("What is wrong there.")),
        ],
    );
    vec![
        ("Fault", fault),
        ("JobId", uuid("A job: a UUIDv7 in lower case, so that ids sort by time.")),
        ("BatchId", uuid("A batch of jobs.")),
        ("UploadId", uuid("A file that was uploaded.")),
        ("DeliveryId", uuid("A message: its `webhook-id`.")),
        (
            "Cursor",
            or_null(text("Where the next page begins; null where there is none. Good for the same filters alone.")),
        ),
    ]
}

/// An object of these properties; a name that ends with `?` may be missing.
fn object(description: &str, properties: &[(&str, Value)]) -> Value {
    let required: Vec<&str> = properties.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('?')).collect();
    let properties: Map<String, Value> =
        properties.iter().map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone())).collect();
    let mut schema = json!({"type": "object", "description": description, "properties": properties});
    if !required.is_empty() {
        put(&mut schema, "required", json!(required));
    }
    schema
}

/// The same for a body that is read strictly: nothing else may be in it.
fn closed(description: &str, properties: &[(&str, Value)]) -> Value {
    with(object(description, properties), "additionalProperties", json!(false))
}

/// An object with whatever is in it.
fn anything(description: &str) -> Value {
    json!({"type": "object", "additionalProperties": true, "description": description})
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn matching(description: &str, pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern, "description": description})
}

fn one_of(description: &str, words: &[&str]) -> Value {
    json!({"type": "string", "enum": words, "description": description})
}

fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

/// A whole number of at least `least`.
fn count(description: &str, least: u64) -> Value {
    json!({"type": "integer", "minimum": least, "description": description})
}

fn between(description: &str, least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most, "description": description})
}

/// A time as answers have it: UTC, with milliseconds.
fn time(description: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": description})
}

fn uuid(description: &str) -> Value {
    json!({
        "type": "string",
        "format": "uuid",
        "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "description": description,
    })
}

fn sha256(description: &str) -> Value {
    matching(description, "^[0-9a-f]{64}$")
}

fn list(description: &str, items: Value) -> Value {
    json!({"type": "array", "items": items, "description": description})
}

fn schema(name: &str) -> Value {
    reference("schemas", name)
}

/// `of`, or null.
fn or_null(of: Value) -> Value {
    let mut schema = of;
    let kind = schema.get("type").cloned().unwrap_or_default();
    put(&mut schema, "type", json!([kind, "null"]));
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
    schema
}

/// The schema `name`, or null.
fn schema_or_null(name: &str) -> Value {
    json!({"anyOf": [schema(name), {"type": "null"}]})
}

fn with(of: Value, name: &str, value: Value) -> Value {
    let mut schema = of;
    put(&mut schema, name, value);
    schema
}

fn put(schema: &mut Value, name: &str, value: Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// A page of a list.
fn page(description: &str, item: &str) -> Value {
    object(description, &[("items", list("The newest first.", schema(item))), ("nextCursor", schema("Cursor"))])
}
