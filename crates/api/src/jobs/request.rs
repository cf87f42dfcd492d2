//! The body of `POST /jobs`: read strictly, every fault at once.

use gateway_core::ids::is_raw_workflow_id;
use gateway_core::record::Job;
use gateway_core::webhook::{Callback, WebhookEvent};
use gateway_core::workflow::deeper_than;
use gateway_core::{Fault, Priority, Timestamp};
use gateway_media::Conversion;
use serde_json::{Map, Value};

const FIELDS: &str = "workflowId, workflow, inputs, params, priority, callbackUrl, webhookEvents, metadata, output, \
                      cache, timeoutMs, notBefore";
const MAX_METADATA_BYTES: usize = 8 * 1024;
const MAX_METADATA_KEYS: usize = 64;
/// Objects and lists within each other, itself among them.
const MAX_METADATA_DEPTH: usize = 4;
const MAX_REQUEST_ID: usize = 255;
pub(super) const REQUEST_ID: &str = "must be a string of 1 to 255 characters with no space around it";
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 1_000..=21_600_000;
/// How far ahead `notBefore` may lie.
const FARTHEST_MS: i64 = 366 * 24 * 3_600 * 1_000;

/// What a caller asks for.
#[derive(Debug, Default, Clone)]
pub(crate) struct JobRequest {
    pub(crate) workflow_id: String,
    /// A graph in place of that, as it was sent.
    pub(crate) graph: Option<Value>,
    pub(crate) inputs: Map<String, Value>,
    pub(crate) params: Map<String, Value>,
    pub(crate) priority: Priority,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) request_id: Option<String>,
    pub(crate) timeout_ms: Option<i64>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) callback: Option<Callback>,
    /// Whether a result of before may serve, and this one later.
    pub(crate) cache: bool,
    pub(crate) output: OutputWish,
}

impl JobRequest {
    /// What was asked for when `job` was accepted, to be run anew.
    pub(super) fn again(job: Job) -> Self {
        Self {
            workflow_id: job.workflow_id,
            graph: None,
            inputs: job.inputs,
            params: job.params,
            priority: job.priority,
            metadata: job.metadata,
            request_id: job.request_id,
            timeout_ms: job.timeout_ms,
            not_before: None,
            callback: job.options.callback,
            cache: false,
            output: OutputWish { base64: job.options.base64, format: job.options.format, quality: job.options.quality },
        }
    }
}

/// In what form the outputs are wanted.
#[derive(Debug, Default, Clone)]
pub(crate) struct OutputWish {
    pub(crate) base64: bool,
    pub(crate) format: Option<String>,
    pub(crate) quality: Option<u32>,
}

/// Reads `body`; `now` bounds how far ahead a job may be planned. Gives what could be read, and every fault.
pub(crate) fn read(body: Map<String, Value>, now: Timestamp) -> (JobRequest, Vec<Fault>) {
    let mut request = JobRequest { cache: true, ..JobRequest::default() };
    let mut faults = Vec::new();
    let mut events = None;
    for (field, value) in body {
        let read = match field.as_str() {
            "workflowId" => read_workflow_id(value).map(|id| request.workflow_id = id),
            "workflow" => {
                request.graph = Some(value);
                Ok(())
            }
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
            "output" => read_output(value, &mut faults).map(|wish| request.output = wish),
            "cache" => value.as_bool().map(|cache| request.cache = cache).ok_or(String::from("must be true or false")),
            "callbackUrl" if value.is_null() => Ok(()),
            "callbackUrl" => read_url(value).map(|url| request.callback = Some(url)),
            "webhookEvents" if value.is_null() => Ok(()),
            "webhookEvents" => read_events(&value).map(|wanted| events = Some(wanted)),
            _ => Err(format!("unknown field; there are: {FIELDS}")),
        };
        if let Err(message) = read {
            faults.push(Fault::new(format!("/{field}"), message));
        }
    }
    check_workflow(&request, &mut faults);
    match (&mut request.callback, events) {
        (Some(callback), Some(events)) => callback.events = events,
        (None, Some(_)) => faults.push(Fault::new("/webhookEvents", "is of no use without callbackUrl")),
        _ => {}
    }
    (request, faults)
}

