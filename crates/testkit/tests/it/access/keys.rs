//! Keys of the database: made, shown once, kept as hashes, used, ended, revoked.

use std::time::{Duration, Instant};

use gateway_core::{ErrorCode, Timestamp};
use gateway_testkit::{TestBuilder, TestGateway, until};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    ADMIN, ALICE, Made, UNKNOWN, bearer, checksum, delete, forged, from_now, get, guarded, key, make, nothing, now_ms,
    offline, post, refused, text,
};

/// For how long a key may still be taken somewhere once it was revoked.
pub(super) const REVOKED_WITHIN: Duration = Duration::from_secs(1);

/// The key of this id as the list shows it.
async fn shown(test: &TestGateway, id: &str) -> Value {
    let list = test.get("/keys").await.expect(200).json();
    let keys = list["items"].as_array().expect("a list");
    keys.iter().find(|key| key["id"] == id).unwrap_or_else(|| panic!("no {id} in {list}")).clone()
}

/// Has the administrator revoke it at `test`, and asserts that it is not taken at `other` for longer than a second more.
pub(super) async fn revoked(test: &TestGateway, other: &TestGateway, made: &Made) {
    // What is known of it from before is what could be used for too long.
    let _known = get(other, &key(&made.key), "/jobs").await.expect(200);
    let _gone = delete(test, &key(ADMIN), &format!("/keys/{}", made.id)).await.expect(204);
    let gone = Instant::now();
    until("the key is turned away", || async {
        let asked = Instant::now();
        let answer = get(other, &key(&made.key), "/jobs").await;
        if answer.status == 200 {
            assert!(asked.duration_since(gone) < REVOKED_WITHIN, "it was taken for too long");
            return None;
        }
        refused(&answer, ErrorCode::AuthFailed);
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_key_is_shown_once_and_kept_as_a_hash() {
    let test = offline(guarded()).await;
    let wish = json!({"name": "shop@example.com", "role": "user", "expiresAt": from_now(600_000), "rateLimit": 500,
        "queueLimit": 7, "workflows": ["tiny"], "raw": false});
    let answer = test.post("/keys", &wish).await.expect(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let mut made = answer.json();
    let (id, secret) = (text(&made, "/id"), text(&made, "/key"));
    assert_eq!((secret.len(), secret.get(..12)), (61, Some(format!("gw_{id}_").as_str())));
    assert_eq!(secret.get(55..), Some(checksum(secret.get(..55).expect("a key")).as_str()));
    made.as_object_mut().expect("an object").remove("key");
    let listed = test.get("/keys").await.expect(200);
    assert_eq!(listed.json(), json!({"items": [made], "nextCursor": null}), "the same without the key");
    for (field, value) in wish.as_object().expect("an object").iter().filter(|(field, _)| *field != "raw") {
        assert_eq!(&made[field], value, "{field}");
    }
    assert_eq!(
        (&made["createdBy"], &made["lastUsedAt"], &made["revokedAt"]),
        (&json!("key:boss"), &json!(null), &json!(null))
    );
    let _used = get(&test, &key(&secret), "/jobs").await.expect(200);
    let _used = get(&test, &bearer(&secret), "/jobs").await.expect(200);
    let hash: String = Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let files =
        ["gateway.db", "gateway.db-wal"].map(|name| std::fs::read(test.folder().join(name)).unwrap_or_default());
    let kept = files.concat();
    let holds = |part: &str| kept.windows(part.len()).any(|window| window == part.as_bytes());
    let inner = secret.get(12..55).expect("a key");
    assert_eq!((holds(&id), holds(&hash), holds(inner)), (true, true, false));
}

#[tokio::test]
async fn a_wrong_wish_makes_no_key_and_is_told_all_that_is_wrong() {
    let test = offline(guarded()).await;
    for (field, value) in [
        ("name", json!("two words")),
        ("name", json!("x".repeat(65))),
        ("name", json!(7)),
        ("role", json!("root")),
        ("role", json!(["admin"])),
        ("expiresAt", json!("2020-01-01T00:00:00Z")),
        ("expiresAt", json!("tomorrow")),
        ("expiresAt", json!(4_102_444_800_u64)),
        ("rateLimit", json!(0)),
        ("rateLimit", json!(-1)),
        ("rateLimit", json!(1.5)),
        ("rateLimit", json!(4_294_967_296_u64)),
        ("queueLimit", json!("7")),
        ("runningLimit", json!(0)),
        ("weight", json!(101)),
        ("workflows", json!([])),
        ("workflows", json!("tiny")),
        ("workflows", json!([null])),
        ("raw", json!("yes")),
        ("id", json!("00000000")),
        ("key", json!(ALICE)),
        ("hash", json!("00")),
        ("owner", json!("boss")),
        ("createdBy", json!("boss")),
    ] {
        let mut wish = json!({"name": "shop"});
        wish[field] = value.clone();
        let answer = test.post("/keys", &wish).await;
        refused(&answer, ErrorCode::ValidationError);
        assert_eq!(answer.fault_paths(), [format!("/{field}")], "{value}");
    }
    let answer = test.post("/keys", &json!({"role": "root", "rateLimit": 0, "bogus": 1})).await;
    let mut paths = answer.fault_paths();
    paths.sort_unstable();
    assert_eq!(paths, ["/bogus", "/name", "/rateLimit", "/role"]);
    refused(&test.post_raw("/keys", r#"{"name":"shop","role":"user","role":"admin"}"#).await, ErrorCode::BadRequest);
    refused(&post(&test, &key(ALICE), "/keys", &json!({"name": "alice", "role": "admin"})).await, ErrorCode::Forbidden);
    assert_eq!(test.get("/keys").await.expect(200).json()["items"], json!([]));
}

#[tokio::test]
async fn a_key_that_is_revoked_is_turned_away_at_once_and_can_not_be_revoked_again() {
    let test = offline(guarded()).await;
    let (made, other) = (make(&test, json!({"name": "shop"})).await, make(&test, json!({"name": "shop"})).await);
    revoked(&test, &test, &made).await;
    let entry = shown(&test, &made.id).await;
    let at = Timestamp::parse(&text(&entry, "/revokedAt")).expect("a time");
    assert!((at.as_millis() - now_ms()).abs() < 600_000, "{entry}");
    let admin = key(ADMIN);
    let again = delete(&test, &admin, &format!("/keys/{}", made.id)).await;
    refused(&again, ErrorCode::KeyNotFound);
    for unknown in ["00000000", UNKNOWN, "boss", "..%2f", &made.key] {
        let answer = delete(&test, &admin, &format!("/keys/{unknown}")).await;
        assert_eq!((answer.status, super::said(&answer)), (404, super::said(&again)), "{unknown}");
    }
    let _others_stay = get(&test, &key(&other.key), "/jobs").await.expect(200);
    let _those_of_the_settings_stay = get(&test, &key(ALICE), "/jobs").await.expect(200);
}

#[tokio::test]
async fn a_key_that_revokes_itself_is_done() {
    let test = offline(guarded()).await;
    let made = make(&test, json!({"name": "ops", "role": "admin"})).await;
    let itself = key(&made.key);
    let _gone = delete(&test, &itself, &format!("/keys/{}", made.id)).await.expect(204);
    refused(&get(&test, &itself, "/keys").await, ErrorCode::AuthFailed);
}

#[tokio::test]
async fn a_gateway_that_has_had_a_key_stays_closed_whatever_became_of_it() {
    for expires in [false, true] {
        let mut test = TestBuilder::default().comfyui_url(super::NOWHERE).start_unready().await;
        let _open = get(&test, &nothing(), "/jobs").await.expect(200);
        let end = expires.then(|| from_now(3_000));
        let boss = make(&test, json!({"name": "boss", "role": "admin", "expiresAt": end})).await;
        let itself = key(&boss.key);
        if !expires {
            let _gone = delete(&test, &itself, &format!("/keys/{}", boss.id)).await.expect(204);
        }
        until("the key is over", || async { (get(&test, &itself, "/jobs").await.status == 401).then_some(()) }).await;
        for path in ["/jobs", "/keys", "/workflows", "/audit"] {
            refused(&get(&test, &nothing(), path).await, ErrorCode::AuthFailed);
        }
        test.stop_gateway().await;
        test.start_gateway().await;
        refused(&post(&test, &nothing(), "/keys", &json!({"name": "mine"})).await, ErrorCode::AuthFailed);
        assert_eq!(test.get("/capabilities").await.expect(200).json()["features"]["auth"], json!(true));
    }
}

#[tokio::test]
async fn a_key_ends_when_it_was_said_to_and_not_before() {
    let test = offline(guarded()).await;
    let wish = json!({"name": "shop", "expiresAt": from_now(3_000)});
    let made = test.post("/keys", &wish).await.expect(201).json();
    let (secret, end) = (text(&made, "/key"), Timestamp::parse(&text(&made, "/expiresAt")).expect("a time"));
    until("the key has expired", || async {
        let (before, answer) = (now_ms(), get(&test, &key(&secret), "/jobs").await);
        let after = now_ms();
        assert!(answer.status == 200 || end.as_millis() <= after, "too early: {}", answer.json());
        assert!(answer.status == 401 || before < end.as_millis(), "too late");
        (answer.status == 401).then_some(())
    })
    .await;
    assert_eq!(shown(&test, &text(&made, "/id")).await["revokedAt"], json!(null), "it is listed as it was");
}

#[tokio::test]
async fn the_last_use_of_a_key_is_noted_to_the_minute() {
    let mut test = offline(guarded()).await;
    let (used, unused) = (make(&test, json!({"name": "a"})).await, make(&test, json!({"name": "b"})).await);
    let before = now_ms();
    let _used = get(&test, &key(&used.key), "/jobs").await.expect(200);
    let first =
        until("the use is noted", || async { Timestamp::parse(shown(&test, &used.id).await["lastUsedAt"].as_str()?) })
            .await;
    assert!((before - 1..=now_ms()).contains(&first.as_millis()), "{first}");
    // Neither what fails nor what comes in the same minute is noted, and a start changes nothing about that.
    refused(&get(&test, &key(&forged(&unused.key)), "/jobs").await, ErrorCode::AuthFailed);
    for _ in 0..20 {
        let _used = get(&test, &key(&used.key), "/jobs").await.expect(200);
    }
    test.stop_gateway().await;
    test.start_gateway().await;
    let _used = get(&test, &key(&used.key), "/jobs").await.expect(200);
    let noted = shown(&test, &used.id).await["lastUsedAt"].clone();
    assert!(noted == json!(first) || now_ms() - before > 59_000, "{noted}, {first}");
    assert_eq!(shown(&test, &unused.id).await["lastUsedAt"], json!(null));
}

#[tokio::test]
async fn what_is_nearly_a_key_is_none() {
    let test = offline(super::proxied()).await;
    let made = make(&test, json!({"name": "shop", "role": "admin"})).await;
    let good = &made.key;
    let cut = |end: usize| good.get(..end).expect("a part of it").to_owned();
    let bad = [
        forged(good),
        good.to_lowercase(),
        good.to_uppercase(),
        cut(60),
        cut(12),
        format!("{good}0"),
        format!("x{good}"),
        format!("{good},{good}"),
        format!("{good};"),
        format!("\"{good}\""),
        good.replacen('_', "-", 1),
        made.id.clone(),
        format!("gw_{}_", made.id),
        "gw_".to_owned(),
        "A".repeat(10_240),
        format!("{ADMIN}:admin:boss"),
        ADMIN.to_uppercase(),
        ADMIN.get(1..).expect("a part of it").to_owned(),
        "' OR '1'='1".to_owned(),
        "*".to_owned(),
        "%".repeat(61),
    ];
    let (mut number, mut said) = (0, None);
    for bad in &bad {
        for shown in [key(bad), bearer(bad)] {
            number += 1;
            let answer = get(&test, &shown.at(&super::somewhere(number)), "/jobs").await;
            refused(&answer, ErrorCode::AuthFailed);
            let told = super::said(&answer);
            assert_eq!(*said.get_or_insert_with(|| told.clone()), told, "{bad}");
        }
    }
    for value in [&b"\xff\xfe"[..], b"", b"\xc3\xa9"] {
        number += 1;
        let shown = nothing().and("x-api-key", value).at(&super::somewhere(number));
        refused(&get(&test, &shown, "/jobs").await, ErrorCode::AuthFailed);
    }
    for twice in [
        key(ADMIN).and("x-api-key", ADMIN),
        bearer(ADMIN).and("authorization", format!("Bearer {ADMIN}")),
        key(ADMIN).and("authorization", ""),
        bearer(ADMIN).and("x-api-key", ""),
    ] {
        refused(&get(&test, &twice, "/jobs").await, ErrorCode::BadRequest);
    }
    // White space around a header's value is no part of it.
    let head = format!("GET /jobs HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nX-API-Key: \t {good} \t\r\n\r\n");
    assert_eq!(super::status(&super::raw(&test, head.as_bytes()).await), 200);
    for byte in ["\0", "\r", "\n "] {
        let head =
            format!("GET /jobs HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nX-API-Key: {good}{byte}\r\n\r\n");
        let status = super::status(&super::raw(&test, head.as_bytes()).await);
        assert!(matches!(status, 400 | 401), "{status} for {byte:?}");
    }
}

#[tokio::test]
async fn where_nobody_is_asked_a_key_is_refused_with_the_advice_to_leave_it_out() {
    let test = TestGateway::start().await;
    let told = test.get_with("/jobs", "x-api-key", "left over").await;
    refused(&told, ErrorCode::AuthFailed);
    assert!(told.json()["recommendation"].to_string().contains("leave them out"), "{}", told.json());
    assert_eq!(test.get("/jobs").await.status, 200);
}
