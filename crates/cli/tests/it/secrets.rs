//! No secret of the settings, of a caller or of a key is in a log line, a message or an answer, at the loudest level.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::json;

use crate::support::{Ended, Place, url_of};

/// Where nobody listens.
const NOWHERE: &str = "127.0.0.1:9";
/// Is in each secret.
const CANARY: &str = "canary5ecret";

/// A long secret, and another for each name.
fn secret(name: &str) -> String {
    format!("{name}{CANARY}0123456789abcdef0123456789")
}

#[track_caller]
fn clean(what: &str, text: &str) {
    let seen: Vec<&str> = text.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(seen.is_empty(), "{what} shows a secret:\n{}", seen.join("\n"));
}

#[test]
fn servers_that_cannot_be_reached_are_named_without_the_secrets_for_them() {
    let password = secret("password");
    let s3 = [
        ("STORAGE_PROVIDER", String::from("s3")),
        ("S3_BUCKET", String::from("pictures")),
        ("S3_ENDPOINT", format!("http://{NOWHERE}")),
        ("S3_ACCESS_KEY", secret("id")),
        ("S3_SECRET_KEY", secret("s3")),
    ];
    let cases: [Vec<(&str, String)>; 5] = [
        vec![("DATABASE_URL", format!("postgres://someone:{password}@{NOWHERE}/jobs"))],
        vec![("DATABASE_URL", format!("postgres://someone:{password}@{NOWHERE}/jobs?sslmode=nonsense"))],
        vec![("REDIS_URL", format!("redis://:{password}@{NOWHERE}/not-a-number"))],
        vec![("REDIS_URL", format!("rediss://:{password}@{NOWHERE}"))],
        s3.to_vec(),
    ];
    for case in cases {
        let mut place = Place::new();
        place.set("LOG_LEVEL", "trace");
        for (name, value) in &case {
            place.set(name, value);
        }
        let redis = case[0].1.starts_with("rediss:");
        for command in [&["run"][..], &["doctor"], &["health"], &["keys", "list"], &["--json", "audit", "verify"]] {
            let goes_on = redis && command[0] == "run";
            let ended = if goes_on { serve_without_redis(&mut place) } else { place.run(command) };
            let told = format!("{}\n{}", ended.out, ended.err);
            clean(&format!("{command:?} with {}", case[0].0), &told);
            assert!(told.trim() != "", "{command:?} says nothing");
            let names = !redis || !["run", "doctor"].contains(&command[0]);
            assert!(names || told.contains(&format!("rediss://{NOWHERE}")), "{command:?} does not name Redis:\n{told}");
        }
    }
}

/// Redis alone may be away at a start: the gateway serves until it is told to stop.
fn serve_without_redis(place: &mut Place) -> Ended {
    let gateway = place.start_gateway();
    gateway.err.find("that Redis is away", |line| line.contains("Redis can't be used").then_some(()));
    gateway.terminate();
    gateway.end().expect(0)
}

