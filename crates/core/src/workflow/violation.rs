//! Sentences for what a schema has against a value: what is allowed, never what was sent.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::value::shorten;
use super::words;

/// The sentence for `error`; `root` is the schema, where the neighbours of the broken keyword are looked up.
pub(super) fn message(error: &ValidationError<'_>, root: &Value) -> String {
    let path = error.schema_path().as_str();
    let neighbours = path.rsplit_once('/').and_then(|(parent, _)| root.pointer(parent));
    match error.kind() {
        Kind::Type { .. } => type_message(neighbours.and_then(|schema| schema.get("type")), error),
        Kind::Minimum { limit } => limits(neighbours, limit, "at least"),
        Kind::Maximum { limit } => limits(neighbours, limit, "at most"),
        Kind::ExclusiveMinimum { limit } => format!("must be greater than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::Enum { options } => words::one_of(options.as_array().map_or(&[], Vec::as_slice)),
        Kind::Constant { expected_value } => format!("must be {}", shorten(&expected_value.to_string(), 100)),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::Pattern { pattern } => format!("must match the pattern {}", shorten(pattern, 100)),
        Kind::Format { format } => format!("must be a valid {}", shorten(format, 40)),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::MinProperties { limit } => format!("must have at least {limit} fields"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} fields"),
        Kind::UniqueItems => "must not have the same item twice".to_owned(),
        Kind::FalseSchema => "is not allowed".to_owned(),
        Kind::Required { property } => format!("needs the field {}", shorten(&property.to_string(), 64)),
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } => unknown_fields(neighbours),
        other => format!("does not satisfy `{}` of the schema", other.keyword()),
    }
}

fn unknown_fields(neighbours: Option<&Value>) -> String {
    let known = neighbours.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    let known: Vec<String> = known.into_iter().flatten().take(20).map(|(name, _)| shorten(name, 40)).collect();
    if known.is_empty() {
        return String::from("has unknown fields");
    }
    format!("has unknown fields; there are: {}", known.join(", "))
}

fn limits(neighbours: Option<&Value>, limit: &Value, side: &str) -> String {
    let bound = |key: &str| neighbours.and_then(|schema| schema.get(key)).and_then(Value::as_number);
    match (bound("minimum"), bound("maximum")) {
        (Some(min), Some(max)) => words::between(Some(min), Some(max)),
        _ => format!("must be {side} {limit}"),
    }
}

fn type_message(declared: Option<&Value>, error: &ValidationError<'_>) -> String {
    let names: Vec<&str> = match declared {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => return format!("has the wrong type ({})", super::value::kind(error.instance())),
    };
    let named: Vec<&str> = names
        .into_iter()
        .map(|name| match name {
            "integer" => "an integer",
            "number" => "a number",
            "string" => "a string",
            "boolean" => "true or false",
            "array" => "an array",
            "object" => "an object",
            other => other,
        })
        .collect();
    format!("must be {}", named.join(" or "))
}
