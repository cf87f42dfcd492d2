//! Every route with credentials of every kind. A route that is registered and not in the table fails the last test.

use std::collections::BTreeSet;

use gateway_core::ErrorCode;
use gateway_core::allowlist::Allowlist;
use gateway_db::AuditFilter;
use gateway_testkit::{Answer, Receiver, TestGateway, tiny_workflow, until};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{
    ADMIN, ALICE, BOB, HOUR_MS, Made, Shown, UNKNOWN, answer, bearer, delete, forged, from_now, get, guarded, key,
    make, nothing, offline, online, png, post, proxied, raw, refused, request, said, somewhere, status, submit, text,
    wish,
};
use crate::images::{editor, painter};

/// Where all routes are registered.
const SOURCE: &str = include_str!("../../../../api/src/routes.rs");
/// What only alice and administrators may read.
const CANARY: &str = "canary-of-alice";

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Whoever probes: what it shows is not even looked at.
    Probes,
    /// Anybody.
    Anybody,
    /// Whoever is known.
    Callers,
    /// Whoever has the URL.
    Holders,
    /// The owner and administrators. To others it is not there, with this code.
    Owner(ErrorCode),
    Administrators,
}

use May::{Administrators, Anybody, Callers, Holders, Owner, Probes};

const JOB: May = Owner(ErrorCode::JobNotFound);
const OUTPUT: May = Owner(ErrorCode::OutputNotFound);
const BATCH: May = Owner(ErrorCode::BatchNotFound);

/// The table: what is asked for, and who may. At the end what the lines before it would notice.
const TABLE: &[(&str, &str, May)] = &[
    ("GET", "/health", Anybody),
    ("HEAD", "/health", Anybody),
    ("GET", "/health/live", Probes),
    ("HEAD", "/health/live", Probes),
    ("GET", "/health/ready", Probes),
    ("HEAD", "/health/ready", Probes),
    ("GET", "/capabilities", Anybody),
    ("GET", "/metrics", Anybody),
    ("GET", "/openapi.json", Anybody),
    ("GET", "/docs", Anybody),
    ("GET", "/workflows", Callers),
    ("POST", "/workflows", Administrators),
    ("GET", "/workflows/{id}", Callers),
    ("PUT", "/workflows/{id}", Administrators),
    ("POST", "/workflows/{id}/validate", Callers),
    ("GET", "/jobs", Callers),
    ("POST", "/jobs", Callers),
    ("GET", "/jobs/stats", Administrators),
    ("GET", "/jobs/{id}", JOB),
    ("GET", "/jobs/{id}/events", JOB),
    ("GET", "/jobs/{id}/logs", JOB),
    ("POST", "/jobs/{id}/cancel", JOB),
    ("POST", "/jobs/{id}/retry", JOB),
    ("GET", "/jobs/{id}/webhooks", JOB),
    ("POST", "/jobs/{id}/webhooks/{delivery}/redeliver", JOB),
    ("DELETE", "/jobs/{id}", JOB),
    ("POST", "/batches", Callers),
    ("GET", "/batches/{id}", BATCH),
    ("POST", "/batches/{id}/cancel", BATCH),
    ("GET", "/batches/{id}/webhooks", BATCH),
    ("POST", "/batches/{id}/webhooks/{delivery}/redeliver", BATCH),
    ("POST", "/uploads", Callers),
    ("POST", "/mcp", Callers),
    ("POST", "/images/generations", Callers),
    ("POST", "/images/edits", Callers),
    ("GET", "/images/files/{token}/{file}", Holders),
    ("HEAD", "/images/files/{token}/{file}", Holders),
    ("GET", "/outputs/{id}", JOB),
    ("GET", "/outputs/{id}/{file}", OUTPUT),
    ("HEAD", "/outputs/{id}/{file}", OUTPUT),
    ("GET", "/keys", Administrators),
    ("POST", "/keys", Administrators),
    ("DELETE", "/keys/{id}", Administrators),
    ("GET", "/audit", Administrators),
    ("GET", "/workers", Administrators),
    ("POST", "/queue/pause", Administrators),
    ("POST", "/queue/resume", Administrators),
    ("GET", "/queue/dead", Administrators),
    ("POST", "/queue/dead/{id}/retry", Administrators),
    ("DELETE", "/workflows/{id}", Administrators),
    ("POST", "/workers/{id}/drain", Administrators),
];

