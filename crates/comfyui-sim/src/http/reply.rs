//! Answers in the exact shapes of aiohttp, and the pages that only proxies send.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use crate::pyjson;

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = (status, body.into()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn json(status: StatusCode, value: &Value) -> Response {
    json_text(status, pyjson::to_string(value))
}

pub(super) fn json_text(status: StatusCode, text: String) -> Response {
    typed(status, "application/json; charset=utf-8", text)
}

pub(super) fn ok_json(value: &Value) -> Response {
    json(StatusCode::OK, value)
}

/// No body and no type.
pub(super) fn empty(status: StatusCode) -> Response {
    status.into_response()
}

pub(super) fn ok_empty() -> Response {
    empty(StatusCode::OK)
}

pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    typed(status, "text/plain; charset=utf-8", text)
}

/// What an exception that nobody catches looks like.
pub(super) fn server_error() -> Response {
    text(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error\n\nServer got itself in trouble")
}

pub(super) fn missing_file() -> Response {
    typed(StatusCode::NOT_FOUND, "application/octet-stream", Body::empty())
}

pub(super) fn method_not_allowed() -> Response {
    text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed")
}

pub(super) fn too_large(limit: u64) -> Response {
    text(StatusCode::PAYLOAD_TOO_LARGE, format!("Maximum request body size {limit} exceeded."))
}

/// A page of something in between, never of ComfyUI itself.
pub(super) fn html(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    let page = format!(
        "<html>\r\n<head><title>{code} {reason}</title></head>\r\n<body>\r\n<center><h1>{code} {reason}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    typed(status, "text/html", page)
}

pub(super) async fn proxy_not_found() -> Response {
    html(StatusCode::NOT_FOUND)
}

pub(super) async fn front_page() -> Response {
    let page = "<!doctype html><title>ComfyUI</title><p>This ComfyUI is simulated and has no pages.</p>";
    typed(StatusCode::OK, "text/html", page)
}
