//! The body of `POST /jobs`: read strictly, every fault at once.

use gateway_core::{ErrorCode, Fault, Priority, Timestamp};
use serde_json::{Map, Value};

use crate::error::ApiError;

const FIELDS: &str = "workflowId, inputs, params, priority, callbackUrl, metadata, output, cache, timeoutMs, notBefore";
const MAX_METADATA_BYTES: usize = 8 * 1024;
const MAX_METADATA_KEYS: usize = 64;
const MAX_REQUEST_ID: usize = 255;
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 1_000..=21_600_000;
/// How far ahead `notBefore` may lie.
const FARTHEST_MS: i64 = 366 * 24 * 3_600 * 1_000;

/// What a caller asks for.
#[derive(Debug, Default)]
pub(super) struct JobRequest {
    pub(super) workflow_id: String,
    pub(super) inputs: Map<String, Value>,
    pub(super) params: Map<String, Value>,
    pub(super) priority: Priority,
    pub(super) metadata: Map<String, Value>,
    pub(super) request_id: Option<String>,
    pub(super) timeout_ms: Option<i64>,
    pub(super) not_before: Option<Timestamp>,
}

/// Reads `body`; `now` bounds how far ahead a job may be planned. Gives what could be read, and every fault.
pub(super) fn read(body: Map<String, Value>, now: Timestamp) -> Result<(JobRequest, Vec<Fault>), ApiError> {
    let mut request = JobRequest::default();
    let mut faults = Vec::new();
    for (field, value) in body {
        let read = match field.as_str() {
            "workflowId" => read_workflow_id(value).map(|id| request.workflow_id = id),
            "inputs" => read_object(value).map(|object| request.inputs = object),
            "params" if value.is_null() => Ok(()),
            "params" => read_object(value).map(|object| request.params = object),
            "priority" => read_priority(&value).map(|priority| request.priority = priority),
            "metadata" if value.is_null() => Ok(()),
            "metadata" => read_metadata(value, &mut request, &mut faults),
            "timeoutMs" if value.is_null() => Ok(()),
            "timeoutMs" => read_timeout(&value).map(|timeout| request.timeout_ms = Some(timeout)),
            "notBefore" if value.is_null() => Ok(()),
            "notBefore" => read_time(&value, now).map(|time| request.not_before = Some(time)),
            "output" => read_output(value, &mut faults),
            "cache" if value.is_boolean() => Ok(()),
            "cache" => Err(String::from("must be true or false")),
            "callbackUrl" if value.is_null() => Ok(()),
            "callbackUrl" => return Err(no_webhooks()),
            _ => Err(format!("unknown field; there are: {FIELDS}")),
        };
        if let Err(message) = read {
            faults.push(Fault::new(format!("/{field}"), message));
        }
    }
    if request.workflow_id.is_empty() && !faults.iter().any(|fault| fault.path == "/workflowId") {
        faults.push(Fault::new("/workflowId", "is missing; GET /workflows lists those that are registered"));
    }
    Ok((request, faults))
}

/// Accepting a URL that is never called would be a silent loss.
fn no_webhooks() -> ApiError {
    ApiError::new(ErrorCode::CallbackNotAllowed, "this gateway sends no webhooks")
        .recommend("leave callbackUrl out and follow GET /jobs/{id} or /jobs/{id}/events")
}

fn read_workflow_id(value: Value) -> Result<String, String> {
    match value {
        Value::String(id) if !id.is_empty() => Ok(id),
        _ => Err(String::from("must be the id of a workflow (a string)")),
    }
}

fn read_object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(String::from("must be an object")),
    }
}

fn read_priority(value: &Value) -> Result<Priority, String> {
    let priority = match value {
        Value::String(name) => Priority::parse(name),
        Value::Number(number) => number.as_u64().and_then(Priority::of_number),
        _ => None,
    };
    priority.ok_or_else(|| String::from("must be low, normal, high, or a whole number from 0 to 9"))
}

fn read_timeout(value: &Value) -> Result<i64, String> {
    let timeout = value.as_u64().filter(|millis| TIMEOUT_MS.contains(millis));
    timeout
        .and_then(|millis| i64::try_from(millis).ok())
        .ok_or_else(|| format!("must be a whole number from {} to {}", TIMEOUT_MS.start(), TIMEOUT_MS.end()))
}

fn read_time(value: &Value, now: Timestamp) -> Result<Timestamp, String> {
    let time = value
        .as_str()
        .and_then(Timestamp::parse)
        .ok_or_else(|| String::from("must be an RFC 3339 time such as 2026-11-24T12:00:00Z"))?;
    if time.millis_since(now) > FARTHEST_MS {
        return Err(String::from("must be within the next 366 days"));
    }
    Ok(time)
}

