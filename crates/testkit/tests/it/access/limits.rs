//! How many requests are let in, what answers say about it, and who is counted together.

use std::time::Duration;

use gateway_core::ErrorCode;
use gateway_testkit::{Answer, TestBuilder, TestGateway, until};
use reqwest::Method;
use serde_json::json;

use super::{
    ADMIN, ALICE, BOB, Shown, answer, bearer, forged, get, guarded, key, make, nothing, offline, post, proxied,
    refused, request, said, somewhere, text, wish,
};

/// So few requests are let in at once, and then one in a quarter of an hour.
const FEW: usize = 4;
/// Failed logins that an address may have.
const FAILURES: usize = 20;

/// How a gateway begins that lets in [`FEW`] requests. Its administrator has a key that may send more.
fn sparing(builder: TestBuilder) -> TestBuilder {
    builder.variable("RATE_LIMIT_MAX", FEW.to_string()).variable("RATE_LIMIT_WINDOW_MS", "3600000")
}

/// What the headers of `answer` say: the limit, how much is left, seconds until all of it is back.
#[track_caller]
fn told(answer: &Answer) -> (u64, u64, u64) {
    let number = |name: &str| answer.header(name).parse::<u64>().unwrap_or_else(|_| panic!("{name}: {answer:?}"));
    let told = (number("x-ratelimit-limit"), number("x-ratelimit-remaining"), number("x-ratelimit-reset"));
    assert_eq!(answer.header("ratelimit-policy"), format!("\"default\";q={};w=3600", told.0));
    assert_eq!(answer.header("ratelimit"), format!("\"default\";r={};t={}", told.1, told.2));
    told
}

/// How many of so many requests are counted and let in; asserts that they are the first.
async fn admitted(test: &TestGateway, count: usize, ask: impl Fn(usize) -> Shown) -> usize {
    let mut admitted = 0;
    for number in 0..count {
        let shown = ask(number);
        let answer = get(test, &shown, "/jobs").await;
        if answer.status == 429 {
            limited(&answer);
        } else {
            assert_eq!(answer.status, shown.let_in(), "{}", answer.json());
            assert_eq!(admitted, number, "one was let in after one was not");
            admitted += 1;
        }
    }
    admitted
}

/// Asserts that there were too many; gives the seconds after which the next is let in.
#[track_caller]
fn limited(answer: &Answer) -> u64 {
    refused(answer, ErrorCode::RateLimited);
    assert_eq!(answer.json()["retryable"], json!(true));
    answer.header("retry-after").parse().expect("seconds")
}

#[tokio::test]
async fn every_answer_that_was_counted_says_how_much_is_left() {
    let builder = guarded().variable("RATE_LIMIT_MAX", "50").variable("RATE_LIMIT_WINDOW_MS", "3600000");
    let test = offline(builder).await;
    let alice = key(ALICE);
    let strange = wish("tiny", json!({"color": -1}));
    let answers = [
        (200, get(&test, &alice, "/jobs").await),
        (202, post(&test, &alice, "/jobs", &wish("tiny", json!({"color": 1}))).await),
        (422, post(&test, &alice, "/jobs", &strange).await),
        (422, post(&test, &alice, "/jobs", &json!("x")).await),
        (403, get(&test, &alice, "/keys").await),
        (404, get(&test, &alice, "/jobs/nope").await),
        (404, get(&test, &alice, "/nowhere").await),
        (405, answer(request(&test, &alice, Method::PATCH, "/jobs")).await),
    ];
    for ((status, answer), left) in answers.iter().zip((0..50).rev()) {
        assert_eq!((answer.status, told(answer).0, told(answer).1), (*status, 50, left), "{}", answer.json());
        assert!(told(answer).2 <= 72 * (50 - left), "72 s each: {:?}", told(answer));
    }
    for path in ["/health", "/capabilities", "/metrics", "/jobs", "/nowhere"] {
        let answer = get(&test, &nothing(), path).await;
        assert_eq!(told(&answer).0, 50, "{path}");
        assert_eq!(answer.status == 401, answer.code() == "AUTH_FAILED", "{path}");
    }
    assert_eq!(told(&get(&test, &nothing(), "/health").await).1, 44, "what has no credentials is counted together");
}