/// What the routes are asked about: all of it alice's, where it is somebody's.
struct Things {
    /// A job that has succeeded.
    done: String,
    /// Jobs that wait for later.
    waiting: String,
    going: String,
    /// The message about the one that is done.
    delivery: String,
    /// A batch that has ended, and the message about it.
    batch: String,
    told: String,
    /// What makes a URL of a picture good.
    token: String,
    worker: String,
    spare: String,
}

impl Things {
    /// None of them.
    fn none() -> Self {
        let none = || UNKNOWN.to_owned();
        Self {
            done: none(),
            waiting: none(),
            going: none(),
            delivery: none(),
            batch: none(),
            told: none(),
            token: none(),
            worker: none(),
            spare: none(),
        }
    }

    /// The path of a line of the table.
    fn path(&self, method: &str, template: &str) -> String {
        let id: &str = match (method, template) {
            ("DELETE", "/workflows/{id}") => "spare",
            ("DELETE", "/jobs/{id}") => &self.waiting,
            (_, "/jobs/{id}/cancel") => &self.going,
            _ if template.starts_with("/workflows") => "tiny",
            _ if template.starts_with("/batches") => &self.batch,
            _ if template.starts_with("/workers") => &self.worker,
            _ if template.starts_with("/keys") => &self.spare,
            _ => &self.done,
        };
        self.filled(template, id)
    }

    /// The same for what is not there.
    fn unknown_path(&self, template: &str) -> String {
        self.filled(template, UNKNOWN)
    }

    fn filled(&self, template: &str, id: &str) -> String {
        let delivery = if template.starts_with("/batches") { &self.told } else { &self.delivery };
        template
            .replace("{id}", id)
            .replace("{delivery}", delivery)
            .replace("{token}", &self.token)
            .replace("{file}", "image_001.png")
    }
}

/// What is sent along.
fn body(method: &str, template: &str) -> Option<Value> {
    let mut workflow = tiny_workflow();
    Some(match (method, template) {
        ("PUT", _) => workflow,
        ("POST", "/workflows") => {
            workflow["id"] = json!("fresh");
            workflow
        }
        ("POST", "/workflows/{id}/validate") => json!({"inputs": {"color": 1}}),
        ("POST", "/jobs") => later(1),
        ("POST", "/batches") => json!({"workflowId": "tiny", "items": [{"inputs": {"color": 2}}]}),
        ("POST", "/mcp") => {
            let params = json!({"name": "list_jobs", "arguments": {}});
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        }
        ("POST", "/keys") => json!({"name": "other"}),
        ("POST", "/images/generations") => json!({"model": "painter", "prompt": "a kite"}),
        _ => return None,
    })
}

/// The body that asks for a job in an hour.
fn later(color: u32) -> Value {
    let mut body = wish("tiny", json!({"color": color}));
    body["notBefore"] = json!(from_now(HOUR_MS));
    body
}

/// Sends what a line of the table asks for to `path`.
async fn call(test: &TestGateway, shown: &Shown, method: &str, template: &str, path: &str) -> Answer {
    let mut asked = request(test, shown, Method::from_bytes(method.as_bytes()).expect("a method"), path);
    if template == "/uploads" {
        asked = asked.body(png());
    } else if template == "/images/edits" {
        asked = edit(asked);
    } else if let Some(body) = body(method, template) {
        asked = asked.json(&body);
    }
    answer(asked).await
}

