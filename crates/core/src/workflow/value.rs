//! Small questions about JSON values that several rules ask: depth, NUL, link shape, exact numbers.
//! Holds no rule of its own.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// How deep a graph, a schema or a value may be nested.
pub(super) const MAX_DEPTH: usize = 64;

/// Whether objects and lists in `value` are nested deeper than `limit`, itself counted; stops looking there, so its own
/// recursion is bounded.
pub fn deeper_than(value: &Value, limit: usize) -> bool {
    match value {
        Value::Array(items) => limit == 0 || items.iter().any(|item| deeper_than(item, limit - 1)),
        Value::Object(fields) => limit == 0 || fields.values().any(|item| deeper_than(item, limit - 1)),
        _ => false,
    }
}

/// Whether any string or key in `value` satisfies `test`.
pub(super) fn any_text(value: &Value, test: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => test(text),
        Value::Array(items) => items.iter().any(|item| any_text(item, test)),
        Value::Object(fields) => fields.iter().any(|(key, item)| test(key) || any_text(item, test)),
        _ => false,
    }
}

/// Whether a NUL stands anywhere in `value`.
pub(super) fn has_nul(value: &Value) -> bool {
    any_text(value, &|text| text.contains('\0'))
}

/// Whether ComfyUI would take `value` for a link: two items, a string and a number (a bool is a number there).
pub(super) fn is_link_shaped(value: &Value) -> bool {
    matches!(value.as_array().map(Vec::as_slice), Some([Value::String(_), Value::Number(_) | Value::Bool(_)]))
}

/// The node and output index of a well-formed link.
pub(super) fn as_link(value: &Value) -> Option<(&str, u64)> {
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(node), Value::Number(slot)]) => slot.as_u64().map(|slot| (node.as_str(), slot)),
        _ => None,
    }
}

/// The inputs of a node, where they are an object.
pub(super) fn inputs_of(node: &Value) -> Option<&Map<String, Value>> {
    node.get("inputs").and_then(Value::as_object)
}

/// The class of a node, where it is a string.
pub(super) fn class_of(node: &Value) -> Option<&str> {
    node.get("class_type").and_then(Value::as_str)
}

/// Compares two JSON numbers without losing digits of integers.
pub(super) fn compare(left: &Number, right: &Number) -> Ordering {
    match (as_i128(left), as_i128(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => {
            let (left, right) = (left.as_f64().unwrap_or(0.0), right.as_f64().unwrap_or(0.0));
            left.partial_cmp(&right).unwrap_or(Ordering::Equal)
        }
    }
}

fn as_i128(number: &Number) -> Option<i128> {
    number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from))
}

/// What an integral float is as an integer.
pub(super) enum Integral {
    /// It has a fraction, or is an integer already.
    No,
    /// It is exactly this integer.
    Yes(Number),
    /// It has no fraction but lies outside of `i64` and `u64`.
    TooLarge,
}

/// Reads a JSON float such as `30.0` as the integer that it is.
pub(super) fn integral(number: &Number) -> Integral {
    const U64_END: f64 = 18_446_744_073_709_551_616.0;
    const I64_MIN: f64 = -9_223_372_036_854_775_808.0;
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return Integral::No;
    };
    if float.fract() != 0.0 {
        return Integral::No;
    }
    if (0.0..U64_END).contains(&float) {
        Integral::Yes(Number::from(float as u64))
    } else if (I64_MIN..0.0).contains(&float) {
        Integral::Yes(Number::from(float as i64))
    } else {
        Integral::TooLarge
    }
}

/// The JSON name of the type of `value`, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// At most `limit` characters of `text`, with an ellipsis where something was left out.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    let mut short: String = text.chars().take(limit).collect();
    if text.chars().nth(limit).is_some() {
        short.push('…');
    }
    short
}
