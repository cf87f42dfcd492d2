//! What the tests of the contract share.

use gateway_core::{ErrorCode, Timestamp};
use gateway_testkit::{Answer, TestBuilder, TestGateway, tiny_workflow};
pub(super) use gateway_testkit::{from_now, text};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A gateway with the workflow `tiny` whose ComfyUI is never there: what is queued stays queued.
pub(super) async fn offline() -> TestGateway {
    let test = TestBuilder::default().comfyui_url("http://127.0.0.1:9").start_unready().await;
    test.register("tiny", tiny_workflow()).await;
    test
}

/// Sends `request`, reads the whole answer.
pub(super) async fn answer(request: RequestBuilder) -> Answer {
    Answer::read(request.send().await.expect("an answer")).await
}

/// `method path` with these headers.
pub(super) async fn with(test: &TestGateway, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = test.client().request(method, test.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request).await
}

/// Asserts that `answer` is a whole problem response with this code; gives its body.
#[track_caller]
pub(super) fn problem(answer: &Answer, code: ErrorCode) -> Value {
    let body = answer.json();
    let text = String::from_utf8_lossy(&answer.bytes);
    assert_eq!((answer.status, answer.code().as_str()), (code.status(), code.as_str()), "{text}");
    assert_eq!(answer.header("content-type"), "application/problem+json", "{text}");
    assert_eq!(body["status"], code.status(), "{text}");
    assert_eq!(body["title"], code.title(), "{text}");
    assert_eq!(body["retryable"], code.is_retryable(), "{text}");
    assert!(body["type"].as_str().is_some_and(|link| link.ends_with(&format!("#{}", code.as_str()))), "{text}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{text}");
    assert_eq!(body["correlationId"], answer.header("x-request-id"), "{text}");
    assert!(!answer.header("x-request-id").is_empty(), "{text}");
    let faults = body["errors"].as_array().map_or(&[][..], Vec::as_slice);
    assert!(faults.iter().all(|fault| fault["path"].is_string() && fault["message"].is_string()), "{text}");
    body
}

/// Asserts a problem about wrong inputs, with faults at exactly these paths.
#[track_caller]
pub(super) fn invalid(answer: &Answer, paths: &[&str]) -> Value {
    let body = problem(answer, ErrorCode::ValidationError);
    assert_eq!(answer.fault_paths(), paths, "{}", String::from_utf8_lossy(&answer.bytes));
    body
}

/// The names of the fields of an object, sorted.
pub(super) fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Asserts that `value` is a time as the API writes it.
#[track_caller]
pub(super) fn is_time(value: &Value) {
    let text = value.as_str().unwrap_or_default();
    assert_eq!(Timestamp::parse(text).map(|time| time.to_string()).as_deref(), Some(text), "{value}");
}

/// Sends the request line and headers exactly as given; status and all of the answer.
pub(super) async fn raw(test: &TestGateway, head: &[u8]) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(test.gateway().address()).await.expect("a connection");
    stream.write_all(head).await.expect("sent");
    let mut bytes = Vec::new();
    // A server that refuses early may reset the connection after its answer.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

/// `GET path` without anything touching the path on its way.
pub(super) async fn raw_get(test: &TestGateway, path: &[u8]) -> (u16, String) {
    let head = [b"GET ", path, b" HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"].concat();
    raw(test, &head).await
}

/// A whole text-to-picture workflow, with a schema that bounds every value.
pub(super) fn picture_workflow() -> Value {
    json!({
        "workflow": {
            "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{{checkpoint}}"}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{prompt}}", "clip": ["1", 1]}},
            "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "no {{negative}}", "clip": ["1", 1]}},
            "4": {"class_type": "EmptyLatentImage", "inputs": {
                "width": "{{width}}", "height": "{{height}}", "batch_size": "{{batch}}"
            }},
            "5": {"class_type": "KSampler", "inputs": {
                "model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0],
                "seed": "{{seed}}", "steps": "{{steps}}", "cfg": "{{cfg}}",
                "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0
            }, "_meta": {"title": "Sample"}},
            "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
            "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "picture"}}
        },
        "inputSchema": {
            "type": "object",
            "properties": {
                "prompt": {"type": "string", "minLength": 1},
                "negative": {"type": "string", "default": "text"},
                "checkpoint": {"type": "string", "default": "v1-5-random.safetensors"},
                "width": {"type": "integer", "minimum": 16, "maximum": 4096, "default": 64},
                "height": {"type": "integer", "minimum": 16, "maximum": 4096, "default": 64},
                "batch": {"type": "integer", "minimum": 1, "maximum": 64, "default": 1},
                "steps": {"type": "integer", "minimum": 1, "maximum": 150, "default": 2},
                "cfg": {"type": "number", "minimum": 0, "maximum": 30, "default": 7},
                "seed": {"type": "integer", "minimum": 0, "maximum": 18446744073709551615u64}
            },
            "required": ["prompt"]
        }
    })
}

/// Makes the simulator run until it is told to stop: samplers look for that between two steps, other nodes never.
pub(super) async fn run_for_ever(test: &TestGateway, seed: u64) -> String {
    if test.get("/workflows/picture").await.status == 404 {
        test.register("picture", picture_workflow()).await;
    }
    test.sim.update(|switches| switches.step_ms = 2_000);
    let id = test.submit("picture", json!({"prompt": "a cat", "steps": 150, "seed": seed})).await;
    test.wait_status(&id, "running").await;
    id
}

/// A plain picture in a node class that no other workflow of the tests has, so that it alone can be made to fail.
pub(super) fn fragile_workflow() -> Value {
    json!({"workflow": {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": "{{color|7}}"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}, "_meta": {"title": "Turn around"}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "fragile"}}
    }})
}