/// The form that asks for a picture to be changed.
fn edit(asked: RequestBuilder) -> RequestBuilder {
    let head = "--x\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nred\r\n--x\r\nContent-Disposition: \
                form-data; name=\"model\"\r\n\r\neditor\r\n--x\r\nContent-Disposition: form-data; name=\"image\"; \
                filename=\"a.png\"\r\n\r\n";
    let form = [head.as_bytes(), &png(), b"\r\n--x--\r\n"].concat();
    asked.header("content-type", "multipart/form-data; boundary=x").body(form)
}

/// Makes all that the routes are asked about.
async fn prepare(test: &TestGateway, receiver: &Receiver) -> Things {
    let (alice, url) = (key(ALICE), receiver.url("/hook"));
    test.register("spare", tiny_workflow()).await;
    test.register("painter", painter()).await;
    test.register("editor", editor(false)).await;
    let mut job = wish("tiny", json!({"color": 7}));
    (job["metadata"], job["callbackUrl"]) = (json!({"note": CANARY}), json!(url));
    let done = submit(test, &alice, &job, 202).await;
    let (waiting, going) = (submit(test, &alice, &later(3), 202).await, submit(test, &alice, &later(4), 202).await);
    let items = json!({"workflowId": "tiny", "items": [{"inputs": {"color": 8}}],
        "metadata": {"note": CANARY}, "callbackUrl": url});
    let batch = text(&post(test, &alice, "/batches", &items).await.expect(202).json(), "/batchId");
    test.wait_status(&done, "succeeded").await;
    let delivery = delivered(test, &format!("/jobs/{done}/webhooks")).await;
    let told = delivered(test, &format!("/batches/{batch}/webhooks")).await;
    let worker = text(&test.get("/workers").await.expect(200).json(), "/items/0/id");
    let made = post(test, &alice, "/images/generations", &json!({"model": "painter", "prompt": "a kite"})).await;
    let url = text(&made.expect(200).json(), "/data/0/url");
    let token = url.rsplit('/').nth(1).expect("a token").to_owned();
    let spare = make(test, json!({"name": "spare"})).await.id;
    Things { done, waiting, going, delivery, batch, told, token, worker, spare }
}

/// Waits until the one message in the log at `path` was taken; gives its id.
async fn delivered(test: &TestGateway, path: &str) -> String {
    until("the message is taken", || async {
        let log = test.get(path).await.expect(200).json();
        (log["items"][0]["status"] == "delivered").then(|| text(&log, "/items/0/deliveryId"))
    })
    .await
}

/// Credentials that are none, each with what is wrong with them.
async fn bad(test: &TestGateway) -> Vec<(&'static str, Shown)> {
    let live = make(test, json!({"name": "alice", "role": "admin"})).await;
    let revoked = make(test, json!({"name": "alice", "role": "admin"})).await;
    let _gone = delete(test, &key(ADMIN), &format!("/keys/{}", revoked.id)).await.expect(204);
    let expired = expired(test).await;
    let _known = get(test, &key(&live.key), "/keys").await.expect(200);
    vec![
        ("nothing", nothing()),
        ("another secret", key(&forged(&live.key))),
        ("another secret as a bearer", bearer(&forged(&live.key))),
        ("not the form of a key", key("no-key-of-ours")),
        ("another scheme", nothing().and("authorization", "Basic YWxpY2U6YWxpY2U=")),
        ("expired", key(&expired.key)),
        ("revoked", bearer(&revoked.key)),
        ("both headers", key(ALICE).and("authorization", format!("Bearer {ALICE}"))),
    ]
}

/// A key that was good until a moment ago.
async fn expired(test: &TestGateway) -> Made {
    let made = make(test, json!({"name": "alice", "role": "admin", "expiresAt": from_now(3_000)})).await;
    let _known = get(test, &key(&made.key), "/keys").await.expect(200);
    until("the key has expired", || async { (get(test, &key(&made.key), "/jobs").await.status == 401).then_some(()) })
        .await;
    made
}

