//! An input schema for a workflow that came without one, from its placeholders: what the server's catalog says of
//! the inputs they stand in, else what their names and defaults suggest. The result is checked like any other schema.

use serde_json::{Map, Number, Value, json};

use super::catalog::{InputKind, InputSpec, NodeCatalog, Range};
use super::policy;
use super::schema::is_seed_name;
use super::template::{Template, Use};
use super::value;

/// How many choices a derived schema lists; with more it only asks for a string.
const MAX_CHOICES: usize = 200;
/// The largest integer that every JSON reader holds exactly.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// The schema for the placeholders of `template`.
pub(super) fn input_schema(template: &Template, catalog: Option<&NodeCatalog>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for name in template.names() {
        let uses: Vec<&Use> = template.uses.iter().filter(|each| each.name == name).collect();
        let default = template.default_of(&name).map(|(_, default)| default);
        let property = property(&name, &uses, default, catalog);
        if !property.contains_key("default") {
            required.push(Value::String(name.clone()));
        }
        properties.insert(name, Value::Object(property));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(name: &str, uses: &[&Use], default: Option<&Value>, catalog: Option<&NodeCatalog>) -> Map<String, Value> {
    // The place where the value keeps its type says most about it.
    let place = uses.iter().find(|each| each.whole && each.direct);
    let spec = place.and_then(|place| catalog?.input(&place.class, &place.input));
    let mut property = if uses.iter().any(|each| policy::is_prefix_input(&each.input)) {
        fields(json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}))
    } else if let Some(format) = place.and_then(|place| file_format(place, spec)) {
        fields(json!({"type": "object", "format": format}))
    } else if is_seed_name(name) {
        seed(spec)
    } else {
        match (spec, place) {
            // A text input takes the default of the template as text, whatever it reads as.
            (Some(spec), _)
                if matches!(spec.kind, InputKind::Text) && default.is_some_and(|each| !each.is_string()) =>
            {
                by_type(default)
            }
            (Some(spec), _) => of_spec(spec),
            (None, Some(place)) => by_name(name).or_else(|| by_name(&place.input)).unwrap_or_else(|| by_type(default)),
            (None, None) => {
                by_name(name).filter(is_text).unwrap_or_else(|| by_type(default.filter(|each| each.is_string())))
            }
        }
    };
    if is_negative(name) && property.get("type") == Some(&json!("string")) {
        property.entry("default").or_insert_with(|| json!(""));
    } else if is_prompt(name) {
        property.remove("default");
    }
    if let Some(default) = default {
        property.insert("default".to_owned(), default.clone());
    }
    if let Some(place) = place.or(uses.first()) {
        let words = format!("`{}` of {} (node {})", place.input, place.class, place.node);
        property.insert("description".to_owned(), Value::String(words));
    }
    property
}

fn file_format(place: &Use, spec: Option<&InputSpec>) -> Option<&'static str> {
    match spec {
        Some(spec) => spec.upload.map(|kind| kind.as_format()),
        None => policy::loaded_file(&place.class, &place.input).map(|kind| kind.as_format()),
    }
}

fn seed(spec: Option<&InputSpec>) -> Map<String, Value> {
    let mut property = fields(json!({"type": "integer", "minimum": -1, "default": -1}));
    let max = match spec.map(|spec| &spec.kind) {
        Some(InputKind::Int(range)) => range.max.as_ref().and_then(Number::as_u64),
        _ => None,
    };
    // A larger limit would only let a draw be too large for readers that hold numbers as doubles.
    if let Some(max) = max.filter(|max| *max < MAX_EXACT) {
        property.insert("maximum".to_owned(), Value::from(max));
    }
    property
}

