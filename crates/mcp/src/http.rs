//! Streamable HTTP as a transport, without sessions: each POST is answered by itself, by whichever process gets it. Says
//! what to answer in plain types; whose server it is, and whether it may be asked at all, is decided before.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use gateway_core::Fault;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Map, Value};

use crate::gateway::Gateway;
use crate::server::Server;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
/// What headers of the protocol begin with.
const OWN: &str = "mcp-";
/// How long an answer may take before its stream is begun without it: proxies end a connection on which nothing comes.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often something is sent on a stream on which nothing happens. A client that has gone is noticed by it, too.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

type Answer = Response<BoxBody<Bytes, Infallible>>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What to answer.
pub enum Reply {
    /// A message was taken that has no answer.
    Accepted,
    /// One JSON-RPC message, with the HTTP status that goes with it.
    Message(u16, Bytes),
    /// Server-Sent Events: messages, the last of them the answer. What is dropped before its end is not wanted any more.
    Events(BoxStream<'static, Bytes>),
    /// The request is not one of the protocol, for this reason.
    Refused(String),
}

/// What is wrong with `message` as one of JSON-RPC 2.0, each with its JSON pointer.
pub fn faults(message: &Map<String, Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        faults.push(Fault::new("/jsonrpc", "must be \"2.0\""));
    }
    if message.get("method").and_then(Value::as_str).is_none_or(str::is_empty) {
        faults.push(Fault::new("/method", "must be the name of a method (a string)"));
    }
    if message.get("id").is_some_and(|id| !id.is_string() && !id.is_i64()) {
        faults.push(Fault::new("/id", "must be a string or a whole number"));
    }
    if message.get("params").is_some_and(|params| !params.is_object()) {
        faults.push(Fault::new("/params", "must be an object"));
    }
    let known = |name: &str| matches!(name, "jsonrpc" | "method" | "id" | "params");
    let unknown = message.keys().filter(|name| !known(name));
    faults.extend(unknown.map(|name| {
        let shown: String = name.chars().take(64).collect();
        let pointer = format!("/{}", shown.replace('~', "~0").replace('/', "~1"));
        Fault::new(pointer, "unknown field; there are: jsonrpc, id, method, params")
    }));
    faults
}

/// Has `server` answer the POST of `body`, of whose `headers` those count that are of the protocol.
pub async fn answer<'h, G: Gateway>(
    server: Server<G>,
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    body: Bytes,
) -> Reply {
    let request = request(headers, body);
    // Whose pages may call, and how large a body may be, was looked at. Host names are a proxy's to check: what the
    // gateway is called outside, it does not know.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_keep_alive(Some(KEEP_ALIVE))
        .with_max_request_body_bytes(usize::MAX)
        .disable_allowed_hosts();
    let service =
        StreamableHttpService::new(move || Ok(server.clone()), Arc::new(NeverSessionManager::default()), config);
    let mut answering: Answering = Box::pin(async move { service.handle(request).await });
    match tokio::time::timeout(PATIENCE, &mut answering).await {
        Ok(answer) => reply(answer).await,
        Err(_elapsed) => Reply::Events(begun(answering)),
    }
}

/// The request as the SDK reads it. Credentials and whatever else came along stay out of it.
fn request<'h>(headers: impl Iterator<Item = (&'h str, &'h [u8])>, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = http::Method::POST;
    let own = request.headers_mut();
    own.insert(HOST, HeaderValue::from_static("localhost"));
    own.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    for (name, value) in headers.filter(|(name, _)| *name == ACCEPT.as_str() || name.starts_with(OWN)) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
            own.append(name, value);
        }
    }
    if accepts_anything(own) {
        own.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    }
    request
}

/// Whether a client says nothing of the form of answers, or that any will do.
fn accepts_anything(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    said.peek().is_none() || said.any(|value| value.split(',').any(|each| each.trim().starts_with("*/*")))
}

fn is(answer: &Answer, media: &str) -> bool {
    answer.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(media.as_bytes()))
}

async fn reply(answer: Answer) -> Reply {
    if is(&answer, EVENTS) {
        return Reply::Events(data(answer));
    }
    let (json, status) = (is(&answer, JSON), answer.status());
    let bytes = whole(answer).await;
    match status {
        status if json => Reply::Message(status.as_u16(), bytes),
        StatusCode::ACCEPTED => Reply::Accepted,
        // What reads JSON-RPC says so of what is none of its messages; the media type was right.
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Reply::Refused(String::from("the body is no message of MCP")),
        _ => Reply::Refused(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

async fn whole(answer: Answer) -> Bytes {
    match answer.into_body().collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(never) => match never {},
    }
}

fn data(answer: Answer) -> BoxStream<'static, Bytes> {
    let data = answer.into_body().into_data_stream();
    data.map(|data| match data {
        Ok(data) => data,
        Err(never) => match never {},
    })
    .boxed()
}

/// A stream that was begun before there is an answer, and has it later.
fn begun(answering: Answering) -> BoxStream<'static, Bytes> {
    let rest = stream::unfold(Some(answering), |answering| async move {
        let mut answering = answering?;
        match tokio::time::timeout(KEEP_ALIVE, &mut answering).await {
            Ok(answer) => Some((late(answer).await, None)),
            Err(_elapsed) => Some((comment(), Some(answering))),
        }
    });
    comment().chain(rest.flatten()).boxed()
}

/// An answer that comes when its stream was begun.
async fn late(answer: Answer) -> BoxStream<'static, Bytes> {
    if is(&answer, EVENTS) {
        return data(answer);
    }
    let message = whole(answer).await;
    let event = Bytes::from([b"data: ", message.as_ref(), b"\n\n"].concat());
    stream::once(std::future::ready(event)).boxed()
}

fn comment() -> BoxStream<'static, Bytes> {
    stream::once(std::future::ready(Bytes::from_static(b": still here\n\n"))).boxed()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(message: Value) -> Vec<String> {
        faults(message.as_object().unwrap()).into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn messages_are_read_strictly() {
        for good in [
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
            json!({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": "x"}}),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        ] {
            assert_eq!(paths(good), [""; 0]);
        }
        for (bad, wanted) in [
            (json!({}), vec!["/jsonrpc", "/method"]),
            (json!({"jsonrpc": "1.0", "method": ""}), vec!["/jsonrpc", "/method"]),
            (json!({"jsonrpc": "2.0", "method": "m", "id": null}), vec!["/id"]),
            (json!({"jsonrpc": "2.0", "method": "m", "id": 1.5, "params": []}), vec!["/id", "/params"]),
            (json!({"jsonrpc": "2.0", "id": 1, "result": {}}), vec!["/method", "/result"]),
            (json!({"jsonrpc": "2.0", "method": "m", "a/b": 1}), vec!["/a~1b"]),
        ] {
            assert_eq!(paths(bad.clone()), wanted, "{bad}");
        }
    }

    #[test]
    fn credentials_are_not_handed_on_and_any_form_of_answer_will_do() {
        let read = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
            let request = request(headers, Bytes::new());
            let mut names: Vec<_> = request.headers().keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            (names.join(" "), request.headers()[ACCEPT].to_str().unwrap().to_owned())
        };
        let both = "application/json, text/event-stream";
        let secret = [("x-api-key", "k"), ("authorization", "Bearer k"), ("cookie", "k"), ("mcp-method", "tools/list")];
        assert_eq!(read(&secret), ("accept content-type host mcp-method".into(), both.into()));
        assert_eq!(read(&[("accept", "text/html, */*;q=0.8")]).1, both);
        assert_eq!(read(&[("accept", "application/json")]).1, "application/json");
    }
}
