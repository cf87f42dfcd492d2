//! What a wish is in the inputs of a workflow: by the names and formats of its schema.

use gateway_core::workflow::{FileKind, Workflow};
use gateway_core::{Fault, UploadId};
use serde_json::{Map, Value, json};

use super::request::Wish;

/// Files that came with a request.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) image: Option<UploadId>,
    pub(super) mask: Option<UploadId>,
}

/// The inputs of `workflow`, or what it can't be asked for.
pub(super) fn inputs(workflow: &Workflow, wish: &Wish, files: &Files) -> Result<Map<String, Value>, Vec<Fault>> {
    let has = |name: &str| workflow.takes_text(name).is_some();
    // A form has all values as texts.
    let form = files.image.is_some();
    let typed = |name: &str, value: &Value| match value {
        Value::String(text) if form && workflow.takes_text(name) == Some(false) => {
            serde_json::from_str(text).unwrap_or_else(|_not_json| value.clone())
        }
        _ => value.clone(),
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
    for (field, kind, upload) in [("image", FileKind::Image, files.image), ("mask", FileKind::Mask, files.mask)] {
        let Some(upload) = upload else { continue };
        match workflow.file_inputs().find(|(_, each)| *each == kind) {
            Some((name, _)) => drop(inputs.insert(name.to_owned(), json!({"uploadId": upload}))),
            None => faults.push(Fault::new(format!("/{field}"), "this model takes none")),
        }
    }
    if files.mask.is_some() && has("mask_channel") {
        // In that API what is transparent is painted anew.
        inputs.insert(String::from("mask_channel"), json!("alpha"));
    }
    for (name, value) in wish.hints.iter().filter(|(name, _)| has(name)) {
        inputs.insert(name.clone(), typed(name, value));
    }
    for (name, value) in &wish.more {
        match has(name) {
            true => drop(inputs.insert(name.clone(), typed(name, value))),
            false => faults.push(Fault::new(format!("/{name}"), "unknown field, and no input of this model")),
        }
    }
    if faults.is_empty() { Ok(inputs) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use gateway_core::workflow::WorkflowSource;

    use super::super::request::read;
    use super::*;

    /// A workflow with these inputs.
    fn workflow(properties: Value) -> Workflow {
        let names = properties.as_object().unwrap().keys();
        let uses: Map<String, Value> = names.map(|name| (name.clone(), json!(format!("{{{{{name}}}}}")))).collect();
        let graph = json!({
            "1": {"class_type": "Anything", "inputs": uses},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        });
        let definitions = json!({"picture": {"type": "object", "format": "image"}});
        let schema = json!({"type": "object", "properties": properties, "$defs": definitions});
        Workflow::compile(WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] }, None).unwrap()
    }

    fn of(properties: Value, body: Value, files: &Files) -> Result<Value, Vec<String>> {
        let wish = read(body.as_object().unwrap().clone()).unwrap();
        let paths = |faults: Vec<Fault>| faults.into_iter().map(|fault| fault.path).collect();
        inputs(&workflow(properties), &wish, files).map(Value::Object).map_err(paths)
    }

    #[test]
    fn sizes_and_further_inputs_go_where_the_workflow_has_them() {
        let schema = json!({
            "prompt": {"type": "string"}, "width": {"type": "integer"}, "height": {"type": "integer"},
            "steps": {"type": "integer"}, "style": {"type": "string"},
        });
        let body = json!({"prompt": "7", "size": "512x768", "steps": 8, "style": "vivid", "quality": "hd"});
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
            "prompt": {"type": "string"}, "photo": {"$ref": "#/$defs/picture"},
            "where": {"type": "object", "format": "mask"}, "mask_channel": {"type": "string", "enum": ["red", "alpha"]},
            "steps": {"type": ["integer", "null"]}, "note": {"type": "string"},
        });
        let wanted = json!({
            "prompt": "a kite", "photo": {"uploadId": upload(1)}, "where": {"uploadId": upload(2)},
            "mask_channel": "alpha", "steps": 8, "note": "9",
        });
        let body = json!({"prompt": "a kite", "steps": "8", "note": "9"});
        assert_eq!(of(schema, body, &files), Ok(wanted));
        let plain = json!({"prompt": {"type": "string"}});
        let wanted = ["/image", "/mask", "/steps"].map(String::from).to_vec();
        assert_eq!(of(plain, json!({"prompt": "a kite", "steps": 8}), &files), Err(wanted));
        assert_eq!(
            of(json!({"other": {"type": "string"}}), json!({"prompt": "a kite"}), &Files::default()),
            Err(vec![String::from("/model")])
        );
    }
}