#[test]
fn values_that_are_refused_are_not_repeated_where_they_are_secrets() {
    for (name, value) in [
        ("API_KEYS", format!("{}:nobody", secret("key"))),
        ("API_KEYS", secret("key")),
        ("JWT_SECRET", format!("{CANARY}!")),
        ("WEBHOOK_SECRET", format!("whsec_{CANARY}!!")),
        ("DATABASE_URL", format!("oracle://someone:{}@{NOWHERE}", secret("p"))),
        ("REDIS_URL", format!("http://someone:{}@{NOWHERE}", secret("p"))),
        ("COMFYUI_URL", format!("ftp://someone:{}@{NOWHERE}", secret("p"))),
        ("JWT_PUBLIC_KEY", format!("-----BEGIN PRIVATE KEY-----\n{CANARY}")),
        ("JWT_JWKS_FILE", json!({"keys": [{"kty": "RSA", "d": CANARY}]}).to_string()),
        ("TLS_KEY", format!("-----BEGIN PRIVATE KEY-----\n{CANARY}")),
    ] {
        let mut place = Place::new();
        place.set(name, &value);
        place.set("PORT", "0");
        place.set("HOST", "127.0.0.1");
        for command in ["health", "doctor"] {
            let ended = place.run(&[command]).expect(2);
            let told = format!("{}\n{}", ended.out, ended.err);
            clean(&format!("{command} with {name}"), &told);
            assert!(told.contains(name), "{command} does not name {name}:\n{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_serves_shows_none_in_logs_and_answers() {
    let (mut place, comfyui) = Place::with_comfyui(&[]);
    let url = comfyui.out.find("its URL", url_of);
    place.set("COMFYUI_URL", &url.replace("http://", &format!("http://someone:{}@", secret("comfyui"))));
    let admin = secret("admin");
    place.set("API_KEYS", &format!("{admin}:admin:boss"));
    place.set("JWT_SECRET", &secret("jwt"));
    place.set("WEBHOOK_SECRET", &secret("hook"));
    place.set("LOG_LEVEL", "trace");
    place.set("GATEWAY_API_KEY", &admin);
    place.run(&["init"]).expect(0);
    let gateway = place.start_gateway();
    let base =
        gateway.err.find("its URL", |line| line.contains("\"the gateway serves\"").then(|| url_of(line)).flatten());
    let client = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");

    let made = client
        .post(format!("{base}/keys"))
        .bearer_auth(&admin)
        .json(&json!({"name": "somebody", "role": "user"}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(made.status(), 201);
    let made: serde_json::Value = made.json().await.expect("JSON");
    let fresh = made["key"].as_str().expect("a key").to_owned();
    let fresh_secret = fresh.rsplit('_').next().expect("its secret").to_owned();

    let wrong = secret("wrong");
    let credentials = [admin.as_str(), fresh.as_str(), wrong.as_str()];
    let mut answers = String::new();
    for credential in credentials {
        for (method, path) in [
            (Method::GET, "/health"),
            (Method::GET, "/keys"),
            (Method::GET, "/audit"),
            (Method::GET, "/jobs?limit=x"),
            (Method::GET, "/workers"),
            (Method::GET, "/capabilities"),
            (Method::GET, "/nothing"),
            (Method::DELETE, "/workflows/none"),
            (Method::POST, "/jobs"),
        ] {
            let request = client.request(method.clone(), format!("{base}{path}"));
            let request = if path == "/jobs" {
                request.json(&json!({"workflowId": "icon_512", "inputs": {"prompt": "a kite"}}))
            } else {
                request
            };
            let answer = request.header("x-api-key", credential).send().await.expect("an answer");
            answers.push_str(&format!("{method} {path} {} {:?}\n", answer.status(), answer.headers()));
            answers.push_str(&answer.text().await.expect("a body"));
        }
        // As a password of the URL's owner, and as a token.
        for value in [format!("Basic {credential}"), format!("Bearer {credential}.{credential}.{credential}")] {
            let answer = client.get(format!("{base}/jobs")).header("authorization", value).send().await;
            answers.push_str(&answer.expect("an answer").text().await.expect("a body"));
        }
    }
    let submitted = place.run(&["submit", "icon_512", "prompt=a kite", "steps=1", "--wait"]).expect(0);
    let listed = place.run(&["keys", "list"]).expect(0);
    gateway.terminate();
    let ended = gateway.end();

    assert!(ended.err.contains("\"level\":\"TRACE\"") || ended.err.contains("\"level\":\"DEBUG\""), "the log is quiet");
    assert!(answers.contains("401 Unauthorized") && answers.contains("somebody"), "{answers}");
    for (what, text) in
        [("the log", &ended.err), ("an answer", &answers), ("submit", &submitted.err), ("keys", &listed.out)]
    {
        clean(what, text);
        assert!(!text.contains(&fresh_secret), "{what} shows a key that was made");
    }
    only_hashes(&place, &fresh_secret);
}

/// In the database there is only what a key was made into.
fn only_hashes(place: &Place, made: &str) {
    for file in ["data/gateway.db", "data/gateway.db-wal"] {
        let Ok(bytes) = std::fs::read(place.path(file)) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(CANARY) && !text.contains(made), "{file} holds a secret");
    }
}