#[tokio::test]
async fn the_limit_is_met_at_the_true_count_and_says_when_to_come_again() {
    let test = sparing(guarded()).start_unready().await;
    let alice = key(ALICE);
    for left in (0..FEW as u64).rev() {
        let answer = get(&test, &alice, "/jobs").await.expect(200);
        assert_eq!((told(&answer).0, told(&answer).1), (FEW as u64, left));
        assert_eq!(answer.header("retry-after"), "");
    }
    for _ in 0..3 {
        let answer = get(&test, &alice, "/jobs").await;
        let (again, (_, left, reset)) = (limited(&answer), told(&answer));
        assert!(left == 0 && (1..=900).contains(&again) && (again..=3_600).contains(&reset), "{again} {reset}");
    }
    // Whoever is refused is refused in every way that it can be known by, and nobody else is.
    limited(&get(&test, &bearer(ALICE), "/jobs").await);
    limited(&post(&test, &alice, "/jobs", &json!({})).await);
    let _open = get(&test, &alice, "/health").await.expect(200);
    for path in ["/health/live", "/health/ready", "/v1/health/live"] {
        for _ in 0..2 * FEW {
            let probe = get(&test, &alice, path).await;
            assert!(probe.status == 200 || path == "/health/ready", "{path}: {}", probe.json());
            assert_eq!(probe.header("x-ratelimit-limit"), "", "{path}");
        }
    }
    for (other, few) in [(key(BOB), FEW), (key(ADMIN), FEW), (nothing(), FEW - 1)] {
        assert_eq!(admitted(&test, FEW + 1, |_| other.clone()).await, few, "one came to an open path");
    }
}

#[tokio::test]
async fn who_waits_as_told_is_let_in() {
    let builder = guarded().variable("RATE_LIMIT_MAX", "2").variable("RATE_LIMIT_WINDOW_MS", "3000");
    let test = builder.start_unready().await;
    let alice = key(ALICE);
    for _ in 0..2 {
        let refused = until("one is refused", || async {
            Some(get(&test, &alice, "/jobs").await).filter(|answer| answer.status == 429)
        })
        .await;
        let seconds = limited(&refused);
        assert!((1..=2).contains(&seconds), "one in 1.5 s: {:?}", refused.headers);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let _let_in = get(&test, &alice, "/jobs").await.expect(200);
    }
}

#[tokio::test]
async fn keys_of_the_database_are_counted_one_by_one_and_those_of_the_settings_by_owner() {
    let second = "second-0123456789abcdef";
    let keys = format!("{ADMIN}:admin:boss,{ALICE}:user:alice,{second}:user:alice,{BOB}:user:bob");
    let builder = TestBuilder::default().variable("API_KEYS", keys).key(ADMIN);
    let test = sparing(builder).start_unready().await;
    let (one, two) = (make(&test, json!({"name": "shop"})).await, make(&test, json!({"name": "shop"})).await);
    for made in [one, two] {
        assert_eq!(admitted(&test, FEW + 2, |_| key(&made.key)).await, FEW);
    }
    let either = |number: usize| key(if number.is_multiple_of(2) { ALICE } else { second });
    assert_eq!(admitted(&test, 2 * FEW, either).await, FEW);
    assert_eq!(admitted(&test, FEW, |_| key(BOB)).await, FEW);
}

