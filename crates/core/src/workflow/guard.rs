//! The values of a run at their places in the graph: do they fit there, and may a caller put them there.

use serde_json::{Map, Value};

use super::policy;
use super::resolve::Resolution;
use super::schema::Property;
use super::template::{DynamicInput, Misfit};

/// Notes a fault for every value that may not stand where its placeholder is.
pub(super) fn check(resolution: &mut Resolution<'_>) {
    let values = stand_ins(resolution);
    let template = resolution.template;
    for input in &template.inputs {
        if input.names.iter().any(|name| resolution.is_spoiled(name) || !values.contains_key(name)) {
            continue;
        }
        match input.render(&values) {
            Err(Misfit { name, message }) => {
                let name = name.or_else(|| input.names.first().cloned()).unwrap_or_default();
                resolution.spoil(&name, resolution.path(&name), message);
            }
            Ok(rendered) => check_texts(resolution, input, &rendered),
        }
    }
}

/// What is wrong with `value` as a whole input: lists and objects need a schema that asks for them.
pub(super) fn structure_fault(property: &Property, value: &Value) -> Option<String> {
    let (kind, declared) = match value {
        Value::Array(_) => ("an array", property.types.declares("array")),
        Value::Object(_) => ("an object", property.types.declares("object") && property.file.is_none()),
        _ => return None,
    };
    if !declared {
        return Some(format!("must not be {kind}: the schema declares no such type"));
    }
    has_wrapper(value).then(|| format!("must not have a field `{}`", super::template::VALUE_KEY))
}

/// The values with a plain name in place of each file, which has none before its upload.
fn stand_ins(resolution: &mut Resolution<'_>) -> Map<String, Value> {
    let mut values = resolution.values.clone();
    for property in &resolution.schema.properties {
        let Some(value) = values.get_mut(&property.name) else { continue };
        if property.file.is_some() && value.is_object() {
            *value = Value::String("file".to_owned());
        } else if let Some(message) = structure_fault(property, value)
            && !resolution.is_spoiled(&property.name)
        {
            resolution.spoil(&property.name, resolution.path(&property.name), message);
        }
    }
    values
}

fn check_texts(resolution: &mut Resolution<'_>, input: &DynamicInput, rendered: &Value) {
    let chosen: Vec<&String> = input.names.iter().filter(|name| is_free_choice(resolution, name)).collect();
    let Some(name) = chosen.first() else { return };
    let mut texts = Vec::new();
    collect_texts(rendered, &mut texts);
    let fault = texts.into_iter().find_map(|text| policy::value_fault(&input.class, &input.input, text));
    if let Some(message) = fault {
        resolution.spoil(name, resolution.path(name), message);
    }
}

/// Whether the caller wrote the text of `name` itself, rather than choosing one that the schema lists.
fn is_free_choice(resolution: &Resolution<'_>, name: &str) -> bool {
    let Some(property) = resolution.schema.property(name) else { return true };
    let Some(value) = resolution.values.get(name).filter(|_| resolution.origins.contains_key(name)) else {
        return false;
    };
    let listed = property.schema.get("enum").and_then(Value::as_array).is_some_and(|options| options.contains(value));
    let text = !matches!(value, Value::Number(_) | Value::Bool(_) | Value::Null);
    text && !listed && property.file.is_none()
}

fn collect_texts<'v>(value: &'v Value, texts: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(fields) => fields.values().for_each(|item| collect_texts(item, texts)),
        _ => {}
    }
}

fn has_wrapper(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_wrapper),
        Value::Object(fields) => fields.contains_key(super::template::VALUE_KEY) || fields.values().any(has_wrapper),
        _ => false,
    }
}
