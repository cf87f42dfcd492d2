//! Python's conversions of literal inputs (`int`, `float`, `str`, `bool`) and the comparisons with limits.
//! Judges one value at a time.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use crate::definitions::{Input, InputType};
use crate::pyjson::{py_repr, py_str, special};

/// Converts as Python does; the error is the text of the exception.
pub(super) fn convert(kind: &InputType, value: &Value) -> Result<Value, String> {
    let InputType::Named(kind) = kind else { return Ok(value.clone()) };
    match kind.as_str() {
        "INT" => to_int(value),
        "FLOAT" => to_float(value),
        "STRING" => Ok(Value::from(py_str(value))),
        "BOOLEAN" => Ok(Value::from(truthy(value))),
        _ => Ok(value.clone()),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

fn to_int(value: &Value) -> Result<Value, String> {
    match value {
        Value::Bool(flag) => Ok(Value::from(i64::from(*flag))),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => Ok(truncated(float)),
            _ => Ok(value.clone()),
        },
        Value::String(text) => match special(text) {
            Some(float) if float.is_nan() => Err("cannot convert float NaN to integer".to_owned()),
            Some(_) => Err("cannot convert float infinity to integer".to_owned()),
            None => {
                parse_int(text).ok_or_else(|| format!("invalid literal for int() with base 10: {}", py_repr(value)))
            }
        },
        other => Err(format!(
            "int() argument must be a string, a bytes-like object or a real number, not '{}'",
            type_name(other)
        )),
    }
}

fn parse_int(text: &str) -> Option<Value> {
    let digits = text.trim().replace('_', "");
    digits.parse::<i64>().map(Value::from).or_else(|_| digits.parse::<u64>().map(Value::from)).ok()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is inside the range of the type"
)]
fn truncated(float: f64) -> Value {
    let whole = float.trunc();
    if whole.abs() < 9e18 {
        Value::from(whole as i64)
    } else if whole > 0.0 && whole < 1.8e19 {
        Value::from(whole as u64)
    } else {
        Number::from_f64(whole).map_or(Value::Null, Value::Number)
    }
}

fn to_float(value: &Value) -> Result<Value, String> {
    let float = match value {
        Value::Bool(flag) => Some(if *flag { 1.0 } else { 0.0 }),
        Value::Number(number) => number.as_f64(),
        Value::String(text) if special(text).is_some() => return Ok(value.clone()),
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(float) => Some(float),
            Err(_) => return Err(format!("could not convert string to float: {}", py_repr(value))),
        },
        other => {
            return Err(format!("float() argument must be a string or a real number, not '{}'", type_name(other)));
        }
    };
    Ok(float.and_then(Number::from_f64).map_or(Value::Null, Value::Number))
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Compares numbers exactly when both are whole, so that seeds near 2^64 keep their last digits.
fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    let whole = |value: &Value| value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64().partial_cmp(&right.as_f64()),
    }
}

/// The limit a value breaks, by name.
pub(super) fn broken_limit<'a>(input: &'a Input, value: &Value) -> Option<(&'static str, &'a Value)> {
    let breaks = |name: &'static str, wrong: Ordering| {
        let limit = input.options.get(name)?;
        (compare(value, limit) == Some(wrong)).then_some((name, limit))
    };
    breaks("min", Ordering::Less).or_else(|| breaks("max", Ordering::Greater))
}

/// The values an input is limited to. None: it takes any.
pub(super) fn choices(input: &Input) -> Option<&[Value]> {
    match &input.kind {
        InputType::OneOf(choices) => Some(choices),
        InputType::Named(name) if name == "COMBO" => {
            // A list that the server fetches elsewhere is not checked here.
            input.options.get("options").and_then(Value::as_array).map(Vec::as_slice)
        }
        InputType::Named(_) => None,
    }
}

/// Whether an output of one type may feed an input.
pub(super) fn types_match(received: &str, input: &InputType) -> bool {
    match input {
        InputType::Named(wanted) if wanted == "*" || received == "*" || wanted == received => true,
        InputType::Named(wanted) => {
            let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
            received.split(',').any(|kind| wanted.contains(&kind.trim()))
        }
        InputType::OneOf(_) => received == "COMBO" || received == "*",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(kind: &str) -> InputType {
        InputType::Named(kind.to_owned())
    }

    #[test]
    fn conversions_are_those_of_python() {
        assert_eq!(convert(&named("INT"), &json!("12")), Ok(json!(12)));
        assert_eq!(convert(&named("INT"), &json!(3.9)), Ok(json!(3)));
        assert_eq!(convert(&named("INT"), &json!(u64::MAX)), Ok(json!(u64::MAX)));
        assert_eq!(convert(&named("FLOAT"), &json!(1)).map(|value| value.to_string()), Ok("1.0".to_owned()));
        assert_eq!(convert(&named("STRING"), &json!(null)), Ok(json!("None")));
        assert_eq!(convert(&named("BOOLEAN"), &json!("no")), Ok(json!(true)));
        let error = convert(&named("INT"), &json!(null)).unwrap_err();
        assert_eq!(error, "int() argument must be a string, a bytes-like object or a real number, not 'NoneType'");
    }

    #[test]
    fn limits_near_two_to_the_sixty_fourth_are_exact() {
        let options = json!({"min": 0, "max": u64::MAX - 1});
        let input = Input { name: "seed".into(), required: true, kind: named("INT"), options };
        assert_eq!(broken_limit(&input, &json!(u64::MAX)).map(|(which, _)| which), Some("max"));
        assert_eq!(broken_limit(&input, &json!(u64::MAX - 1)), None);
    }
}
