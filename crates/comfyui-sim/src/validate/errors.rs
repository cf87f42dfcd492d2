//! The error objects that validation puts into `node_errors`.
//! Shapes only; when an error applies is decided elsewhere.

use serde_json::{Value, json};

use crate::definitions::{Input, InputType};
use crate::pyjson::{py_repr, py_str};

/// An exception of Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PyError {
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

impl PyError {
    pub(crate) fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    pub(crate) fn key(key: &Value) -> Self {
        Self::new("KeyError", py_repr(key))
    }
}

fn traceback(lines: &[u32]) -> Value {
    let frames: Vec<Value> = lines
        .iter()
        .map(|line| {
            let function = if *line > 900 { "validate_prompt" } else { "validate_inputs" };
            Value::from(format!("  File \"/comfyui/execution.py\", line {line}, in {function}\n"))
        })
        .collect();
    Value::from(frames)
}

fn kind_text(input: &Input) -> String {
    match &input.kind {
        InputType::Named(name) => name.clone(),
        InputType::OneOf(choices) => py_repr(&Value::from(choices.clone())),
    }
}

pub(super) fn required_missing(name: &str) -> Value {
    json!({"type": "required_input_missing", "message": "Required input is missing", "details": name,
           "extra_info": {"input_name": name}})
}

pub(super) fn bad_link(input: &Input, received: &Value) -> Value {
    json!({"type": "bad_linked_input",
           "message": "Bad linked input, must be a length-2 list of [node_id, slot_index]", "details": input.name,
           "extra_info": {"input_name": input.name, "input_config": input.config(), "received_value": received}})
}

pub(super) fn type_mismatch(input: &Input, received: &str, link: &Value) -> Value {
    let details = format!("{}, received_type({received}) mismatch input_type({})", input.name, kind_text(input));
    json!({"type": "return_type_mismatch", "message": "Return type mismatch between linked nodes", "details": details,
           "extra_info": {"input_name": input.name, "input_config": input.config(), "received_type": received,
                          "linked_node": link}})
}

pub(super) fn not_convertible(input: &Input, received: &Value, exception: &str) -> Value {
    let message = format!("Failed to convert an input value to a {} value", kind_text(input));
    let details = format!("{}, {}, {exception}", input.name, py_str(received));
    json!({"type": "invalid_input_type", "message": message, "details": details,
           "extra_info": {"input_name": input.name, "input_config": input.config(), "received_value": received,
                          "exception_message": exception}})
}

/// `which` is `min` or `max`.
pub(super) fn out_of_range(input: &Input, received: &Value, which: &str, limit: &Value) -> Value {
    let (kind, word) =
        if which == "min" { ("value_smaller_than_min", "smaller") } else { ("value_bigger_than_max", "bigger") };
    let message = format!("Value {} {word} than {which} of {}", py_str(received), py_str(limit));
    json!({"type": kind, "message": message, "details": input.name,
           "extra_info": {"input_name": input.name, "input_config": input.config(), "received_value": received}})
}

pub(super) fn not_in_list(input: &Input, received: &Value, choices: &[Value]) -> Value {
    let long = choices.len() > 20;
    let list =
        if long { format!("(list of length {})", choices.len()) } else { py_repr(&Value::from(choices.to_vec())) };
    let config = if long { Value::Null } else { input.config() };
    let details = format!("{}: '{}' not in {list}", input.name, py_str(received));
    json!({"type": "value_not_in_list", "message": "Value not in list", "details": details,
           "extra_info": {"input_name": input.name, "input_config": config, "received_value": received}})
}

pub(super) fn custom_failed(name: &str, reason: &str) -> Value {
    json!({"type": "custom_validation_failed", "message": "Custom validation failed for node",
           "details": format!("{name} - {reason}"), "extra_info": {"input_name": name}})
}

pub(super) fn raised_at_output(error: &PyError) -> Value {
    json!({"type": "exception_during_validation", "message": "Exception when validating node",
           "details": error.text,
           "extra_info": {"exception_type": error.kind, "traceback": traceback(&[1010, 788])}})
}

pub(super) fn raised_inside(input: &Input, error: &PyError, link: &Value) -> Value {
    json!({"type": "exception_during_inner_validation", "message": "Exception when validating inner node",
           "details": error.text,
           "extra_info": {"input_name": input.name, "input_config": input.config(),
                          "exception_message": error.text, "exception_type": error.kind,
                          "traceback": traceback(&[808, 788]), "linked_node": link}})
}