fn read_metadata(value: Value, request: &mut JobRequest, faults: &mut Vec<Fault>) -> Result<(), String> {
    let metadata = read_object(value)?;
    let size = serde_json::to_string(&metadata).map(|text| text.len()).unwrap_or(usize::MAX);
    if size > MAX_METADATA_BYTES {
        return Err(format!("is {size} bytes of JSON; at most {MAX_METADATA_BYTES} are kept"));
    }
    if metadata.len() > MAX_METADATA_KEYS {
        return Err(format!("has {} keys; at most {MAX_METADATA_KEYS} are kept", metadata.len()));
    }
    match metadata.get("requestId") {
        None => {}
        Some(Value::String(id)) if is_request_id(id) => request.request_id = Some(id.clone()),
        Some(_) => faults.push(Fault::new(
            "/metadata/requestId",
            format!("must be a string of 1 to {MAX_REQUEST_ID} characters with no space around it"),
        )),
    }
    request.metadata = metadata;
    Ok(())
}

fn is_request_id(id: &str) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.chars().count()) && id.trim() == id && !id.contains(char::is_control)
}

fn read_output(value: Value, faults: &mut Vec<Fault>) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    for (field, value) in read_object(value)? {
        match (field.as_str(), value.as_str()) {
            ("delivery", Some("url")) => {}
            ("delivery", _) => faults.push(Fault::new("/output/delivery", "must be url: this gateway delivers by URL")),
            ("format" | "quality", _) => {
                faults
                    .push(Fault::new(format!("/output/{field}"), "this gateway delivers outputs as ComfyUI made them"));
            }
            _ => faults.push(Fault::new(format!("/output/{field}"), "unknown field; there is: delivery")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(body: Value) -> Vec<String> {
        let (_, faults) = read(body.as_object().unwrap().clone(), Timestamp::from_millis(0)).unwrap();
        faults.into_iter().map(|fault| fault.path).collect()
    }

    fn with(field: &str, value: Value) -> Value {
        json!({"workflowId": "w", "inputs": {}, field: value})
    }

    #[test]
    fn a_full_request_is_read() {
        let body = json!({
            "workflowId": "w", "inputs": {"a": 1}, "params": {"b": 2}, "priority": 9, "cache": false,
            "metadata": {"requestId": "r-1", "x": [1]}, "timeoutMs": 1000, "notBefore": "1970-01-02T00:00:00Z",
            "output": {"delivery": "url"},
        });
        let (request, faults) = read(body.as_object().unwrap().clone(), Timestamp::from_millis(0)).unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(request.priority, Priority::High);
        assert_eq!(request.request_id.as_deref(), Some("r-1"));
        assert_eq!(request.timeout_ms, Some(1000));
        assert_eq!(request.not_before, Some(Timestamp::from_millis(86_400_000)));
    }

    #[test]
    fn unknown_fields_are_named_all_at_once() {
        let body = json!({"workflowId": "w", "state": "x", "isAdmin": true, "epoch": 1, "priority": "root"});
        assert_eq!(faults(body), ["/state", "/isAdmin", "/epoch", "/priority"]);
    }

    #[test]
    fn values_out_of_range_are_refused_and_never_changed() {
        for (field, value) in [
            ("priority", json!("root")),
            ("priority", json!(11)),
            ("priority", json!(-1)),
            ("priority", json!(null)),
            ("timeoutMs", json!(0)),
            ("timeoutMs", json!(1_000_000_000)),
            ("timeoutMs", json!("1000")),
            ("notBefore", json!("tomorrow")),
            ("notBefore", json!("2036-01-01T00:00:00Z")),
            ("notBefore", json!(-1)),
            ("inputs", json!([])),
            ("inputs", json!(null)),
            ("params", json!("x")),
            ("cache", json!("no")),
            ("metadata", json!([])),
            ("metadata", json!({"x": "y".repeat(9_000)})),
            ("metadata", json!((0..65).map(|n| (n.to_string(), json!(n))).collect::<Map<_, _>>())),
            ("output", json!("x")),
        ] {
            assert_eq!(faults(with(field, value.clone())), [format!("/{field}")], "{field}: {value}");
        }
        for (value, path) in [
            (json!({"delivery": "base64"}), "/output/delivery"),
            (json!({"format": "webp"}), "/output/format"),
            (json!({"colour": 1}), "/output/colour"),
        ] {
            assert_eq!(faults(with("output", value)), [path]);
        }
        for id in ["", " a", "a ", "a\u{1}b", &"x".repeat(256)] {
            assert_eq!(faults(with("metadata", json!({"requestId": id}))), ["/metadata/requestId"], "{id:?}");
        }
    }

    #[test]
    fn a_callback_is_refused_rather_than_never_called() {
        let body = with("callbackUrl", json!("https://example.com/"));
        let error = read(body.as_object().unwrap().clone(), Timestamp::from_millis(0)).unwrap_err();
        assert_eq!(error.code, ErrorCode::CallbackNotAllowed);
    }

    #[test]
    fn a_missing_workflow_is_named() {
        assert_eq!(faults(json!({})), ["/workflowId"]);
        assert_eq!(faults(json!({"workflowId": 7})), ["/workflowId"]);
    }
}
