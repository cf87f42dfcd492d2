//! Who may do what: credentials of every kind at every route, owners that don't see each other, limits, what is noted of
//! it all, and what is refused before anybody reads it.

mod addresses;
mod audit;
mod bodies;
mod cors;
mod issuers;
mod keys;
mod limits;
mod owners;
mod replicas;
mod rights;
mod routes;
mod stalls;
mod tls;
mod tokens;

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_core::ErrorCode;
use gateway_testkit::{Answer, TestBuilder, TestGateway, from_now, now_ms, text, tiny_workflow};
use hmac::{Hmac, KeyInit as _, Mac as _};
use image::{ImageFormat, RgbImage};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where no ComfyUI is, nor anything else.
const NOWHERE: &str = "http://127.0.0.1:9";
/// A well-formed id that nothing has.
const UNKNOWN: &str = "01900000-0000-7000-8000-000000000000";
/// The keys of the settings: that of the administrator `boss`, and those of the users `alice` and `bob`.
const ADMIN: &str = "administrator-0123456789";
const ALICE: &str = "alice-0123456789abcdef";
const BOB: &str = "bob-0123456789abcdefgh";
const HOUR_MS: i64 = 3_600_000;

/// How a gateway begins that knows three callers. The test's own requests are the administrator's.
fn guarded() -> TestBuilder {
    let keys = format!("{ADMIN}:admin:boss, {ALICE}:user:alice,{BOB}:user:bob");
    TestBuilder::default().variable("API_KEYS", keys).key(ADMIN)
}

/// The same behind a proxy on this machine, so that a request can say where it comes from.
fn proxied() -> TestBuilder {
    guarded().variable("TRUSTED_PROXIES", "127.0.0.1")
}

/// Starts it with a ComfyUI that is never there: what is queued stays queued.
async fn offline(builder: TestBuilder) -> TestGateway {
    let test = builder.comfyui_url(NOWHERE).start_unready().await;
    test.register("tiny", tiny_workflow()).await;
    test
}

/// Starts it with a ComfyUI.
async fn online(builder: TestBuilder) -> TestGateway {
    let test = builder.start().await;
    test.register("tiny", tiny_workflow()).await;
    test
}

/// What a request shows of itself.
#[derive(Debug, Clone, Default)]
struct Shown(Vec<(&'static str, Vec<u8>)>);

impl Shown {
    /// And this header.
    fn and(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.0.push((name, value.as_ref().to_vec()));
        self
    }

    /// What its requests are answered with that are counted and let in: who shows nothing is told then that it has to.
    fn let_in(&self) -> u16 {
        let credentials = self.0.iter().any(|(name, _)| matches!(*name, "x-api-key" | "authorization"));
        if credentials { 200 } else { 401 }
    }

    /// At `address`, as a proxy says.
    fn at(self, address: &str) -> Self {
        self.and("x-forwarded-for", address)
    }
}

fn nothing() -> Shown {
    Shown::default()
}

fn key(text: &str) -> Shown {
    nothing().and("x-api-key", text)
}

fn bearer(text: &str) -> Shown {
    nothing().and("authorization", format!("Bearer {text}"))
}

/// Another address for each number.
fn somewhere(number: usize) -> String {
    let [.., high, middle, low] = number.to_be_bytes();
    format!("10.{high}.{middle}.{low}")
}

/// `method path`, showing this and nothing else.
fn request(test: &TestGateway, shown: &Shown, method: Method, path: &str) -> RequestBuilder {
    let request = test.client().request(method, test.url(path));
    shown.0.iter().fold(request, |request, (name, value)| request.header(*name, value.as_slice()))
}

async fn answer(request: RequestBuilder) -> Answer {
    Answer::read(request.send().await.expect("an answer")).await
}

async fn get(test: &TestGateway, shown: &Shown, path: &str) -> Answer {
    answer(request(test, shown, Method::GET, path)).await
}

async fn post(test: &TestGateway, shown: &Shown, path: &str, body: &Value) -> Answer {
    answer(request(test, shown, Method::POST, path).json(body)).await
}

async fn delete(test: &TestGateway, shown: &Shown, path: &str) -> Answer {
    answer(request(test, shown, Method::DELETE, path)).await
}

/// Sends these bytes on a connection of their own; all that comes until it is closed.
async fn raw(test: &TestGateway, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(test.gateway().address()).await.expect("a connection");
    // A server that refuses early may close the connection before all is sent, and reset it after its answer.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer as it came.
fn status(text: &str) -> u16 {
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Asserts that `answer` refuses with this code.
#[track_caller]
fn refused(answer: &Answer, code: ErrorCode) {
    let told = (answer.status, answer.code());
    assert_eq!(told, (code.status(), code.as_str().to_owned()), "{}", answer.json());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let asks = answer.header("www-authenticate").starts_with("Bearer ");
    assert_eq!(asks, code == ErrorCode::AuthFailed, "{:?}", answer.headers);
}

/// What `answer` says, but for the id of its request.
fn said(answer: &Answer) -> Value {
    let mut body = answer.json();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("correlationId");
    }
    body
}

/// The body that asks for a job.
fn wish(workflow: &str, inputs: Value) -> Value {
    json!({"workflowId": workflow, "inputs": inputs})
}

/// Sends `body`; gives the id of the job that has to come of it, with this status of the answer.
async fn submit(test: &TestGateway, shown: &Shown, body: &Value, status: u16) -> String {
    text(&post(test, shown, "/jobs", body).await.expect(status).json(), "/jobId")
}

/// The ids of the jobs in the list at `path`, the newest first.
async fn listed(test: &TestGateway, shown: &Shown, path: &str) -> Vec<String> {
    let list = get(test, shown, path).await.expect(200).json();
    list["items"].as_array().expect("a list").iter().map(|job| text(job, "/jobId")).collect()
}

/// A key that the gateway has made.
struct Made {
    id: String,
    key: String,
}

/// Has the administrator make a key.
async fn make(test: &TestGateway, body: Value) -> Made {
    let made = test.post("/keys", &body).await.expect(201).json();
    Made { id: text(&made, "/id"), key: text(&made, "/key") }
}

/// The same id with another secret, and the checksum of that.
fn forged(key: &str) -> String {
    let other = |(index, letter): (usize, char)| match (index, letter) {
        (12, '0') => '1',
        (12, _) => '0',
        _ => letter,
    };
    let body: String = key.chars().take(55).enumerate().map(other).collect();
    format!("{body}{}", checksum(&body))
}

/// What stands at the end of a key: 32 bits of the hash of the rest, as six digits.
fn checksum(body: &str) -> String {
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let hash = Sha256::digest(body.as_bytes());
    let mut number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    let mut text: Vec<char> = Vec::new();
    for _ in 0..6 {
        text.push(char::from(digits[usize::try_from(number % 62).expect("a digit")]));
        number /= 62;
    }
    text.iter().rev().collect()
}

/// A token of these parts, signed with HMAC and SHA-256.
fn hs256(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length will do");
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// A small picture in a file.
fn png() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::new(4, 4).write_to(&mut bytes, ImageFormat::Png).expect("a file");
    bytes.into_inner()
}
