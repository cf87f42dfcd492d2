//! Pages of other origins: which may call, and that none gets what a browser keeps for this one.

use gateway_core::ErrorCode;
use gateway_testkit::{Answer, TestGateway};
use reqwest::Method;
use serde_json::json;

use super::{ALICE, Shown, answer, get, guarded, key, nothing, offline, refused, request};

const APP: &str = "https://app.example.com";
const LOCAL: &str = "http://localhost:5173";
/// Origins that only look like those that are listed.
const OTHERS: [&str; 9] = [
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://evil-app.example.com",
    "https://APP.example.com",
    "http://localhost",
    "http://localhost:51730",
    "null",
];

/// What a browser asks before it calls from a page of `origin`.
async fn asked(test: &TestGateway, origin: &str, method: &str, path: &str) -> Answer {
    let question = request(test, &nothing(), Method::OPTIONS, path).header("origin", origin);
    let question = question.header("access-control-request-method", method);
    answer(question.header("access-control-request-headers", "content-type,x-api-key,x-request-id")).await
}

fn from(origin: &str, shown: Shown) -> Shown {
    shown.and("origin", origin)
}

/// Asserts that a page of no origin may read it.
#[track_caller]
fn closed(answer: &Answer) {
    for name in ["origin", "methods", "headers", "credentials"] {
        assert_eq!(answer.header(&format!("access-control-allow-{name}")), "", "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_and_no_others() {
    let test = offline(guarded().variable("CORS_ORIGINS", format!("{APP}, {LOCAL}/"))).await;
    for origin in [APP, LOCAL] {
        for (method, path) in [("GET", "/jobs"), ("POST", "/jobs"), ("PUT", "/workflows/tiny"), ("DELETE", "/keys/x")] {
            let told = asked(&test, origin, method, path).await.expect(200);
            assert_eq!(told.header("access-control-allow-origin"), origin);
            assert!(told.header("access-control-allow-methods").split(", ").any(|each| each == method), "{told:?}");
            assert_eq!(told.header("access-control-allow-headers"), "content-type,x-api-key,x-request-id");
            assert_eq!(told.header("access-control-allow-credentials"), "");
            assert!(told.header("vary").contains("Origin") && told.bytes.is_empty(), "{told:?}");
        }
        let read = get(&test, &from(origin, key(ALICE)), "/jobs").await.expect(200);
        assert_eq!(read.header("access-control-allow-origin"), origin);
        assert_eq!(read.header("access-control-allow-credentials"), "");
        assert!(read.header("vary").contains("Origin"), "{read:?}");
        for name in ["etag", "location", "retry-after", "x-request-id", "ratelimit"] {
            assert!(read.header("access-control-expose-headers").split(", ").any(|each| each == name), "{name}");
        }
        closed(&asked(&test, origin, "PATCH", "/jobs").await);
    }
    for origin in OTHERS {
        let told = asked(&test, origin, "GET", "/jobs").await;
        refused(&told, ErrorCode::BadRequest);
        let problem = told.json();
        assert!(problem.to_string().contains("pages of this origin may not call"), "{problem}");
        assert!(problem["recommendation"].to_string().contains("CORS_ORIGINS"), "{problem}");
        closed(&told);
        closed(&get(&test, &from(origin, key(ALICE)), "/jobs").await.expect(200));
    }
    closed(&get(&test, &key(ALICE), "/jobs").await.expect(200));
}

#[tokio::test]
async fn any_page_may_call_where_that_is_said_and_never_with_what_a_browser_keeps() {
    for builder in [guarded(), guarded().variable("CORS_ORIGINS", "*")] {
        let test = offline(builder).await;
        for origin in OTHERS.into_iter().chain([APP]) {
            let told = asked(&test, origin, "POST", "/jobs").await.expect(200);
            let read = get(&test, &from(origin, key(ALICE)), "/jobs").await.expect(200);
            for answer in [told, read] {
                assert_eq!(answer.header("access-control-allow-origin"), "*");
                assert_eq!(answer.header("access-control-allow-credentials"), "");
            }
        }
    }
}

#[tokio::test]
async fn no_page_may_call_where_none_is_allowed() {
    let test = offline(guarded().variable("CORS_ORIGINS", "none")).await;
    for origin in OTHERS.into_iter().chain([APP, LOCAL]) {
        let told = asked(&test, origin, "GET", "/jobs").await;
        refused(&told, ErrorCode::BadRequest);
        closed(&told);
        closed(&get(&test, &from(origin, key(ALICE)), "/jobs").await.expect(200));
    }
}

#[tokio::test]
async fn a_page_that_may_call_may_read_why_it_was_refused() {
    let builder = guarded().variable("RATE_LIMIT_MAX", "6").variable("RATE_LIMIT_WINDOW_MS", "3600000");
    let test = builder.variable("CORS_ORIGINS", APP).start_unready().await;
    let alice = from(APP, key(ALICE));
    let answers = [
        (401, get(&test, &from(APP, nothing()), "/jobs").await),
        (401, get(&test, &from(APP, key("wrong")), "/jobs").await),
        (400, get(&test, &alice.clone().and("authorization", "Bearer x"), "/jobs").await),
        (403, get(&test, &alice, "/keys").await),
        (404, get(&test, &alice, "/jobs/nope").await),
        (404, get(&test, &alice, "/nowhere").await),
        (422, get(&test, &alice, "/jobs?bogus=1").await),
        (405, answer(request(&test, &alice, Method::PATCH, "/jobs")).await),
        (200, get(&test, &alice, "/jobs").await),
        (429, get(&test, &alice, "/jobs").await),
    ];
    for (status, answer) in &answers {
        let told = (answer.status, answer.header("access-control-allow-origin"));
        assert_eq!(told, (*status, APP), "{:?}", answer.headers);
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        assert!(answer.header("access-control-expose-headers").contains("retry-after"), "{:?}", answer.headers);
        assert!(answer.header("vary").contains("Origin"), "{:?}", answer.headers);
    }
    for shown in [nothing(), key("wrong"), key(ALICE)] {
        closed(&get(&test, &from("https://evil.example", shown), "/jobs").await);
    }
}

#[tokio::test]
async fn the_question_of_a_browser_opens_nothing_and_counts_for_nothing() {
    let builder = guarded().variable("RATE_LIMIT_MAX", "5").variable("RATE_LIMIT_WINDOW_MS", "3600000");
    let test = builder.start_unready().await;
    for _ in 0..20 {
        for path in ["/jobs", "/keys", "/nowhere"] {
            let told = asked(&test, APP, "GET", path).await.expect(200);
            assert!(told.bytes.is_empty(), "{told:?}");
        }
    }
    // It is a question only as OPTIONS, and nobody is let in by it.
    let sly = nothing().and("origin", APP).and("access-control-request-method", "GET");
    refused(&get(&test, &sly, "/keys").await, ErrorCode::AuthFailed);
    refused(&answer(request(&test, &nothing(), Method::OPTIONS, "/keys")).await, ErrorCode::MethodNotAllowed);
    let _counted = get(&test, &key(ALICE), "/jobs").await.expect(200);
    assert_eq!(test.get("/keys").await.expect(200).json()["items"], json!([]));
}