/// Whether the answer is what was asked for, or says that its state does not allow it.
#[track_caller]
fn allowed(answer: &Answer, what: &str) {
    assert!(matches!(answer.status, 200..=204 | 409), "{what}: {} {}", answer.status, answer.json());
}

#[tokio::test]
async fn bad_credentials_open_no_route_and_are_all_answered_alike() {
    let test = offline(proxied()).await;
    let (bad, things) = (bad(&test).await, Things::none());
    let failed = |test: &TestGateway| {
        let filter = AuditFilter { action: Some(String::from("login.failed")), ..AuditFilter::default() };
        let database = test.gateway().database().clone();
        async move { database.list_audit(filter, None, 10_000).await.expect("the audit log").len() }
    };
    let (before, mut number, mut failures, mut first) = (failed(&test).await, 0, 0, None);
    for (method, template, may) in TABLE {
        for (prefix, (what, shown)) in ["", "/v1"].iter().flat_map(|prefix| bad.iter().map(move |bad| (prefix, bad))) {
            number += 1;
            let path = format!("{prefix}{}", things.path(method, template));
            let answer = call(&test, &shown.clone().at(&somewhere(number)), method, template, &path).await;
            let line = format!("{method} {path}, {what}: {}", answer.json());
            match (may, *what) {
                (Probes, _) => assert!(matches!(answer.status, 200 | 503), "{line}"),
                (_, "both headers") => assert_eq!(answer.status, 400, "{line}"),
                (Anybody, _) => assert_eq!(answer.status, 200, "{line}"),
                (Holders, _) => assert_eq!(answer.status, 404, "{line}"),
                _ => {
                    assert_eq!(answer.status, 401, "{line}");
                    assert!(answer.header("www-authenticate").starts_with("Bearer "), "{line}");
                    failures += usize::from(*what != "nothing");
                    if *method != "HEAD" && *what != "nothing" {
                        refused(&answer, ErrorCode::AuthFailed);
                        let mut told = said(&answer);
                        // Where the same is said in another API's words, too.
                        told.as_object_mut().and_then(|fields| fields.remove("error"));
                        assert_eq!(first.get_or_insert_with(|| told.clone()), &told, "{line}");
                    }
                }
            }
        }
    }
    assert_eq!(failed(&test).await, before + failures, "each failed login is noted once");
    assert_eq!(test.get("/workflows").await.json()["items"].as_array().map(Vec::len), Some(1), "nothing was done");
    assert_eq!((test.get("/jobs").await.json()["items"].clone(), failures > 400), (json!([]), true));
    assert_eq!(test.get("/health").await.json()["queue"]["paused"], json!(false));
}

#[tokio::test]
async fn a_user_may_do_its_own_and_sees_nothing_else_and_an_administrator_may_do_all() {
    let receiver = Receiver::start().await;
    let host = format!("127.0.0.1:{}", receiver.port());
    let builder = guarded().settings(move |settings| {
        settings.webhooks.urls.allow = Allowlist::parse(&host).expect("a list of hosts");
    });
    let test = online(builder).await;
    let things = prepare(&test, &receiver).await;
    let (alice, bob, admin) = (key(ALICE), key(BOB), key(ADMIN));
    for (method, template, may) in TABLE {
        let (path, unknown) = (things.path(method, template), things.unknown_path(template));
        let line = format!("{method} {path}");
        let of_bob = call(&test, &bob, method, template, &path).await;
        let seen = String::from_utf8_lossy(&of_bob.bytes);
        assert!(!seen.contains(CANARY) && !seen.contains(&things.done) && !seen.contains(&things.batch), "{line}");
        let of_alice = call(&test, &alice, method, template, &path).await;
        match may {
            Probes | Anybody | Callers | Holders => {
                allowed(&of_bob, &line);
                allowed(&of_alice, &line);
            }
            Administrators => {
                refused(&of_bob, ErrorCode::Forbidden);
                refused(&of_alice, ErrorCode::Forbidden);
            }
            Owner(code) => {
                allowed(&of_alice, &line);
                for of_nobody in [
                    call(&test, &bob, method, template, &unknown).await,
                    call(&test, &alice, method, template, &unknown).await,
                    call(&test, &admin, method, template, &unknown).await,
                ] {
                    assert_eq!((of_bob.status, said(&of_bob)), (of_nobody.status, said(&of_nobody)), "{line}");
                }
                assert_eq!(of_bob.status, code.status(), "{line}");
                assert!(*method == "HEAD" || of_bob.code() == code.as_str(), "{line}: {seen}");
            }
        }
        allowed(&call(&test, &admin, method, template, &path).await, &line);
    }
}