/// Either the id of a workflow or a graph, which has its values in it.
fn check_workflow(request: &JobRequest, faults: &mut Vec<Fault>) {
    if request.graph.is_none() {
        if request.workflow_id.is_empty() && !faults.iter().any(|fault| fault.path == "/workflowId") {
            faults.push(Fault::new("/workflowId", "is missing; GET /workflows lists those that are registered"));
        }
        return;
    }
    if !request.workflow_id.is_empty() {
        faults.push(Fault::new("/workflow", "can't be given beside workflowId"));
    }
    for (field, values) in [("/inputs", &request.inputs), ("/params", &request.params)] {
        if !values.is_empty() {
            faults.push(Fault::new(field, "is of no use beside workflow: the values stand in the graph"));
        }
    }
}

/// Whether it may be called is looked at later.
pub(crate) fn read_url(value: Value) -> Result<Callback, String> {
    match value {
        Value::String(url) if !url.is_empty() => Ok(Callback { url, events: WebhookEvent::FINAL.to_vec() }),
        _ => Err(String::from("must be a URL (a string)")),
    }
}

fn read_events(value: &Value) -> Result<Vec<WebhookEvent>, String> {
    let names = WebhookEvent::OF_JOBS.map(WebhookEvent::as_str).join(", ");
    let wanted = || format!("must be a list of one or more of {names}");
    let items = value.as_array().filter(|items| !items.is_empty()).ok_or_else(wanted)?;
    let events: Option<Vec<WebhookEvent>> =
        items.iter().map(|item| item.as_str().and_then(WebhookEvent::parse)).collect();
    let mut events = events.ok_or_else(wanted)?;
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

fn read_workflow_id(value: Value) -> Result<String, String> {
    match value {
        Value::String(id) if is_raw_workflow_id(&id) => {
            Err(String::from("names a graph that came with a job: send that graph as workflow, or retry the job"))
        }
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
    let (metadata, request_id) = metadata(value, faults)?;
    (request.metadata, request.request_id) = (metadata, request_id);
    Ok(())
}

/// The caller's notes, and the request's id among them.
pub(crate) fn metadata(value: Value, faults: &mut Vec<Fault>) -> Result<(Map<String, Value>, Option<String>), String> {
    let metadata = read_object(value)?;
    let size = serde_json::to_string(&metadata).map(|text| text.len()).unwrap_or(usize::MAX);
    if size > MAX_METADATA_BYTES {
        return Err(format!("is {size} bytes of JSON; at most {MAX_METADATA_BYTES} are kept"));
    }
    if metadata.len() > MAX_METADATA_KEYS {
        return Err(format!("has {} keys; at most {MAX_METADATA_KEYS} are kept", metadata.len()));
    }
    if metadata.values().any(|value| deeper_than(value, MAX_METADATA_DEPTH - 1)) {
        return Err(format!("is more than {MAX_METADATA_DEPTH} levels deep"));
    }
    let mut request_id = None;
    match metadata.get("requestId") {
        None => {}
        Some(Value::String(id)) if is_request_id(id) => request_id = Some(id.clone()),
        Some(_) => faults.push(Fault::new("/metadata/requestId", REQUEST_ID)),
    }
    Ok((metadata, request_id))
}

pub(super) fn is_request_id(id: &str) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.chars().count()) && id.trim() == id && !id.contains(char::is_control)
}

