//! Webhooks: told of what, signed how, tried again when, never sent where they may not go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_core::webhook::SigningSecrets;
use gateway_core::{ErrorCode, Timestamp};
use gateway_testkit::{Answer, Received, Receiver, Reply, TestBuilder, TestGateway, until};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use standardwebhooks::Webhook;

use super::{
    LONG, NOWHERE, UNKNOWN, allow, attempts, break_fragile, calling, cancel, deliveries, delivery, offline, refused,
    start, submit, text, wish, wish_told,
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OLD_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const STRANGE_SECRET: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// How a gateway begins that may call `receiver` and signs with `secrets`.
fn signing(receiver: &Receiver, secrets: &str) -> TestBuilder {
    let (port, secrets) = (receiver.port(), SigningSecrets::parse(secrets).expect("secrets"));
    TestBuilder::default().settings(move |settings| {
        allow(settings, &[port]);
        settings.webhooks.secrets = secrets.clone();
    })
}

/// How a gateway begins that may call `receiver` and hardly waits between two tries.
fn impatient(receiver: &Receiver, others: &[u16]) -> TestBuilder {
    let mut ports = others.to_vec();
    ports.push(receiver.port());
    TestBuilder::default().settings(move |settings| {
        allow(settings, &ports);
        settings.webhooks.retry_scale = 0.000_1;
    })
}

/// A job that succeeds, told to `url`; its id.
async fn told_job(test: &TestGateway, color: u32, url: &str) -> String {
    let id = submit(test, &wish_told("tiny", json!({"color": color}), url), 202).await;
    test.wait_status(&id, "succeeded").await;
    id
}

/// Asserts that `request` is the message `event` about `job` as it is shown.
#[track_caller]
fn tells(request: &Received, event: &str, job: &Value) {
    let message = request.json();
    let mut fields: Vec<&String> = message.as_object().expect("an object").keys().collect();
    fields.sort_unstable();
    assert_eq!(fields, ["data", "id", "timestamp", "type"]);
    assert_eq!((&message["type"], &message["data"]), (&json!(event), job));
    assert_eq!(message["id"], request.header("webhook-id"));
    assert!(Timestamp::parse(&text(&message, "/timestamp")).is_some(), "{message}");
    assert_eq!(job["correlationId"], request.header("x-request-id"));
    assert_eq!(request.header("content-type"), "application/json");
}

/// Asserts that all are the same message, byte for byte.
#[track_caller]
fn same(requests: &[Received]) {
    for pair in requests.windows(2) {
        assert_eq!(pair[0].header("webhook-id"), pair[1].header("webhook-id"));
        assert!(pair[0].body == pair[1].body, "{} and {}", pair[0].json(), pair[1].json());
    }
}

/// What `X-Signature` has to hold.
fn x_signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

fn is_accepted(secret: &str, body: &[u8], headers: &HeaderMap) -> bool {
    Webhook::new(secret).expect("a secret").verify(body, headers).is_ok()
}

/// `bytes` with one bit of the byte at `index` the other way round.
fn flipped(bytes: &[u8], index: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[index] ^= 1;
    bytes
}

/// The HTTP statuses of the tries in an entry of the log.
fn statuses(entry: &Value) -> Vec<Option<u64>> {
    attempts(entry).iter().map(|attempt| attempt["status"].as_u64()).collect()
}

/// The time at `pointer`.
#[track_caller]
fn time(value: &Value, pointer: &str) -> Timestamp {
    Timestamp::parse(&text(value, pointer)).expect("a time")
}

/// Waits until the one message about the job was tried; gives its entry in the log.
async fn tried(test: &TestGateway, job: &str) -> Value {
    until("the message is tried", || async {
        deliveries(test, job).await.into_iter().find(|entry| !attempts(entry).is_empty())
    })
    .await
}

async fn redeliver(test: &TestGateway, job: &str, delivery: &str) -> Answer {
    test.send(Method::POST, &format!("/jobs/{job}/webhooks/{delivery}/redeliver"), None).await
}

#[tokio::test]
async fn each_end_is_told_once_with_the_job_as_it_is_shown() {
    let receiver = Receiver::start().await;
    let test = start(calling(&receiver)).await;
    break_fragile(&test);
    for (number, (workflow, inputs, status)) in (1..).zip([
        ("tiny", json!({"color": 1}), "succeeded"),
        ("fragile", json!({"seed": 1}), "failed"),
        ("sampler", json!({"seed": 1, "steps": LONG}), "canceled"),
    ]) {
        let url = receiver.url(&format!("/hooks?of={status}"));
        let request = test.client().post(test.url("/jobs")).header("x-request-id", format!("trace-{status}"));
        let request = request.json(&wish_told(workflow, inputs, &url));
        let id = super::id(&Answer::read(request.send().await.expect("an answer")).await.expect(202));
        if status == "canceled" {
            test.wait_status(&id, "running").await;
            cancel(&test, &id).await;
        }
        let job = test.wait_status(&id, status).await;
        assert_eq!(job["correlationId"], format!("trace-{status}"));
        let entry = delivery(&test, &id, "delivered").await;
        assert_eq!(statuses(&entry), [Some(200)], "{entry}");
        let requests = receiver.requests();
        assert_eq!(requests.len(), number, "each is told once");
        let request = requests.last().expect("a request");
        assert_eq!(request.path, format!("/hooks?of={status}"));
        tells(request, &format!("job.{status}"), &test.job(&id).await);
        assert_eq!(entry["deliveryId"], request.header("webhook-id"), "{entry}");
        assert_eq!(
            (&entry["event"], &entry["url"], &entry["nextAttemptAt"]),
            (&json!(format!("job.{status}")), &json!(url), &Value::Null)
        );
    }
}

#[tokio::test]
async fn a_queued_job_that_is_canceled_is_told_of() {
    let receiver = Receiver::start().await;
    let test = offline(calling(&receiver)).await;
    let id = submit(&test, &wish_told("tiny", json!({"color": 1}), &receiver.url("/")), 202).await;
    assert!(deliveries(&test, &id).await.is_empty());
    cancel(&test, &id).await;
    delivery(&test, &id, "delivered").await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    tells(&requests[0], "job.canceled", &test.job(&id).await);
}

#[tokio::test]
async fn a_message_is_signed_and_what_was_changed_on_its_way_is_not_accepted() {
    let receiver = Receiver::start().await;
    let test = start(signing(&receiver, SECRET)).await;
    told_job(&test, 1, &receiver.url("/")).await;
    let Received { body, headers, .. } = receiver.until_count(1).await.remove(0);
    assert!(is_accepted(SECRET, &body, &headers), "{headers:?}");
    assert!(!is_accepted(STRANGE_SECRET, &body, &headers));
    let signature = headers.get("x-signature").expect("a signature").to_str().expect("text");
    assert_eq!(signature, x_signature(SECRET, &body));
    for index in [0, body.len() / 2, body.len() - 1] {
        let changed = flipped(&body, index);
        assert!(!is_accepted(SECRET, &changed, &headers), "byte {index}");
        assert_ne!(signature, x_signature(SECRET, &changed), "byte {index}");
    }
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let value = headers.get(name).expect("a header").as_bytes();
        let value = HeaderValue::from_bytes(&flipped(value, value.len() - 1)).expect("a header's value");
        let mut changed = headers.clone();
        changed.insert(name, value);
        assert!(!is_accepted(SECRET, &body, &changed), "{name}");
    }
}

