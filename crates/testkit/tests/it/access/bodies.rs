//! What is refused of a body before or while it is read, at every route that reads one. What `api/` tests of `POST /jobs`
//! and `delivery/` of uploads is not done again.

use gateway_core::ErrorCode;
use gateway_testkit::{Answer, TestBuilder, TestGateway, tiny_workflow};
use reqwest::{Body, Method, RequestBuilder};
use serde_json::{Value, json};

use super::{ADMIN, Shown, answer, guarded, key, nothing, offline, raw, refused, request, status, wish};

/// Most bytes of a body, of jobs and of workflows where a test sets them.
const SMALL: usize = 1_000;
const MIDDLE: usize = 2_000;
const LARGE: usize = 4_000;

/// A request that is answered with `status` when its body is read.
struct Asked {
    method: Method,
    path: &'static str,
    body: Value,
    limit: usize,
    status: u16,
}

/// One for each route that reads JSON.
fn readers() -> Vec<Asked> {
    let mut workflow = tiny_workflow();
    workflow["id"] = json!("fresh");
    let asked = |method, path, body, limit, status| Asked { method, path, body, limit, status };
    vec![
        asked(Method::POST, "/keys", json!({"name": "shop"}), SMALL, 201),
        asked(Method::POST, "/workflows/tiny/validate", json!({"inputs": {"color": 1}}), SMALL, 200),
        asked(Method::POST, "/jobs", wish("tiny", json!({"color": 1})), MIDDLE, 202),
        asked(
            Method::POST,
            "/batches",
            json!({"workflowId": "tiny", "items": [{"inputs": {"color": 2}}]}),
            MIDDLE,
            202,
        ),
        asked(Method::POST, "/workflows", workflow, LARGE, 201),
        asked(Method::PUT, "/workflows/tiny", tiny_workflow(), LARGE, 200),
    ]
}

/// Routes that take nothing.
const TAKERS: [&str; 3] = ["/queue/pause", "/jobs/01900000-0000-7000-8000-000000000000/cancel", "/workers/w-1/drain"];

fn limited() -> TestBuilder {
    guarded().settings(|settings| {
        settings.http.max_json_bytes = SMALL;
        settings.http.max_job_bytes = MIDDLE;
        settings.http.max_workflow_bytes = LARGE;
    })
}

/// `body` in so many bytes.
fn padded(body: &Value, size: usize) -> Vec<u8> {
    let mut bytes = body.to_string().into_bytes();
    assert!(bytes.len() <= size, "{} bytes", bytes.len());
    bytes.resize(size, b' ');
    bytes
}

/// `bytes` without their length announced.
fn chunked(bytes: &[u8]) -> Body {
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = bytes.chunks(333).map(|chunk| Ok(chunk.to_vec())).collect();
    Body::wrap_stream(futures_util::stream::iter(chunks))
}

/// The request `asked` for, showing this, as JSON.
fn json_request(test: &TestGateway, shown: &Shown, asked: &Asked) -> RequestBuilder {
    request(test, shown, asked.method.clone(), asked.path).header("content-type", "application/json")
}

/// Sends these bytes as the JSON of `asked`.
async fn send(test: &TestGateway, asked: &Asked, body: impl Into<Body>) -> Answer {
    answer(json_request(test, &key(ADMIN), asked).body(body)).await
}

