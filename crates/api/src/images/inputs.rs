//! What a wish is in the inputs of a workflow: by the names and formats of its schema.

use gateway_core::{Fault, UploadId};
use serde_json::{Map, Value, json};

use super::request::Wish;

/// Files that came with a request.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) image: Option<UploadId>,
    pub(super) mask: Option<UploadId>,
}

/// The inputs of a workflow with `schema`, or what it can't be asked for.
pub(super) fn inputs(schema: &Value, wish: &Wish, files: &Files) -> Result<Map<String, Value>, Vec<Fault>> {
    let nothing = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
    let has = |name: &str| properties.contains_key(name);
    let with_format = |format: &str| {
        let property =
            properties.iter().find(|(_, property)| property.get("format").and_then(Value::as_str) == Some(format));
        property.map(|(name, _)| name.clone())
    };
    let mut inputs = Map::new();
    let mut faults = Vec::new();
    match has("prompt") {
        true => drop(inputs.insert(String::from("prompt"), json!(wish.prompt))),
        false => faults.push(Fault::new("/model", "is a workflow that takes no prompt")),
    }
    match wish.size {
        None => {}
        Some((width, height)) if has("width") && has("height") => {
            inputs.insert(String::from("width"), json!(width));
            inputs.insert(String::from("height"), json!(height));
        }
        Some((width, height)) if has("size") && width == height => {
            inputs.insert(String::from("size"), json!(width));
        }
        Some(_) if has("size") => faults.push(Fault::new("/size", "this model makes square pictures")),
        Some(_) => faults.push(Fault::new("/size", "this model has a size of its own: leave it out, or say auto")),
    }
    for (field, upload) in [("image", files.image), ("mask", files.mask)] {
        let Some(upload) = upload else { continue };
        match with_format(field) {
            Some(name) => drop(inputs.insert(name, json!({"uploadId": upload}))),
            None => faults.push(Fault::new(format!("/{field}"), "this model takes none")),
        }
    }
    if files.mask.is_some() && has("mask_channel") {
        // In that API what is transparent is painted anew.
        inputs.insert(String::from("mask_channel"), json!("alpha"));
    }
    for (name, value) in &wish.hints {
        if let Some(property) = properties.get(name) {
            inputs.insert(name.clone(), typed(value, property));
        }
    }
    for (name, value) in &wish.more {
        match properties.get(name) {
            Some(property) => drop(inputs.insert(name.clone(), typed(value, property))),
            None => faults.push(Fault::new(format!("/{name}"), "unknown field, and no input of this model")),
        }
    }
    if faults.is_empty() { Ok(inputs) } else { Err(faults) }
}

/// `value`, which a form has as text, in the type that `property` wants.
fn typed(value: &Value, property: &Value) -> Value {
    let wanted = property.get("type").and_then(Value::as_str).unwrap_or("string");
    match value {
        Value::String(text) if matches!(wanted, "integer" | "number" | "boolean") => {
            serde_json::from_str(text).unwrap_or_else(|_not_json| value.clone())
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::read;
    use super::*;

    fn of(schema: Value, body: Value, files: &Files) -> Result<Value, Vec<String>> {
        let wish = read(body.as_object().unwrap().clone()).unwrap();
        let paths = |faults: Vec<Fault>| faults.into_iter().map(|fault| fault.path).collect();
        inputs(&json!({ "properties": schema }), &wish, files).map(Value::Object).map_err(paths)
    }

    #[test]
    fn sizes_and_further_inputs_go_where_the_workflow_has_them() {
        let schema = json!({
            "prompt": {"type": "string"}, "width": {"type": "integer"}, "height": {"type": "integer"},
            "steps": {"type": "integer"}, "style": {"type": "string"},
        });
        let body = json!({"prompt": "7", "size": "512x768", "steps": "8", "style": "vivid", "quality": "hd"});
        let wanted = json!({"prompt": "7", "width": 512, "height": 768, "style": "vivid", "steps": 8});
        assert_eq!(of(schema, body, &Files::default()), Ok(wanted));
        let square = json!({"prompt": {"type": "string"}, "size": {"type": "integer"}});
        let body = |size: &str| json!({"prompt": "a kite", "size": size});
        let wanted = json!({"prompt": "a kite", "size": 512});
        assert_eq!(of(square.clone(), body("512x512"), &Files::default()), Ok(wanted));
        assert_eq!(of(square, body("512x768"), &Files::default()), Err(vec![String::from("/size")]));
    }

    #[test]
    fn files_go_to_the_inputs_of_their_format() {
        let upload = |number: u8| UploadId::new(gateway_core::Timestamp::from_millis(1), [number; 10]);
        let files = Files { image: Some(upload(1)), mask: Some(upload(2)) };
        let schema = json!({
            "prompt": {"type": "string"}, "photo": {"format": "image"}, "where": {"format": "mask"},
            "mask_channel": {"enum": ["red", "alpha"]},
        });
        let wanted = json!({
            "prompt": "a kite", "photo": {"uploadId": upload(1)}, "where": {"uploadId": upload(2)},
            "mask_channel": "alpha",
        });
        assert_eq!(of(schema, json!({"prompt": "a kite"}), &files), Ok(wanted));
        let plain = json!({"prompt": {"type": "string"}});
        let wanted = ["/image", "/mask", "/steps"].map(String::from).to_vec();
        assert_eq!(of(plain, json!({"prompt": "a kite", "steps": 8}), &files), Err(wanted));
        assert_eq!(of(json!({}), json!({"prompt": "a kite"}), &Files::default()), Err(vec![String::from("/model")]));
    }
}
