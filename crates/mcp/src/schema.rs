//! The schema of a workflow's inputs as that of a tool's arguments: the same, but for files, which it says how to give.

use gateway_core::workflow::FileKind;
use serde_json::{Map, Value, json};

/// How many references may lead on from one to the next.
const MAX_REFERENCES: usize = 16;

/// The schema of the arguments of a tool whose workflow takes inputs of `schema`.
pub(crate) fn of_arguments(schema: &Value) -> Map<String, Value> {
    let mut fields = schema.as_object().cloned().unwrap_or_default();
    // Clients refuse a tool whose schema is not plainly of an object.
    fields.insert(String::from("type"), json!("object"));
    fields.entry("additionalProperties").or_insert(json!(false));
    let properties = fields.entry("properties").or_insert_with(|| json!({}));
    for property in properties.as_object_mut().into_iter().flat_map(|properties| properties.values_mut()) {
        if let Some(file) = of_file(schema, property) {
            *property = file;
        }
    }
    fields
}

/// Whether a tool with this schema takes files.
pub(crate) fn takes_files(schema: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.is_some_and(|properties| {
        properties.values().any(|property| kind_of(follow(schema, property), property).is_some())
    })
}

/// The schema of a file, where `property` is one.
fn of_file(root: &Value, property: &Value) -> Option<Value> {
    let target = follow(root, property);
    let kind = kind_of(target, property)?;
    let text = |name: &str| property.get(name).or_else(|| target.get(name)).and_then(Value::as_str);
    let what = match kind {
        FileKind::Image => "A picture",
        FileKind::Mask => "A picture that is a mask",
        FileKind::Video => "A film",
        FileKind::Audio => "A sound",
        FileKind::File => "A file",
    };
    let ways = format!("{what}, given in one of these ways: {{url}}, {{base64}}, {{uploadId}}, or {{jobId, file}}.");
    let description = text("description").map_or_else(|| ways.clone(), |own| format!("{own} {ways}"));
    let nullable = target.get("type").and_then(Value::as_array).is_some_and(|types| types.contains(&json!("null")));
    let field = |description: &str| json!({"type": "string", "minLength": 1, "description": description});
    let mut schema = json!({
        "type": if nullable { json!(["object", "null"]) } else { json!("object") },
        "description": description,
        "properties": {
            "url": field("An address that the gateway can reach."),
            "base64": field("The file itself in Base64, or a data URL."),
            "uploadId": field("What POST /uploads has answered."),
            "jobId": field("An earlier job; with file."),
            "file": field("An output of that job, such as image_001.png."),
        },
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 2,
    });
    if let (Some(title), Some(fields)) = (text("title"), schema.as_object_mut()) {
        fields.insert(String::from("title"), json!(title));
    }
    Some(schema)
}

/// The kind of file that a property is; what stands beside a reference counts before its target.
fn kind_of(target: &Value, property: &Value) -> Option<FileKind> {
    let format = property.get("format").or_else(|| target.get("format"))?;
    FileKind::from_format(format.as_str()?)
}

/// The schema that `property` stands for, its references followed.
fn follow<'s>(root: &'s Value, property: &'s Value) -> &'s Value {
    let mut current = property;
    for _ in 0..MAX_REFERENCES {
        let pointer = current.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        match pointer.and_then(|pointer| root.pointer(pointer)) {
            Some(next) => current = next,
            None => break,
        }
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_stays_as_it_is() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "prompt": {"type": "string", "minLength": 1},
                "when": {"type": "string", "format": "date"},
                "size": {"$ref": "#/$defs/size"},
            },
            "$defs": {"size": {"type": "integer", "default": 512}},
            "required": ["prompt"],
        });
        let mut wanted = schema.as_object().unwrap().clone();
        wanted.insert("additionalProperties".into(), json!(false));
        assert_eq!(of_arguments(&schema), wanted);
        assert!(!takes_files(&schema));
        let bare = Value::Object(of_arguments(&json!({})));
        assert_eq!(bare, json!({"type": "object", "additionalProperties": false, "properties": {}}));
        let open = json!({"type": "object", "additionalProperties": true, "properties": {}});
        assert_eq!(Value::Object(of_arguments(&open)), open);
    }

    #[test]
    fn a_file_says_the_ways_to_give_it() {
        let schema = json!({
            "type": "object",
            "properties": {
                "image": {"type": "object", "format": "image", "title": "Picture", "description": "To start from."},
                "mask": {"$ref": "#/$defs/mask"},
                "song": {"type": ["string", "null"], "format": "audio", "default": "a.wav"},
            },
            "$defs": {"mask": {"type": "string", "format": "mask"}},
        });
        assert!(takes_files(&schema));
        let arguments = Value::Object(of_arguments(&schema));
        for name in ["image", "mask", "song"] {
            let property = &arguments["properties"][name];
            let ways: Vec<&String> = property["properties"].as_object().unwrap().keys().collect();
            assert_eq!(ways, ["url", "base64", "uploadId", "jobId", "file"], "{name}");
            assert_eq!(property["additionalProperties"], false, "{name}");
            assert!(property.get("default").is_none(), "{name}");
        }
        let image = &arguments["properties"]["image"];
        assert_eq!((&image["type"], &image["title"]), (&json!("object"), &json!("Picture")));
        assert!(image["description"].as_str().unwrap().starts_with("To start from. A picture, given"), "{image}");
        assert_eq!(arguments["properties"]["song"]["type"], json!(["object", "null"]));
    }

    #[test]
    fn a_circle_of_references_ends() {
        let schema = json!({
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/a"}},
            "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
        });
        assert_eq!(of_arguments(&schema)["properties"], schema["properties"]);
    }
}