#[tokio::test]
async fn a_body_may_be_as_large_as_its_limit_and_not_a_byte_larger() {
    for chunks in [false, true] {
        let test = limited().comfyui_url(super::NOWHERE).start_unready().await;
        test.register("tiny", tiny_workflow()).await;
        for asked in readers() {
            let sized = |size: usize| {
                let bytes = padded(&asked.body, size);
                if chunks { chunked(&bytes) } else { Body::from(bytes) }
            };
            for extra in [1, 2, 60_000] {
                refused(&send(&test, &asked, sized(asked.limit + extra)).await, ErrorCode::PayloadTooLarge);
            }
            let sent = send(&test, &asked, sized(asked.limit)).await;
            assert_eq!(sent.status, asked.status, "{}: {}", asked.path, sent.json());
        }
        assert_eq!(test.get("/keys").await.json()["items"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn a_length_that_is_too_large_is_refused_before_a_byte_of_it_comes() {
    let test = offline(limited()).await;
    for asked in readers() {
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: gateway\r\nX-API-Key: {ADMIN}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            asked.method,
            asked.path,
            asked.limit + 1
        );
        let text = raw(&test, head.as_bytes()).await;
        assert!(text.contains("HTTP/1.1 413 "), "{}: {text}", asked.path);
    }
}

#[tokio::test]
async fn two_lengths_or_a_strange_one_are_no_request() {
    let test = offline(guarded()).await;
    for lengths in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: +2",
        "Content-Length: 0x2",
        "Content-Length: -1",
        "Content-Length: 2, 2",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
    ] {
        let text = format!(
            "POST /queue/pause HTTP/1.1\r\nHost: gateway\r\nX-API-Key: {ADMIN}\r\n{lengths}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n\
             GET /keys HTTP/1.1\r\nHost: gateway\r\nX-API-Key: {ADMIN}\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(&test, text.as_bytes()).await;
        assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), (400, 1), "{lengths}: {answer}");
    }
    assert_eq!(test.get("/health").await.json()["queue"]["paused"], json!(false));
}

#[tokio::test]
async fn a_compressed_body_is_read_nowhere() {
    let test = offline(guarded()).await;
    // A gzip of 10 MB of zeros has this head.
    let bomb = [&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03"[..], &[0; 2_000]].concat();
    for encoding in ["gzip", "br", "zstd", "deflate", "GZIP", "x-gzip", "gzip, gzip", "identity, br", "bogus"] {
        for asked in readers() {
            for body in [asked.body.to_string().into_bytes(), bomb.clone()] {
                let sent = json_request(&test, &key(ADMIN), &asked).header("content-encoding", encoding).body(body);
                refused(&answer(sent).await, ErrorCode::UnsupportedMediaType);
            }
        }
        for path in TAKERS {
            let sent = request(&test, &key(ADMIN), Method::POST, path).header("content-type", "application/json");
            let sent = sent.header("content-encoding", encoding).body("{}");
            refused(&answer(sent).await, ErrorCode::UnsupportedMediaType);
        }
    }
    assert_eq!(test.get("/keys").await.json()["items"], json!([]));
    let plain = json_request(&test, &key(ADMIN), &readers()[0]).header("content-encoding", "identity");
    let _made = answer(plain.json(&json!({"name": "shop"}))).await.expect(201);
}

#[tokio::test]
async fn json_that_can_be_read_in_two_ways_is_read_nowhere() {
    let test = offline(guarded()).await;
    let deep = |levels: usize| format!("{{\"name\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    let bodies = [
        (r#"{"name":"a","name":"b"}"#.to_owned(), ErrorCode::BadRequest),
        (r#"{"name":"a","n\u0061me":"b"}"#.to_owned(), ErrorCode::BadRequest),
        (r#"{"x":{"y":1,"y":1}}"#.to_owned(), ErrorCode::BadRequest),
        (r#"{"name":"a"}{"name":"b"}"#.to_owned(), ErrorCode::BadRequest),
        (r#"{"name":"a",}"#.to_owned(), ErrorCode::BadRequest),
        ("{\"name\":\"\\ud800\"}".to_owned(), ErrorCode::BadRequest),
        ("\u{feff}{\"name\":\"a\"}".to_owned(), ErrorCode::BadRequest),
        (r#"{"name":"a\u0000"}"#.to_owned(), ErrorCode::ValidationError),
        (r#"{"\u0000":"a"}"#.to_owned(), ErrorCode::ValidationError),
        (r#"{"name":18446744073709551616}"#.to_owned(), ErrorCode::ValidationError),
        (deep(64), ErrorCode::ValidationError),
        (deep(10_000), ErrorCode::ValidationError),
    ];
    for (body, code) in &bodies {
        for asked in readers() {
            refused(&send(&test, &asked, body.clone()).await, *code);
        }
        for path in TAKERS {
            let sent = request(&test, &key(ADMIN), Method::POST, path).header("content-type", "application/json");
            refused(&answer(sent.body(body.clone())).await, *code);
        }
    }
    assert_eq!(test.get("/keys").await.json()["items"], json!([]));
    assert_eq!(test.get("/health").await.json()["queue"]["paused"], json!(false));
}

#[tokio::test]
async fn nobody_unknown_learns_anything_about_bodies() {
    let test = offline(limited()).await;
    for asked in readers() {
        for body in [padded(&asked.body, asked.limit + 1), b"{".to_vec(), Vec::new()] {
            let sent = json_request(&test, &nothing(), &asked).header("content-encoding", "gzip").body(body);
            refused(&answer(sent).await, ErrorCode::AuthFailed);
        }
    }
}
