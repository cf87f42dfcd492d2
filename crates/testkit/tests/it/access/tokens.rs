//! Tokens that are signed with a secret: a table of those that are not quite right, and what becomes of the good ones.

use gateway_core::ErrorCode;
use gateway_testkit::{TestBuilder, TestGateway};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    ADMIN, ALICE, answer, bearer, get, guarded, hs256, key, listed, nothing, now_ms, offline, post, proxied, raw,
    refused, request, said, somewhere, status, submit, text, wish,
};

const SECRET: &str = "a secret that 32 bytes of it would do for";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const ISSUER: &str = "https://issuer.example";
const MONTH: i64 = 30 * 86_400;

/// How a gateway begins that takes tokens for `gateway` from [`ISSUER`].
fn expecting(builder: TestBuilder) -> TestBuilder {
    builder.variable("JWT_SECRET", SECRET).variable("JWT_AUDIENCE", "gateway").variable("JWT_ISSUER", ISSUER)
}

fn now() -> i64 {
    now_ms() / 1_000
}

/// Good claims of the user `alice` with `changes` over them; a null takes a claim away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"sub": "alice", "exp": now() + 600, "iat": now() - 60, "nbf": now() - 60, "iss": ISSUER,
        "aud": "gateway", "role": "user"});
    let fields: &mut Map<String, Value> = claims.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// A token that is signed as it should be, with these changes of its claims.
fn token(changes: Value) -> String {
    hs256(HEADER, &claims(changes).to_string(), SECRET.as_bytes())
}

/// One with another header.
fn headed(header: Value) -> String {
    hs256(&header.to_string(), &claims(json!({})).to_string(), SECRET.as_bytes())
}

/// Tokens whose claims are not as they have to be.
fn bad_claims() -> Vec<(String, String)> {
    let now = now();
    let nine: Vec<String> = (0..8).map(|number| number.to_string()).chain([String::from("gateway")]).collect();
    let changes = [
        ("exp", vec![json!(null), json!(0), json!(-1), json!(now - 31), json!(now - MONTH), json!(-1.5)]),
        ("exp", vec![json!((now + 600).to_string()), json!(1e300), json!(u64::MAX), json!(i64::MAX), json!(true)]),
        ("exp", vec![json!([now + 600]), json!({})]),
        ("nbf", vec![json!(now + 120), json!(now + 31_536_000), json!("now"), json!(-1), json!([])]),
        ("iat", vec![json!(now + 120), json!(now - MONTH), json!("now")]),
        ("sub", vec![json!(null), json!(""), json!(" alice"), json!("a\0b"), json!("\u{430}lice"), json!(7)]),
        ("sub", vec![json!("a".repeat(129)), json!("alice\n"), json!("al\u{200b}ice"), json!(["alice"])]),
        ("aud", vec![json!(null), json!(""), json!("gateway2"), json!(["other"]), json!([]), json!(nine)]),
        ("aud", vec![json!(["gateway", 1]), json!([["gateway"]])]),
        (
            "iss",
            vec![json!(null), json!(""), json!(format!("{ISSUER}/")), json!("https://evil.example"), json!([ISSUER])],
        ),
        ("role", vec![json!(""), json!("root"), json!("Admin"), json!("admin,user"), json!(["root"]), json!([])]),
        ("role", vec![json!(1), json!(true), json!({"admin": true}), json!([["admin"]]), json!(["admin", 1])]),
    ];
    let mut bad: Vec<(String, String)> = Vec::new();
    for (claim, values) in changes {
        bad.extend(values.into_iter().map(|value| (format!("{claim} {value}"), token(json!({claim: value})))));
    }
    for (from, to) in [
        ("\"role\":\"user\"", "\"role\":null"),
        ("\"role\":\"user\"", "\"role\":\"user\",\"role\":\"admin\""),
        ("\"sub\":\"alice\"", "\"sub\":\"alice\",\"sub\":\"bob\""),
        ("\"aud\":\"gateway\"", "\"aud\":\"gateway\",\"exp\":1e999"),
    ] {
        let text = claims(json!({})).to_string().replacen(from, to, 1);
        assert!(text.contains(to), "{text}");
        bad.push((to.to_owned(), hs256(HEADER, &text, SECRET.as_bytes())));
    }
    bad
}