pub(crate) fn read_output(value: Value, faults: &mut Vec<Fault>) -> Result<OutputWish, String> {
    let mut wish = OutputWish::default();
    if value.is_null() {
        return Ok(wish);
    }
    for (field, value) in read_object(value)? {
        match (field.as_str(), &value) {
            ("delivery", Value::String(delivery)) if delivery == "url" => wish.base64 = false,
            ("delivery", Value::String(delivery)) if delivery == "base64" => wish.base64 = true,
            ("delivery", _) => faults.push(Fault::new("/output/delivery", "must be url or base64")),
            ("format" | "quality", Value::Null) => {}
            ("format", Value::String(format)) => wish.format = Some(format.clone()),
            ("format", _) => faults.push(Fault::new("/output/format", "must be png, jpeg or webp")),
            ("quality", _) => match value.as_u64().and_then(|quality| u32::try_from(quality).ok()) {
                Some(quality) => wish.quality = Some(quality),
                None => faults.push(Fault::new("/output/quality", "must be a whole number from 1 to 100")),
            },
            _ => faults
                .push(Fault::new(format!("/output/{field}"), "unknown field; there are: delivery, format, quality")),
        }
    }
    if let Err(wrong) = Conversion::new(wish.format.as_deref(), wish.quality, None, None) {
        faults.extend(wrong.into_iter().map(|(field, message)| Fault::new(format!("/output/{field}"), message)));
    }
    Ok(wish)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(body: Value) -> Vec<String> {
        let (_, faults) = read(body.as_object().unwrap().clone(), Timestamp::from_millis(0));
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
            "output": {"delivery": "base64", "format": "webp", "quality": 80},
            "callbackUrl": "https://example.com/x", "webhookEvents": ["job.started", "job.failed", "job.failed"],
        });
        let (request, faults) = read(body.as_object().unwrap().clone(), Timestamp::from_millis(0));
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(request.priority, Priority::High);
        assert_eq!(request.request_id.as_deref(), Some("r-1"));
        assert_eq!(request.timeout_ms, Some(1000));
        assert_eq!(request.not_before, Some(Timestamp::from_millis(86_400_000)));
        assert!(request.output.base64 && !request.cache);
        assert_eq!((request.output.format.as_deref(), request.output.quality), (Some("webp"), Some(80)));
        assert_eq!(request.callback.unwrap().events, [WebhookEvent::Started, WebhookEvent::Failed]);
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
            (json!({"delivery": "fax"}), "/output/delivery"),
            (json!({"format": "tiff"}), "/output/format"),
            (json!({"format": "jpeg", "quality": 0}), "/output/quality"),
            (json!({"format": "jpeg", "quality": "best"}), "/output/quality"),
            (json!({"colour": 1}), "/output/colour"),
        ] {
            assert_eq!(faults(with("output", value)), [path]);
        }
        for id in ["", " a", "a ", "a\u{1}b", &"x".repeat(256)] {
            assert_eq!(faults(with("metadata", json!({"requestId": id}))), ["/metadata/requestId"], "{id:?}");
        }
    }

    #[test]
    fn events_are_named_and_need_somebody_to_be_told() {
        let body =
            |events: Value| json!({"workflowId": "w", "callbackUrl": "https://a.example/", "webhookEvents": events});
        for bad in [json!([]), json!("job.failed"), json!(["job.lost"]), json!([1]), json!(["batch.completed"])] {
            assert_eq!(faults(body(bad.clone())), ["/webhookEvents"], "{bad}");
        }
        assert_eq!(faults(body(json!(["job.progress"]))), [""; 0]);
        assert_eq!(faults(with("webhookEvents", json!(["job.failed"]))), ["/webhookEvents"]);
        assert_eq!(faults(with("callbackUrl", json!(7))), ["/callbackUrl"]);
    }

    #[test]
    fn a_missing_workflow_is_named() {
        assert_eq!(faults(json!({})), ["/workflowId"]);
        assert_eq!(faults(json!({"workflowId": 7})), ["/workflowId"]);
    }

    #[test]
    fn a_graph_stands_in_place_of_an_id_and_its_inputs() {
        assert_eq!(faults(json!({"workflow": {}})), [""; 0]);
        assert_eq!(faults(json!({"workflow": {}, "inputs": {}, "params": {}})), [""; 0]);
        assert_eq!(faults(json!({"workflow": {}, "workflowId": "w"})), ["/workflow"]);
        assert_eq!(faults(json!({"workflow": {}, "inputs": {"a": 1}, "params": {"b": 1}})), ["/inputs", "/params"]);
        assert_eq!(faults(json!({"workflowId": "raw_0"})), ["/workflowId"]);
        for field in ["client_id", "extra_data", "number", "front", "prompt_id"] {
            assert_eq!(faults(json!({"workflow": {}, field: 1})), [format!("/{field}")], "{field}");
        }
    }
}