#[tokio::test]
async fn no_other_spelling_of_a_path_or_of_a_key_opens_a_door() {
    let test = offline(guarded()).await;
    let id = submit(&test, &key(ALICE), &wish("tiny", json!({"color": 1})), 202).await;
    for path in [
        "/nowhere".to_owned(),
        "/health/".to_owned(),
        "/HEALTH".to_owned(),
        "//health".to_owned(),
        "/v1/v1/health".to_owned(),
        "/v2/health".to_owned(),
        "/healthy".to_owned(),
        "/health/live/..".to_owned(),
        "/health/../jobs".to_owned(),
        "/health/..%2fjobs".to_owned(),
        "/capabilities/../keys".to_owned(),
        "/health;/../keys".to_owned(),
        "//jobs".to_owned(),
        "/jobs/".to_owned(),
        "/v1//jobs".to_owned(),
        format!("/jobs/{id}?x-api-key={ALICE}"),
        format!("/jobs/{id}?api_key={ALICE}&access_token={ALICE}"),
        format!("/jobs?key={ADMIN}#/health"),
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
        let text = raw(&test, head.as_bytes()).await;
        assert!(matches!(status(&text), 400 | 401) && !text.contains(&id), "{path}: {text}");
    }
    for shown in [
        nothing().and("cookie", format!("x-api-key={ALICE}")),
        nothing().and("authorization", ALICE),
        nothing().and("authorization", format!("Key {ALICE}")),
        nothing().and("proxy-authorization", format!("Bearer {ALICE}")),
        nothing().and("x-forwarded-user", "boss").and("x-http-method-override", "OPTIONS"),
    ] {
        refused(&get(&test, &shown, &format!("/jobs/{id}")).await, ErrorCode::AuthFailed);
    }
    for good in [key(ALICE), bearer(ALICE), nothing().and("authorization", format!("bearer {ALICE}"))] {
        let _shown = get(&test, &good, &format!("/jobs/{id}")).await.expect(200);
        refused(&get(&test, &good, "/nowhere").await, ErrorCode::NotFound);
    }
    let wrong = answer(request(&test, &nothing(), Method::PATCH, "/jobs")).await;
    refused(&wrong, ErrorCode::AuthFailed);
    refused(&answer(request(&test, &key(BOB), Method::PATCH, "/jobs")).await, ErrorCode::MethodNotAllowed);
}

#[test]
fn every_route_is_in_the_table() {
    let mut registered = BTreeSet::new();
    let mut paths = 0;
    for rest in SOURCE.split("at(\"").skip(1) {
        let mut quoted = rest.split('"');
        let (path, methods) = (quoted.next().expect("a path"), quoted.nth(1).expect("its methods"));
        registered.extend(methods.split(", ").map(|method| (method, path)));
        paths += 1;
    }
    // Besides these there is only the scope of /v1.
    assert_eq!(SOURCE.matches(".service(").count(), paths + 1, "a route is registered in another way");
    let table: BTreeSet<(&str, &str)> = TABLE.iter().map(|(method, path, _)| (*method, *path)).collect();
    assert_eq!(table, registered);
    assert_eq!(TABLE.len(), table.len(), "a line stands twice");
}