/// Tokens that were not signed as they have to be, or are none.
fn bad_forms() -> Vec<(String, String)> {
    let good = token(json!({}));
    let (message, signature) = good.rsplit_once('.').expect("a token");
    let (head, body) = message.split_once('.').expect("a token");
    let admin = token(json!({"role": "admin"}));
    let other_body = admin.split('.').nth(1).expect("a token");
    let none = |alg: &str| headed(json!({"alg": alg})).rsplit_once('.').expect("a token").0.to_owned();
    let with = |secret: &str| hs256(HEADER, &claims(json!({})).to_string(), secret.as_bytes());
    let forms = [
        ("nothing", String::new()),
        ("a dot", ".".to_owned()),
        ("two dots", "..".to_owned()),
        ("two parts", message.to_owned()),
        ("no signature", format!("{message}.")),
        ("four parts", format!("{good}.{signature}")),
        ("five parts", format!("{head}.{body}.{body}.{body}.{signature}")),
        ("a part before", format!(".{good}")),
        ("an empty part", format!("{head}..{signature}")),
        ("padding", format!("{head}==.{body}.{signature}")),
        ("a short signature", good.get(..good.len() - 1).expect("most of it").to_owned()),
        ("a long signature", format!("{good}A")),
        ("another signature", format!("{message}.{}", "A".repeat(43))),
        ("the claims of another", format!("{head}.{other_body}.{signature}")),
        ("another secret", with("another secret that 32 bytes of it do")),
        ("no secret", with("")),
        ("a part of the secret", with(SECRET.get(1..).expect("most of it"))),
        ("none", format!("{}.", none("none"))),
        ("None", format!("{}.", none("None"))),
        ("NONE", format!("{}.", none("NONE"))),
        ("nOnE with a signature", headed(json!({"alg": "nOnE"}))),
        ("none without a dot", none("none")),
        ("a list of claims", hs256(HEADER, "[]", SECRET.as_bytes())),
        ("no JSON", hs256(HEADER, "alice", SECRET.as_bytes())),
        ("10 KiB", token(json!({"padding": "x".repeat(10_240)}))),
        ("names twice", hs256(r#"{"alg":"HS256","alg":"HS256"}"#, &claims(json!({})).to_string(), SECRET.as_bytes())),
    ];
    forms.into_iter().map(|(what, token)| (what.to_owned(), token)).collect()
}

/// Tokens with headers that are not as they have to be.
fn bad_headers() -> Vec<(String, String)> {
    let headers = [
        json!({}),
        json!({"alg": null}),
        json!({"alg": ["HS256"]}),
        json!({"alg": ""}),
        json!({"alg": "hs256"}),
        json!({"alg": "HS256 "}),
        json!({"alg": "HS384"}),
        json!({"alg": "HS512"}),
        json!({"alg": "RS256"}),
        json!({"alg": "ES256"}),
        json!({"alg": "EdDSA"}),
        json!({"alg": "HS256", "kid": "../../../../etc/passwd"}),
        json!({"alg": "HS256", "kid": "/dev/null"}),
        json!({"alg": "HS256", "kid": "https://evil.example/key"}),
        json!({"alg": "HS256", "kid": "x' UNION SELECT 'key"}),
        json!({"alg": "HS256", "kid": ["a"]}),
        json!({"alg": "HS256", "jku": "https://evil.example/jwks.json"}),
        json!({"alg": "HS256", "x5u": "file:///etc/passwd"}),
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "QUFB"}}),
        json!({"alg": "HS256", "x5c": ["MIIB"]}),
        json!({"alg": "HS256", "crit": ["exp"]}),
        json!({"alg": "HS256", "b64": false}),
        json!({"alg": "HS256", "zip": "DEF"}),
        json!({"alg": "HS256", "typ": "dpop+jwt"}),
    ];
    headers.into_iter().map(|header| (header.to_string(), headed(header))).collect()
}

#[tokio::test]
async fn of_a_hundred_tokens_that_are_nearly_good_none_is_taken_and_none_is_told_from_another() {
    let test = offline(expecting(proxied())).await;
    let bad = [bad_claims(), bad_forms(), bad_headers()].concat();
    assert!(bad.len() >= 100, "{}", bad.len());
    let mut first = None;
    for (number, (what, token)) in bad.iter().enumerate() {
        let answer = get(&test, &bearer(token).at(&somewhere(number)), "/jobs").await;
        assert_eq!(answer.status, 401, "{what}: {token}");
        refused(&answer, ErrorCode::AuthFailed);
        assert_eq!(*first.get_or_insert_with(|| said(&answer)), said(&answer), "{what}");
    }
    let head = "GET /jobs HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nAuthorization: Bearer ";
    let long = format!("{head}{}\r\n\r\n", "eyJhbGciOiJIUzI1NiJ9.".repeat(50_000));
    assert!(matches!(status(&raw(&test, long.as_bytes()).await), 0 | 400 | 401 | 431), "a token of 1 MB");
    let _serves_on = get(&test, &bearer(&token(json!({}))).at(&somewhere(999)), "/jobs").await.expect(200);
}