/// What a receiver in Python does: it reads the secret, the headers and the body from a file, and what is accepted.
const PYTHON: &str = r#"
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
case = json.load(open(sys.argv[1]))
def accepts(body, **changed):
    try:
        Webhook(case["secret"]).verify(body, {**case["headers"], **changed})
        return True
    except WebhookVerificationError:
        return False
body = case["body"]
assert accepts(body), "as it came"
assert json.loads(body)["type"] == "job.succeeded"
assert not accepts(body + " "), "another body"
assert not accepts(body, **{"webhook-id": "01900000-0000-7000-8000-000000000000"}), "another id"
later = str(int(case["headers"]["webhook-timestamp"]) + 1)
assert not accepts(body, **{"webhook-timestamp": later}), "another time"
"#;

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test command tells where its Python is")]
async fn the_library_for_python_accepts_what_is_sent_and_nothing_that_was_changed() {
    let Ok(python) = std::env::var("TEST_PYTHON") else {
        assert!(std::env::var("TEST_WITHOUT_PYTHON").is_ok(), "no Python: run the tests by `cargo xtask test`");
        return;
    };
    let receiver = Receiver::start().await;
    let test = start(signing(&receiver, SECRET)).await;
    told_job(&test, 1, &receiver.url("/hook")).await;
    let [request] = receiver.until_count(1).await.try_into().expect("one request");
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: Value = names.into_iter().map(|name| (name.to_owned(), json!(request.header(name)))).collect();
    let case = json!({"secret": SECRET, "headers": headers, "body": String::from_utf8(request.body).expect("text")});
    let (script, file) = (test.folder().join("receiver.py"), test.folder().join("case.json"));
    std::fs::write(&script, PYTHON).expect("written");
    std::fs::write(&file, case.to_string()).expect("written");
    let output = std::process::Command::new(python).args([&script, &file]).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn while_a_secret_is_replaced_receivers_with_either_accept() {
    let receiver = Receiver::start().await;
    let test = start(signing(&receiver, &format!("{SECRET},{OLD_SECRET}"))).await;
    told_job(&test, 1, &receiver.url("/")).await;
    let request = receiver.until_count(1).await.remove(0);
    for (secret, accepts) in [(SECRET, true), (OLD_SECRET, true), (STRANGE_SECRET, false)] {
        assert_eq!(is_accepted(secret, &request.body, &request.headers), accepts, "{secret}");
    }
    assert_eq!(request.header("x-signature"), x_signature(SECRET, &request.body));
}

#[tokio::test]
async fn without_a_secret_nothing_looks_like_a_signature() {
    let receiver = Receiver::start().await;
    let test = start(calling(&receiver)).await;
    told_job(&test, 1, &receiver.url("/")).await;
    let request = receiver.until_count(1).await.remove(0);
    for name in ["webhook-signature", "x-signature"] {
        assert!(!request.headers.contains_key(name), "{name}");
    }
    assert!(request.header("webhook-timestamp").parse::<i64>().is_ok_and(|seconds| seconds > 1_700_000_000));
    assert!(!request.header("webhook-id").is_empty());
}

#[tokio::test]
async fn what_fails_is_sent_again_with_the_same_id_and_the_same_bytes() {
    let receiver = Receiver::scripted([500, 500, 200].map(Reply::status)).await;
    let test = start(signing(&receiver, SECRET)).await;
    let id = told_job(&test, 1, &receiver.url("/")).await;
    let entry = delivery(&test, &id, "delivered").await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    same(&requests);
    for request in &requests {
        assert!(is_accepted(SECRET, &request.body, &request.headers), "each try is signed");
    }
    tells(&requests[2], "job.succeeded", &test.job(&id).await);
    assert_eq!(statuses(&entry), [Some(500), Some(500), Some(200)], "{entry}");
    let attempts = attempts(&entry);
    let errors: Vec<bool> = attempts.iter().map(|attempt| attempt["error"].is_string()).collect();
    assert_eq!(errors, [true, true, false], "{entry}");
    let times: Vec<Timestamp> = attempts.iter().map(|attempt| time(attempt, "/time")).collect();
    assert!(times.is_sorted(), "{entry}");
    assert!(attempts.iter().all(|attempt| attempt["durationMs"].is_u64()), "{entry}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_for_good_is_asked_once() {
    let receiver = Receiver::scripted([410, 200].map(Reply::status)).await;
    let test = start(impatient(&receiver, &[])).await;
    let id = told_job(&test, 1, &receiver.url("/gone")).await;
    let entry = delivery(&test, &id, "failed").await;
    assert_eq!((statuses(&entry), &entry["nextAttemptAt"]), (vec![Some(410)], &Value::Null), "{entry}");
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_followed_nowhere() {
    let elsewhere = Receiver::start().await;
    let redirects = [301, 302, 303, 307, 308];
    let target = elsewhere.url("/stolen");
    let replies = redirects.map(|status| Reply::status(status).header("location", &target));
    let receiver = Receiver::scripted(replies.into_iter().chain([Reply::status(200)])).await;
    let test = start(impatient(&receiver, &[elsewhere.port()])).await;
    let id = told_job(&test, 1, &receiver.url("/")).await;
    let entry = delivery(&test, &id, "delivered").await;
    let expected: Vec<Option<u64>> =
        redirects.iter().map(|status| Some(u64::from(*status))).chain([Some(200)]).collect();
    assert_eq!(statuses(&entry), expected, "{entry}");
    assert_eq!((receiver.count(), elsewhere.count()), (6, 0));
}

#[tokio::test]
async fn a_receiver_that_breaks_off_or_is_not_there_has_failed_in_its_own_way() {
    let receiver = Receiver::scripted([Reply::close(), Reply::status(200)]).await;
    let test = start(impatient(&receiver, &[9])).await;
    let id = told_job(&test, 1, &receiver.url("/")).await;
    let entry = delivery(&test, &id, "delivered").await;
    assert_eq!(statuses(&entry), [None, Some(200)], "{entry}");
    assert!(text(&entry, "/attempts/0/error").starts_with("protocol: "), "{entry}");
    same(&receiver.until_count(2).await);

    let id = told_job(&test, 2, &format!("{NOWHERE}/")).await;
    let entry = tried(&test, &id).await;
    assert_eq!(statuses(&entry).first(), Some(&None), "{entry}");
    assert!(text(&entry, "/attempts/0/error").starts_with("connect: "), "{entry}");
    assert_ne!(entry["status"], "delivered", "{entry}");
}

#[tokio::test]
async fn a_receiver_gets_the_time_that_it_asks_for() {
    let receiver = Receiver::scripted([Reply::status(429).header("retry-after", "1"), Reply::status(200)]).await;
    let test = start(impatient(&receiver, &[])).await;
    let id = told_job(&test, 1, &receiver.url("/")).await;
    let entry = delivery(&test, &id, "delivered").await;
    assert_eq!(statuses(&entry), [Some(429), Some(200)], "{entry}");
    let (first, second) = (time(&entry, "/attempts/0/time"), time(&entry, "/attempts/1/time"));
    assert!(second.millis_since(first) >= 1_000, "{entry}");
}

#[tokio::test]
async fn what_a_receiver_asks_for_ends_after_a_day_and_what_makes_no_sense_is_ignored() {
    let receiver = Receiver::answering(|request| match request.path.as_str() {
        "/hour" => Reply::status(429).header("retry-after", "3600"),
        "/century" => Reply::status(503).header("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT"),
        "/eternity" => Reply::status(503).header("retry-after", "1000000000"),
        _ => Reply::status(503).header("retry-after", "-5 soon"),
    })
    .await;
    let test = start(impatient(&receiver, &[])).await;
    for (color, (path, least, most)) in (1..).zip([
        ("/hour", 3_600_000, DAY_MS - 1),
        ("/century", DAY_MS, 2 * DAY_MS),
        ("/eternity", DAY_MS, 2 * DAY_MS),
    ]) {
        let id = told_job(&test, color, &receiver.url(path)).await;
        let entry = tried(&test, &id).await;
        let wait = time(&entry, "/nextAttemptAt").millis_since(time(&entry, "/attempts/0/time"));
        assert!((least..=most).contains(&wait), "{path}: {entry}");
        assert_eq!((&entry["status"], statuses(&entry).len()), (&json!("pending"), 1), "{path}: {entry}");
    }
    let id = told_job(&test, 9, &receiver.url("/nonsense")).await;
    until("nonsense is tried as if nothing were asked for", || async {
        (statuses(&deliveries(&test, &id).await.remove(0)).len() >= 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_is_sent_once_more_on_demand_whether_it_arrived_or_not() {
    let receiver = Receiver::scripted([200, 200, 410, 200].map(Reply::status)).await;
    let test = start(calling(&receiver)).await;
    for (color, before, status) in [(1, "delivered", 200), (2, "failed", 410)] {
        let earlier = receiver.count();
        let id = told_job(&test, color, &receiver.url("/")).await;
        let entry = delivery(&test, &id, before).await;
        let delivery_id = text(&entry, "/deliveryId");
        let answer = redeliver(&test, &id, &delivery_id).await.expect(202);
        assert_eq!(answer.json(), json!({"jobId": id, "deliveryId": delivery_id, "status": "pending"}));
        let requests = receiver.until_count(earlier + 2).await.split_off(earlier);
        same(&requests);
        assert_eq!(requests[1].header("webhook-id"), delivery_id);
        let entry = until("the second try is in the log", || async {
            deliveries(&test, &id).await.into_iter().find(|entry| attempts(entry).len() == 2)
        })
        .await;
        assert_eq!((&entry["status"], statuses(&entry)), (&json!("delivered"), vec![Some(status), Some(200)]));
        assert_eq!(deliveries(&test, &id).await.len(), 1, "it is the same message");
    }
    assert_eq!(receiver.count(), 4);
}

#[tokio::test]
async fn only_messages_about_this_very_job_are_sent_again() {
    let receiver = Receiver::start().await;
    let test = start(calling(&receiver)).await;
    let id = told_job(&test, 1, &receiver.url("/")).await;
    let other = told_job(&test, 2, &receiver.url("/")).await;
    let known = text(&delivery(&test, &id, "delivered").await, "/deliveryId");
    delivery(&test, &other, "delivered").await;
    for (job, wanted) in [(id.as_str(), UNKNOWN), (&id, "x"), (&id, &id), (&other, &known)] {
        refused(&redeliver(&test, job, wanted).await, ErrorCode::DeliveryNotFound);
    }
    for job in [UNKNOWN, "x"] {
        assert_eq!(redeliver(&test, job, &known).await.status, 404, "{job}");
        refused(&test.get(&format!("/jobs/{job}/webhooks")).await, ErrorCode::JobNotFound);
    }
    assert_eq!(receiver.count(), 2);
}

#[tokio::test]
async fn exactly_the_events_that_were_asked_for_are_told() {
    let receiver = Receiver::start().await;
    let test = start(calling(&receiver)).await;
    break_fragile(&test);
    let mut body = wish_told("tiny", json!({"color": 1}), &receiver.url("/"));
    body["webhookEvents"] = json!(["job.started", "job.succeeded"]);
    let id = submit(&test, &body, 202).await;
    test.wait_status(&id, "succeeded").await;
    until("both are delivered", || async {
        let items = deliveries(&test, &id).await;
        (items.len() == 2 && items.iter().all(|item| item["status"] == "delivered")).then_some(())
    })
    .await;
    let requests = receiver.requests();
    let mut told: Vec<(String, String)> =
        requests.iter().map(|each| (text(&each.json(), "/type"), text(&each.json(), "/data/status"))).collect();
    told.sort();
    let expected = [("job.started", "running"), ("job.succeeded", "succeeded")];
    assert_eq!(told, expected.map(|(event, status)| (event.to_owned(), status.to_owned())));

    let mut body = wish_told("fragile", json!({"seed": 1}), &receiver.url("/"));
    body["webhookEvents"] = json!(["job.succeeded", "job.canceled"]);
    let id = submit(&test, &body, 202).await;
    test.wait_status(&id, "failed").await;
    assert!(deliveries(&test, &id).await.is_empty(), "nobody asked for this");
}

#[tokio::test]
async fn progress_is_told_while_a_job_runs_and_leaves_no_entry_in_the_log() {
    let receiver = Receiver::start().await;
    let test = start(signing(&receiver, SECRET)).await;
    let mut body = wish_told("sampler", json!({"steps": 100}), &receiver.url("/"));
    body["webhookEvents"] = json!(["job.progress"]);
    let id = submit(&test, &body, 202).await;
    test.wait_status(&id, "succeeded").await;
    let requests = receiver.until_count(1).await;
    let mut ids = Vec::new();
    for request in &requests {
        let message = request.json();
        assert_eq!((&message["type"], &message["data"]["status"]), (&json!("job.progress"), &json!("running")));
        assert_eq!(message["data"]["jobId"], id);
        let percent = message["data"]["progress"]["percent"].as_f64();
        assert!(percent.is_some_and(|percent| (0.0..=100.0).contains(&percent)), "{message}");
        assert_eq!(message["id"], request.header("webhook-id"));
        assert!(is_accepted(SECRET, &request.body, &request.headers));
        ids.push(text(&message, "/id"));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), requests.len(), "each is a message of its own");
    assert!(deliveries(&test, &id).await.is_empty());
}

/// Hosts that are not `127.0.0.1`, or are not written so.
const HOSTS: &[&str] = &[
    "localhost",
    "LOCALHOST",
    "localhost.",
    "x.localhost",
    "ⓛocalhost",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "①②⑦.⓪.⓪.①",
    "１２７.0.0.1",
    "127。0。0。1",
    "%31%32%37.0.0.1",
    "0",
    "0.0.0.0",
    "127.0.0.2",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "metadata.google.internal",
    "example.com",
    "127.0.0.1.example.com",
    "127.0.0.1%2eexample.com",
    "user@127.0.0.1",
    "user:word@127.0.0.1",
    "example.com@127.0.0.1",
    "127.0.0.1 ",
    "127.0.0.1\t",
];

/// URLs that are none, or lead somewhere else than `http://127.0.0.1:PORT`.
fn hostile_urls(port: u16) -> Vec<String> {
    let urls = [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "http://127.0.0.1:65536/",
        "http:127.0.0.1:PORT/",
        "http:/127.0.0.1:PORT/",
        "//127.0.0.1:PORT/",
        "127.0.0.1:PORT",
        "ftp://127.0.0.1:PORT/",
        "http://127.0.0.1:PORT\\@example.com/",
        "http://example.com\\@127.0.0.1:PORT/",
        "http://example.com#@127.0.0.1:PORT/",
        "http://example.com?@127.0.0.1:PORT/",
        " http://127.0.0.1:PORT/",
        "http://127.0.0.1:PORT/\r\nx-evil: 1",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "x",
    ];
    let hosts = HOSTS.iter().map(|host| format!("http://{host}:PORT/"));
    let all = urls.iter().map(ToString::to_string).chain(hosts);
    let mut all: Vec<String> = all.map(|url| url.replace("PORT", &port.to_string())).collect();
    all.push(format!("http://127.0.0.1:{}/", port ^ 1));
    all.push(format!("http://127.0.0.1:{port}/{}", "x".repeat(5_000)));
    all
}

#[tokio::test]
async fn a_callback_that_may_not_be_called_is_refused_and_makes_no_job() {
    let receiver = Receiver::start().await;
    let test = offline(calling(&receiver)).await;
    for url in hostile_urls(receiver.port()) {
        let answer = test.post("/jobs", &wish_told("tiny", json!({"color": 1}), &url)).await;
        let told = (answer.status, answer.code());
        assert_eq!(told, (422, "CALLBACK_NOT_ALLOWED".to_owned()), "{url:?}: {}", answer.json());
    }
    assert_eq!(test.get("/jobs").await.json()["items"], json!([]));
    submit(&test, &wish_told("tiny", json!({"color": 1}), &receiver.url("/hook?a=b")), 202).await;

    let usual = offline(TestBuilder::default()).await;
    for url in [receiver.url("/"), "http://127.0.0.1/".to_owned(), "https://[::1]/".to_owned()] {
        let answer = usual.post("/jobs", &wish_told("tiny", json!({"color": 1}), &url)).await;
        refused(&answer, ErrorCode::CallbackNotAllowed);
    }
    assert_eq!(usual.get("/jobs").await.json()["items"], json!([]));
    assert_eq!(receiver.count(), 0, "what is refused is not tried");
}

#[tokio::test]
async fn receivers_that_never_end_their_answers_keep_no_other_waiting() {
    let slow = Receiver::answering(|request| if request.path == "/drip" { Reply::drip() } else { Reply::hang() }).await;
    let good = Receiver::start().await;
    let ports = [slow.port(), good.port()];
    let test = start(TestBuilder::default().settings(move |settings| allow(settings, &ports))).await;
    // Its result serves all others, so that there are many messages at once.
    let made = submit(&test, &wish("tiny", json!({"color": 1})), 202).await;
    test.wait_status(&made, "succeeded").await;
    let mut waiting = Vec::new();
    for number in 0..80 {
        let url = slow.url(if number % 2 == 0 { "/hang" } else { "/drip" });
        waiting.push(submit(&test, &wish_told("tiny", json!({"color": 1}), &url), 200).await);
    }
    for _ in 0..10 {
        submit(&test, &wish_told("tiny", json!({"color": 1}), &good.url("/")), 200).await;
    }
    good.until_count(10).await;
    let begun = slow.count();
    let mut over = 0;
    for id in &waiting {
        over += attempts(&deliveries(&test, id).await.remove(0)).len();
    }
    assert!(
        (1..=4 + over).contains(&begun),
        "{begun} tries were begun and {over} are over: at most 4 may be under way"
    );
    for id in waiting.iter().take(2) {
        let entry = tried(&test, id).await;
        assert!(text(&entry, "/attempts/0/error").starts_with("timeout: "), "{entry}");
        assert_eq!((&entry["status"], statuses(&entry).first()), (&json!("pending"), Some(&None)), "{entry}");
    }
    let mut ids: Vec<String> = good.requests().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), good.count()), (10, 10));
}

#[tokio::test]
async fn what_was_not_delivered_before_a_stop_is_delivered_after_the_next_start() {
    let open = Arc::new(AtomicBool::new(false));
    let door = Arc::clone(&open);
    let answer = move |_: &Received| Reply::status(if door.load(Ordering::SeqCst) { 200 } else { 503 });
    let receiver = Receiver::answering(answer).await;
    let mut test = start(calling(&receiver)).await;
    let id = told_job(&test, 1, &receiver.url("/")).await;
    let shown = test.job(&id).await;
    let before = tried(&test, &id).await;
    assert_eq!(before["status"], "pending", "{before}");
    test.stop_gateway().await;
    let refused = receiver.count();
    open.store(true, Ordering::SeqCst);
    test.start_gateway().await;
    let entry = delivery(&test, &id, "delivered").await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), refused + 1);
    same(&requests);
    tells(&requests[refused], "job.succeeded", &shown);
    assert_eq!((&entry["deliveryId"], statuses(&entry).last()), (&before["deliveryId"], Some(&Some(200))), "{entry}");
}

#[tokio::test]
async fn a_message_on_its_way_at_a_stop_is_not_cut_off() {
    let receiver = Receiver::scripted([Reply::late(Duration::from_secs(1))]).await;
    let mut test = start(calling(&receiver)).await;
    let id = told_job(&test, 1, &receiver.url("/")).await;
    receiver.until_count(1).await;
    test.stop_gateway().await;
    test.start_gateway().await;
    let [entry] = deliveries(&test, &id).await.try_into().expect("one message");
    assert_eq!((&entry["status"], statuses(&entry)), (&json!("delivered"), vec![Some(200)]), "{entry}");
}

#[tokio::test]
async fn a_job_that_ends_within_the_grace_is_told_of_before_the_stop() {
    let receiver = Receiver::start().await;
    let mut test = start(calling(&receiver)).await;
    let id = submit(&test, &wish_told("sampler", json!({"seed": 1, "steps": 50}), &receiver.url("/")), 202).await;
    test.wait_status(&id, "running").await;
    test.stop_gateway().await;
    let [message] = receiver.requests().try_into().expect("one message");
    assert_eq!(message.json()["type"], "job.succeeded", "{}", message.json());
}

#[tokio::test]
async fn what_fails_half_the_time_arrives_all_the_same() {
    fail_half_the_time(40).await;
}

#[tokio::test]
#[ignore = "takes minutes: cargo xtask soak"]
async fn thousands_of_messages_that_fail_half_the_time_all_arrive() {
    fail_half_the_time(5_000).await;
}

/// Sends `count` messages to a receiver that refuses, breaks off or fails every other time, by no rule that the sender
/// could know; never as often in a row as a message is tried.
async fn fail_half_the_time(count: usize) {
    let tries: Mutex<HashMap<String, u64>> = Mutex::default();
    let receiver = Receiver::answering(move |request| {
        let mut tries = tries.lock().expect("no panic");
        let number = tries.entry(request.header("webhook-id").to_owned()).or_default();
        *number += 1;
        let dice = Sha256::digest(format!("{}{number}", request.header("webhook-id")));
        match dice[0] % 6 {
            _ if *number > 6 => Reply::status(200),
            0 => Reply::status(500),
            1 => Reply::status(503).header("retry-after", "0"),
            2 => Reply::close(),
            _ => Reply::status(204),
        }
    })
    .await;
    let test = start(impatient(&receiver, &[])).await;
    let mut ids = Vec::new();
    for color in 0..count {
        let wish = json!({"workflowId": "tiny", "inputs": {"color": color}, "callbackUrl": receiver.url("/")});
        ids.push(test.post("/jobs", &wish).await.expect(202).json()["jobId"].as_str().expect("an id").to_owned());
    }
    let mut attempts = HashMap::new();
    for id in &ids {
        test.wait_ended(id).await;
        let entry = until("it arrives", || async {
            let entry = test.get(&format!("/jobs/{id}/webhooks")).await.expect(200).json()["items"][0].clone();
            (entry["status"] == "delivered").then_some(entry)
        })
        .await;
        attempts.insert(id.clone(), entry["attempts"].as_array().expect("attempts").len());
    }
    let mut heard: HashMap<String, Vec<Received>> = HashMap::new();
    for request in receiver.requests() {
        let id = text(&request.json(), "/data/jobId");
        heard.entry(id).or_default().push(request);
    }
    for (id, attempts) in attempts {
        let own = heard.remove(&id).unwrap_or_default();
        same(&own);
        assert_eq!(own.len(), attempts);
    }
}