fn of_spec(spec: &InputSpec) -> Map<String, Value> {
    let mut property = match &spec.kind {
        InputKind::Int(range) => ranged("integer", range),
        InputKind::Float(range) => ranged("number", range),
        InputKind::Text => fields(json!({"type": "string"})),
        InputKind::Boolean => fields(json!({"type": "boolean"})),
        InputKind::Choice(choices) => {
            let options = choices.options.as_deref().filter(|options| (1..=MAX_CHOICES).contains(&options.len()));
            match options {
                Some(options) if options.iter().all(Value::is_string) => {
                    fields(json!({"type": "string", "enum": options}))
                }
                Some(options) => fields(json!({"enum": options})),
                None => fields(json!({"type": "string"})),
            }
        }
        InputKind::Other(_) => any_scalar(),
    };
    if let Some(default) = spec.default.as_ref().filter(|default| fits(spec, default)) {
        property.insert("default".to_owned(), default.clone());
    }
    property
}

/// Servers are known to have defaults that their own rules refuse.
fn fits(spec: &InputSpec, default: &Value) -> bool {
    let in_range = |range: &Range, number: &Number| {
        range.min.as_ref().is_none_or(|min| value::compare(number, min).is_ge())
            && range.max.as_ref().is_none_or(|max| value::compare(number, max).is_le())
    };
    match (&spec.kind, default) {
        (InputKind::Int(range), Value::Number(number)) => !number.is_f64() && in_range(range, number),
        (InputKind::Float(range), Value::Number(number)) => in_range(range, number),
        (InputKind::Text, Value::String(_)) | (InputKind::Boolean, Value::Bool(_)) => true,
        (InputKind::Choice(choices), _) => choices.options.as_ref().is_some_and(|options| options.contains(default)),
        _ => false,
    }
}

fn ranged(kind: &str, range: &Range) -> Map<String, Value> {
    let mut property = fields(json!({ "type": kind }));
    for (key, limit) in [("minimum", &range.min), ("maximum", &range.max)] {
        if let Some(limit) = limit {
            property.insert(key.to_owned(), Value::Number(limit.clone()));
        }
    }
    property
}

fn by_name(name: &str) -> Option<Map<String, Value>> {
    let property = match name {
        "steps" => json!({"type": "integer", "minimum": 1, "maximum": 10_000}),
        "cfg" | "cfg_scale" => json!({"type": "number", "minimum": 0, "maximum": 100}),
        "guidance" => json!({"type": "number", "minimum": 0, "maximum": 100}),
        "denoise" => json!({"type": "number", "minimum": 0, "maximum": 1}),
        "width" | "height" => json!({"type": "integer", "minimum": 16, "maximum": 16_384}),
        "batch_size" => json!({"type": "integer", "minimum": 1, "maximum": 4096}),
        "sampler" | "sampler_name" | "scheduler" => json!({"type": "string", "minLength": 1, "maxLength": 64}),
        "checkpoint" | "lora" | "vae" => json!({"type": "string", "minLength": 1, "maxLength": 255}),
        _ if policy::is_model_input(name) => json!({"type": "string", "minLength": 1, "maxLength": 255}),
        _ if is_prompt(name) || is_negative(name) => json!({"type": "string"}),
        _ => return None,
    };
    Some(fields(property))
}

fn by_type(default: Option<&Value>) -> Map<String, Value> {
    match default {
        Some(Value::Bool(_)) => fields(json!({"type": "boolean"})),
        Some(Value::Number(number)) if number.is_f64() => fields(json!({"type": "number"})),
        Some(Value::Number(_)) => fields(json!({"type": "integer"})),
        Some(Value::String(_)) => fields(json!({"type": "string"})),
        Some(Value::Null) => fields(json!({"type": ["string", "number", "integer", "boolean", "null"]})),
        Some(Value::Array(_)) => fields(json!({"type": "array"})),
        Some(Value::Object(_)) => fields(json!({"type": "object"})),
        None => any_scalar(),
    }
}

fn any_scalar() -> Map<String, Value> {
    fields(json!({"type": ["string", "number", "integer", "boolean"]}))
}

fn is_text(property: &Map<String, Value>) -> bool {
    property.get("type") == Some(&json!("string"))
}

fn is_negative(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with("negative")
}

fn is_prompt(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !is_negative(&name) && (name.contains("prompt") || matches!(name.as_str(), "text" | "positive"))
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