#[tokio::test]
async fn good_tokens_in_every_form_are_taken_and_have_the_role_that_they_say() {
    let test = offline(expecting(guarded())).await;
    let eight: Vec<String> = (0..7).map(|number| number.to_string()).chain([String::from("gateway")]).collect();
    for (changes, admin) in [
        (json!({}), false),
        (json!({"role": null}), false),
        (json!({"role": "admin"}), true),
        (json!({"role": ["offline_access", "user"]}), false),
        (json!({"role": ["user", "admin"]}), true),
        (json!({"aud": ["gateway"]}), false),
        (json!({"aud": eight}), false),
        (json!({"exp": now() - 15}), false),
        (json!({"exp": now() + MONTH - 120}), false),
        (json!({"exp": now() + 100 * MONTH, "iat": null}), false),
        (json!({"exp": now() as f64 + 600.5}), false),
        (json!({"nbf": now() + 15, "iat": now() + 15}), false),
        (json!({"nbf": null, "iat": null}), false),
        (json!({"scope": "admin", "roles": ["admin"], "isAdmin": true}), false),
        (json!({"sub": "CN=Jo Doe,OU=x"}), false),
    ] {
        let shown = bearer(&token(changes.clone()));
        let _list = get(&test, &shown, "/jobs").await.expect(200);
        assert_eq!(get(&test, &shown, "/keys").await.status, if admin { 200 } else { 403 }, "{changes}");
    }
    for header in [
        json!({"alg": "HS256"}),
        json!({"alg": "HS256", "typ": "at+jwt"}),
        json!({"alg": "HS256", "typ": "application/JWT"}),
        json!({"alg": "HS256", "kid": "2026-11"}),
    ] {
        let _list = get(&test, &bearer(&headed(header)), "/jobs").await.expect(200);
    }
    // Where a key belongs a token is none, and the other way round a key is one.
    refused(&get(&test, &key(&token(json!({}))), "/jobs").await, ErrorCode::AuthFailed);
    let _list = get(&test, &bearer(ALICE), "/jobs").await.expect(200);
    let loud = nothing().and("authorization", format!("BEARER {}", token(json!({}))));
    let _list = get(&test, &loud, "/jobs").await.expect(200);
}

#[tokio::test]
async fn a_token_that_says_when_it_began_lives_for_thirty_days_at_most() {
    let test = offline(expecting(guarded())).await;
    let long = token(json!({"iat": now() - 60, "exp": now() + MONTH}));
    refused(&get(&test, &bearer(&long), "/jobs").await, ErrorCode::AuthFailed);
}

#[tokio::test]
async fn what_is_not_configured_is_not_asked_for_and_the_role_is_read_where_it_is_said_to_be() {
    let claim = "https://gateway.example/role";
    let builder = guarded().variable("JWT_SECRET", SECRET).variable("JWT_ROLE_CLAIM", claim);
    let test = offline(builder).await;
    for (changes, status) in [
        (json!({"aud": null, "iss": null}), 403),
        (json!({"aud": 7, "iss": ["x"]}), 403),
        (json!({"role": "admin"}), 403),
        (json!({"role": "nonsense"}), 403),
        (json!({claim: "admin"}), 200),
        (json!({claim: ["admin"], "role": "user"}), 200),
        (json!({claim: "user", "role": "admin"}), 403),
        (json!({claim: "nonsense", "role": "admin"}), 401),
        (json!({"sub": null, "aud": null}), 401),
    ] {
        let answer = get(&test, &bearer(&token(changes.clone())), "/keys").await;
        assert_eq!(answer.status, status, "{changes}");
    }
}

#[tokio::test]
async fn a_token_is_an_owner_of_its_own_whatever_it_calls_itself() {
    let test = offline(expecting(guarded())).await;
    let user = |sub: &str| bearer(&token(json!({"sub": sub})));
    let job = submit(&test, &user("alice"), &wish("tiny", json!({"color": 1})), 202).await;
    assert_eq!(
        listed(&test, &bearer(&token(json!({"role": null, "iat": null}))), "/jobs").await,
        std::slice::from_ref(&job)
    );
    assert_eq!(listed(&test, &key(ADMIN), "/jobs?owner=jwt:alice").await, std::slice::from_ref(&job));
    for stranger in [key(ALICE), user("bob"), user("jwt:alice"), user("Alice"), user("local"), user("key-01234567")] {
        assert_eq!(listed(&test, &stranger, "/jobs").await, [""; 0]);
        refused(&get(&test, &stranger, &format!("/jobs/{job}")).await, ErrorCode::JobNotFound);
    }
    let root = bearer(&token(json!({"sub": "root", "role": "admin"})));
    assert_eq!(listed(&test, &root, "/jobs").await, std::slice::from_ref(&job));
    let _paused = post(&test, &root, "/queue/pause", &json!({})).await.expect(200);
    let entry = test.get("/audit?action=queue.pause").await.expect(200).json();
    assert_eq!(text(&entry, "/items/0/actor"), "jwt:root");
    let cancel = request(&test, &user("alice"), Method::POST, &format!("/jobs/{job}/cancel"));
    let _canceled = answer(cancel).await.expect(202);
}

#[tokio::test]
async fn tokens_of_one_subject_are_counted_together() {
    let builder = expecting(guarded()).variable("RATE_LIMIT_MAX", "6").variable("RATE_LIMIT_WINDOW_MS", "3600000");
    let test = builder.start_unready().await;
    assert_eq!((admitted(&test, "alice").await, admitted(&test, "bob").await), (6, 6));
    let _another = get(&test, &key(ALICE), "/jobs").await.expect(200);
}

/// How many of nine requests are let in, each with another token of this subject.
async fn admitted(test: &TestGateway, sub: &str) -> usize {
    let mut admitted = 0;
    for number in 0..9 {
        let shown = bearer(&token(json!({"sub": sub, "exp": now() + 60 + number})));
        admitted += usize::from(get(test, &shown, "/jobs").await.status == 200);
    }
    admitted
}