#[tokio::test]
async fn an_address_with_too_many_wrong_credentials_waits_whatever_it_shows() {
    let test = offline(proxied()).await;
    let from = |shown: Shown| shown.at("203.0.113.7, 198.51.100.9");
    let mut first = None;
    for number in 0..FAILURES {
        let wrong = if number.is_multiple_of(2) { key(&format!("wrong-{number}")) } else { bearer("a.b.c") };
        let answer = get(&test, &from(wrong), "/jobs").await;
        refused(&answer, ErrorCode::AuthFailed);
        assert_eq!(*first.get_or_insert_with(|| said(&answer)), said(&answer), "none is told from another");
    }
    for shown in [key("wrong"), bearer("wrong"), key(ALICE), key(ADMIN)] {
        let seconds = limited(&get(&test, &from(shown), "/jobs").await);
        assert!((1..=900).contains(&seconds), "{seconds}");
    }
    // Without credentials it is answered as before, where none are asked for whatever it shows, and so are others.
    refused(&get(&test, &from(nothing()), "/jobs").await, ErrorCode::AuthFailed);
    for shown in [nothing(), key("wrong"), key(ALICE)] {
        for path in ["/health", "/capabilities", "/health/live"] {
            let _open = get(&test, &from(shown.clone()), path).await.expect(200);
        }
    }
    let _other = get(&test, &key(ALICE).at(&somewhere(1)), "/jobs").await.expect(200);
    refused(&get(&test, &key("wrong").at(&somewhere(2)), "/jobs").await, ErrorCode::AuthFailed);
    let log = test.get("/audit?action=login.failed&limit=100").await.expect(200).json();
    let noted: Vec<String> =
        log["items"].as_array().expect("a list").iter().map(|entry| text(entry, "/address")).collect();
    assert_eq!((noted.len(), noted.iter().filter(|address| *address == "198.51.100.9").count()), (21, FAILURES));
}

#[tokio::test]
async fn what_is_shown_where_nothing_is_asked_for_is_not_told_to_be_good_or_wrong() {
    let test = offline(sparing(guarded())).await;
    let strict = make(&test, json!({"name": "shop", "rateLimit": 1})).await.key;
    let all = [key(ALICE), key("wrong"), bearer(&forged(&strict)), key(&strict)];
    let headers = ["x-ratelimit-limit", "x-ratelimit-remaining", "ratelimit-policy"];
    let told = |answer: &Answer| headers.map(|name| answer.header(name).to_owned());
    for (number, shown) in all.iter().enumerate() {
        let answer = get(&test, shown, "/health").await.expect(200);
        let left = FEW - number - 1;
        assert_eq!(told(&answer), [FEW.to_string(), left.to_string(), format!("\"default\";q={FEW};w=3600")]);
    }
    // All of them came from one address, and none of them was counted as its key's.
    for shown in all.iter().chain([&nothing()]) {
        limited(&get(&test, shown, "/health").await);
    }
    let _first = get(&test, &key(&strict), "/jobs").await.expect(200);
}

#[tokio::test]
async fn wrong_credentials_where_none_are_asked_for_are_no_failed_login() {
    let test = offline(guarded()).await;
    for _ in 0..2 * FAILURES {
        for path in ["/health", "/capabilities", "/metrics", "/health/live"] {
            let _open = get(&test, &key("wrong"), path).await.expect(200);
        }
    }
    let _good = get(&test, &key(ALICE), "/jobs").await.expect(200);
    assert_eq!(test.get("/audit?action=login.failed").await.expect(200).json()["items"], json!([]));
}

#[tokio::test]
async fn good_credentials_do_not_make_up_for_wrong_ones() {
    let test = offline(guarded()).await;
    let mut seen: Vec<u16> = Vec::new();
    for number in 0..FAILURES + 4 {
        seen.push(get(&test, &key(&format!("wrong-{number}")), "/jobs").await.status);
        let good = get(&test, &key(ALICE), "/jobs").await;
        assert_eq!(good.status, if number + 1 < FAILURES { 200 } else { 429 }, "{number}");
    }
    assert_eq!(seen, [vec![401_u16; FAILURES], vec![429; 4]].concat());
}
