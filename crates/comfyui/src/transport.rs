//! One HTTP request to ComfyUI: address, credentials, timeouts, and the sorting of answers into errors.
//! Owns the two connection pools. Knows no endpoint and never repeats a request.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect, retry,
};
use serde::de::DeserializeOwned;
use url::Url;

use crate::{
    config::{ClientConfig, ConfigError},
    error::CallError,
    json,
};

/// ComfyUI's servers keep idle connections for 75 s or more, proxies in between often for less.
const IDLE_POOL: Duration = Duration::from_secs(15);
/// A body that leaves slower than this counts as stuck.
const SLOWEST_UPLOAD_BYTES_PER_SECOND: u64 = 64 * 1024;

pub(crate) struct Transport {
    /// For requests with small bodies: no silence longer than the read timeout.
    calls: Client,
    /// For large bodies and WebSockets, where a long silence from the server is normal. HTTP/1.1 only.
    patient: Client,
    base: Url,
    display: String,
    credentials: Option<(String, Option<String>)>,
    pub(crate) config: ClientConfig,
}

/// The head of an answer sorted by what its body can be.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: BodyKind,
    pub(crate) response: Response,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Json,
    Html,
    Untyped,
    Other,
}

impl Transport {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        // Another part of the process may have installed a provider; any one will do.
        let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let base = config.bare_url()?;
        let headers = config.header_map()?;
        let credentials = config.credentials().filter(|_| !headers.contains_key(AUTHORIZATION));
        let builder = |headers: HeaderMap| {
            Client::builder()
                .default_headers(headers)
                .user_agent(concat!("comfyui-client/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(config.connect_timeout)
                .pool_idle_timeout(IDLE_POOL)
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .referer(false)
                .no_proxy()
        };
        let build =
            |builder: reqwest::ClientBuilder| builder.build().map_err(|source| ConfigError::BuildClient { source });
        let calls = build(builder(headers.clone()).read_timeout(config.read_timeout))?;
        let patient = build(builder(headers).http1_only())?;
        let display = base.as_str().trim_end_matches('/').to_owned();
        Ok(Self { calls, patient, base, display, credentials, config })
    }

    pub(crate) fn display_url(&self) -> &str {
        &self.display
    }

    /// The address of a route below the base path. Segments are percent-encoded.
    pub(crate) fn url(&self, segments: &[&str]) -> Result<Url, CallError> {
        // These segments would be dropped or climb, so that the address of another resource came out.
        if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return Err(CallError::InvalidArgument { what: "an empty or dotted name" });
        }
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(segments),
            Err(()) => return Err(CallError::InvalidArgument { what: "the base address" }),
        };
        Ok(url)
    }

    /// A request that is expected to be answered soon.
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.traced(self.authorise(self.calls.request(method, url)))
    }

    /// A request with a body of `length` bytes, which may take its time to be sent.
    pub(crate) fn upload(&self, url: Url, length: u64) -> RequestBuilder {
        let allowance = Duration::from_secs(length / SLOWEST_UPLOAD_BYTES_PER_SECOND);
        let limit = self.config.connect_timeout + self.config.read_timeout + allowance;
        self.traced(self.authorise(self.patient.post(url))).timeout(limit)
    }

    /// A GET on an HTTP/1.1 connection without a limit on silence, for upgrades.
    pub(crate) fn long_lived(&self, url: Url) -> RequestBuilder {
        self.authorise(self.patient.get(url))
    }

    fn authorise(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            Some((user, password)) => request.basic_auth(user, password.as_ref()),
            None => request,
        }
    }

    fn traced(&self, request: RequestBuilder) -> RequestBuilder {
        match self.config.trace_parent.and_then(|current| current()) {
            Some(parent) => request.header("traceparent", parent),
            None => request,
        }
    }

    /// Sends a GET with query parameters and returns the answer if its status is a success.
    pub(crate) async fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Answer, CallError> {
        let mut url = self.url(segments)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        send(self.request(Method::GET, url)).await?.success()
    }

    /// Sends a GET and parses the JSON answer.
    pub(crate) async fn get_json<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        segments: &[&str],
    ) -> Result<T, CallError> {
        let answer = self.get(segments, &[]).await?;
        self.read_json(operation, answer).await
    }

    /// Sends a small JSON body and returns the answer if its status is a success.
    pub(crate) async fn post(&self, segments: &[&str], body: &serde_json::Value) -> Result<Answer, CallError> {
        let url = self.url(segments)?;
        send(self.request(Method::POST, url).json(body)).await?.success()
    }

    /// Reads and parses the body of a JSON answer.
    pub(crate) async fn read_json<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        answer: Answer,
    ) -> Result<T, CallError> {
        let status = answer.status.as_u16();
        match answer.body {
            BodyKind::Json | BodyKind::Untyped => {}
            BodyKind::Html => return Err(CallError::Misconfigured { status, reason: HTML_REASON }),
            BodyKind::Other => {
                return Err(CallError::Malformed { operation, reason: "the body is not JSON".to_owned() });
            }
        }
        let body = self.read_body(answer.response).await?;
        json::parse(&body).map_err(|error| CallError::Malformed { operation, reason: shape_of(&error) })
    }

    async fn read_body(&self, mut response: Response) -> Result<Bytes, CallError> {
        let limit = self.config.max_json_bytes;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(CallError::from_body)? {
            if body.len() + chunk.len() > limit {
                return Err(CallError::AnswerTooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// Where and how a document breaks; serde's own words could repeat content of the answer.
fn shape_of(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "unexpected structure",
        serde_json::error::Category::Eof => "it ends early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON",
    };
    format!("{kind} at line {} column {}", error.line(), error.column())
}

/// Sends a request and sorts the head of its answer; any status is fine here.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, CallError> {
    let response = request.send().await.map_err(CallError::from_send)?;
    let body = body_kind(response.headers());
    Ok(Answer { status: response.status(), body, response })
}

impl Answer {
    /// The answer if its status is a success, else the error that the status means.
    pub(crate) fn success(self) -> Result<Self, CallError> {
        if self.status.is_success() { Ok(self) } else { Err(status_error(self.status, self.body)) }
    }
}

/// The text of a header, if it is present and plain ASCII.
pub(crate) fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(HeaderValue::to_str)?.ok().map(str::to_owned)
}

fn body_kind(headers: &HeaderMap) -> BodyKind {
    let Some(value) = headers.get(CONTENT_TYPE) else { return BodyKind::Untyped };
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence == "application/json" || essence.ends_with("+json") {
        BodyKind::Json
    } else if matches!(essence, "text/html" | "application/xhtml+xml") {
        BodyKind::Html
    } else {
        BodyKind::Other
    }
}

const HTML_REASON: &str = "a web page came back instead of ComfyUI's answer: \
    the address leads to a proxy, a login page or another program";

/// The error that a status outside of 2xx means, whatever route it came from.
pub(crate) fn status_error(status: StatusCode, body: BodyKind) -> CallError {
    let code = status.as_u16();
    let reason = match code {
        300..=399 => "ComfyUI's address redirects elsewhere: give the final address, or let the client past the login",
        401 => "the server in front of ComfyUI asks for credentials, or refuses the configured ones",
        407 => "a proxy in front of ComfyUI asks for credentials",
        403 => "access to ComfyUI is forbidden: a proxy or ComfyUI's own check of Host and Origin refuses the client",
        408 | 425 | 429 | 500.. => return CallError::Status { status: code, hint: status_hint(code) },
        _ if body == BodyKind::Html => HTML_REASON,
        _ => return CallError::Status { status: code, hint: status_hint(code) },
    };
    CallError::Misconfigured { status: code, reason }
}

fn status_hint(status: u16) -> &'static str {
    match status {
        400 => "it refuses the request as invalid",
        404 => "there is nothing under that name",
        405 => "this version does not have that route",
        408 | 504 => "something in between gave up waiting",
        413 => "the request is too large",
        429 => "too many requests",
        500 => "it failed inside",
        502 | 503 => "it is not running behind its proxy, or still starting",
        _ => "unexpected status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(base: &str) -> Transport {
        Transport::new(ClientConfig::new(base).unwrap()).unwrap()
    }

    #[test]
    fn routes_stay_below_the_path_prefix_and_names_are_encoded() {
        for base in ["http://host:8188/gpu/one", "http://host:8188/gpu/one/", "http://u:p@host:8188/gpu/one?x#y"] {
            let url = transport(base).url(&["history", "a/b c?d"]).unwrap();
            assert_eq!(url.as_str(), "http://host:8188/gpu/one/history/a%2Fb%20c%3Fd");
        }
        assert_eq!(transport("http://host").url(&["queue"]).unwrap().as_str(), "http://host/queue");
    }

    #[test]
    fn names_that_would_climb_or_vanish_are_refused() {
        for name in ["", ".", ".."] {
            let refused = transport("http://host").url(&["history", name]);
            assert!(matches!(refused, Err(CallError::InvalidArgument { .. })), "{name:?}");
        }
    }

    #[test]
    fn the_shown_address_has_no_credentials() {
        assert_eq!(transport("https://u:p@host/x/").display_url(), "https://host/x");
    }

    #[test]
    fn statuses_are_sorted_by_what_can_be_done_about_them() {
        let class = |code: u16, body| status_error(StatusCode::from_u16(code).unwrap(), body);
        for code in [301, 302, 307, 401, 403, 407] {
            assert!(matches!(class(code, BodyKind::Other), CallError::Misconfigured { .. }), "{code}");
        }
        assert!(matches!(class(404, BodyKind::Html), CallError::Misconfigured { .. }));
        assert!(class(404, BodyKind::Other).is_not_found());
        for code in [408, 429, 500, 502, 503, 504] {
            assert!(class(code, BodyKind::Html).is_transient(), "{code}");
        }
        assert!(!class(400, BodyKind::Json).is_transient());
    }

    #[test]
    fn json_answers_are_told_by_their_type() {
        let kind = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
            body_kind(&headers)
        };
        assert_eq!(kind("application/json; charset=utf-8"), BodyKind::Json);
        assert_eq!(kind("application/problem+json"), BodyKind::Json);
        assert_eq!(kind("Text/HTML;charset=utf-8"), BodyKind::Html);
        assert_eq!(kind("text/plain"), BodyKind::Other);
        assert_eq!(body_kind(&HeaderMap::new()), BodyKind::Untyped);
    }
}
