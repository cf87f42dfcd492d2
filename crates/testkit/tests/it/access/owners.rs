//! What belongs to one owner is not there for another: in lists, as an input, as a request that came before, as a result.

use gateway_core::ErrorCode;
use gateway_testkit::{TestBuilder, TestGateway, copy_workflow};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ADMIN, ALICE, BOB, Shown, UNKNOWN, answer, delete, get, guarded, key, listed, make, nothing, offline, online, png,
    post, refused, request, said, submit, text, wish,
};

/// Hands in a picture; gives the id of the upload.
async fn upload(test: &TestGateway, shown: &Shown) -> String {
    let sent = request(test, shown, Method::POST, "/uploads").body(png());
    text(&answer(sent).await.expect(201).json(), "/uploadId")
}

#[tokio::test]
async fn a_list_shows_the_callers_own_jobs_alone_and_an_administrator_those_of_all() {
    let test = offline(guarded()).await;
    let (alice, bob, admin) = (key(ALICE), key(BOB), key(ADMIN));
    let mut own = Vec::new();
    for color in 0..3 {
        own.insert(0, submit(&test, &alice, &wish("tiny", json!({"color": color})), 202).await);
    }
    let other = submit(&test, &bob, &wish("tiny", json!({"color": 9})), 202).await;
    let all = [vec![other.clone()], own.clone()].concat();
    for query in ["", "?owner=bob", "?owner=boss", "?status=queued", "?workflowId=tiny"] {
        assert_eq!(listed(&test, &alice, &format!("/jobs{query}")).await, own, "{query}");
    }
    for query in ["", "?owner=alice", "?owner=local", "?limit=100"] {
        assert_eq!(listed(&test, &bob, &format!("/v1/jobs{query}")).await, [other.as_str()], "{query}");
    }
    for (query, jobs) in [
        ("", all.as_slice()),
        ("?owner=alice", &own),
        ("?owner=bob", std::slice::from_ref(&other)),
        ("?owner=boss", &[]),
        ("?owner=nobody", &[]),
    ] {
        assert_eq!(listed(&test, &admin, &format!("/jobs{query}")).await, jobs, "{query}");
    }
    // A place in one list is none in another.
    let page = get(&test, &alice, "/jobs?limit=1").await.expect(200).json();
    let next = format!("/jobs?limit=1&cursor={}", text(&page, "/nextCursor"));
    for stranger in [&bob, &admin] {
        refused(&get(&test, stranger, &next).await, ErrorCode::BadCursor);
    }
    assert_eq!(listed(&test, &alice, &next).await, own[1..2]);
}

#[tokio::test]
async fn the_same_id_of_a_request_is_another_request_for_another_owner() {
    let test = offline(guarded()).await;
    let mut body = wish("tiny", json!({"color": 1}));
    body["metadata"] = json!({"requestId": "order-17"});
    let first = submit(&test, &key(ALICE), &body, 202).await;
    let second = submit(&test, &key(BOB), &body, 202).await;
    assert_ne!(first, second);
    assert_eq!(submit(&test, &key(ALICE), &body, 200).await, first);
    assert_eq!(submit(&test, &key(BOB), &body, 200).await, second);
    // Nor does it tell whether another owner has used it for something else.
    body["inputs"] = json!({"color": 2});
    refused(&post(&test, &key(BOB), "/jobs", &body).await, ErrorCode::IdempotencyKeyReused);
    let third = submit(&test, &key(ADMIN), &body, 202).await;
    assert_eq!(listed(&test, &key(ADMIN), "/jobs").await, [third, second.clone(), first]);
    assert_eq!(listed(&test, &key(BOB), "/jobs?q=order-17").await, [second]);
}

#[tokio::test]
async fn files_of_another_owner_can_not_be_used_and_are_as_if_they_were_not_there() {
    let test = online(guarded()).await;
    test.register("copy", copy_workflow()).await;
    let (alice, bob, admin) = (key(ALICE), key(BOB), key(ADMIN));
    let handed = upload(&test, &alice).await;
    let done = submit(&test, &alice, &wish("tiny", json!({"color": 1})), 202).await;
    test.wait_status(&done, "succeeded").await;
    let of_upload = |id: &str| json!({"image": {"uploadId": id}});
    let of_output = |id: &str| json!({"image": {"jobId": id, "file": "image_001.png"}});
    for (foreign, unknown) in [(of_upload(&handed), of_upload(UNKNOWN)), (of_output(&done), of_output(UNKNOWN))] {
        let (foreign, unknown) = (wish("copy", foreign), wish("copy", unknown));
        let batch = |body: &Value| json!({"workflowId": "copy", "items": [{"inputs": body["inputs"]}]});
        let refusal = post(&test, &bob, "/jobs", &foreign).await;
        refused(&refusal, ErrorCode::ValidationError);
        assert_eq!(refusal.fault_paths(), ["/inputs/image"]);
        assert_eq!(said(&refusal), said(&post(&test, &bob, "/jobs", &unknown).await));
        let refusal = post(&test, &bob, "/batches", &batch(&foreign)).await;
        refused(&refusal, ErrorCode::ValidationError);
        assert_eq!(said(&refusal), said(&post(&test, &bob, "/batches", &batch(&unknown)).await));
        for known in [&alice, &admin] {
            submit(&test, known, &foreign, 202).await;
        }
    }
    assert_eq!(listed(&test, &bob, "/jobs").await, [""; 0]);
}

#[tokio::test]
async fn a_result_is_used_again_for_its_owner_alone() {
    let test = online(guarded()).await;
    let body = wish("tiny", json!({"color": 5}));
    let prompts = || test.sim.stats().prompts_started;
    for (caller, count) in [(ALICE, 1), (BOB, 2)] {
        let job = submit(&test, &key(caller), &body, 202).await;
        test.wait_status(&job, "succeeded").await;
        assert_eq!(prompts(), count);
        let again = post(&test, &key(caller), "/jobs", &body).await.expect(200).json();
        assert_eq!((&again["status"], &again["cached"], prompts()), (&json!("cache_hit"), &json!(true), count));
    }
}

#[tokio::test]
async fn keys_of_one_name_are_one_owner_wherever_they_are_kept() {
    let named = "named-0123456789abcdef";
    let (one, other) = ("nameless-0123456789abc", "another-0123456789abcd");
    let keys = format!("{ADMIN}:admin:boss,{ALICE}:user:alice,{named}:user:alice,{one}:user,{other}:user");
    let test = offline(TestBuilder::default().variable("API_KEYS", keys).key(ADMIN)).await;
    let made = make(&test, json!({"name": "alice"})).await;
    let job = submit(&test, &key(ALICE), &wish("tiny", json!({"color": 1})), 202).await;
    for same in [named, &made.key] {
        assert_eq!(listed(&test, &key(same), "/jobs").await, [job.as_str()]);
    }
    // Without a name each is an owner of its own.
    let own = submit(&test, &key(one), &wish("tiny", json!({"color": 2})), 202).await;
    assert_eq!(listed(&test, &key(one), "/jobs").await, [own.as_str()]);
    assert_eq!(listed(&test, &key(other), "/jobs").await, [""; 0]);
    // A key of the same name goes on where one that is gone has left off.
    let _revoked = delete(&test, &key(ADMIN), &format!("/keys/{}", made.id)).await.expect(204);
    let next = make(&test, json!({"name": "alice"})).await;
    let _canceled = post(&test, &key(&next.key), &format!("/jobs/{job}/cancel"), &json!({})).await.expect(202);
    assert_eq!(test.job(&job).await["status"], "canceled");
}

#[tokio::test]
async fn a_job_that_an_administrator_has_run_again_stays_its_owners() {
    let test = offline(guarded()).await;
    let job = submit(&test, &key(ALICE), &wish("tiny", json!({"color": 1})), 202).await;
    let _canceled = test.post(&format!("/jobs/{job}/cancel"), &json!({})).await.expect(202);
    let again = test.post(&format!("/jobs/{job}/retry"), &json!({})).await.expect(202).json();
    assert_eq!(listed(&test, &key(ALICE), "/jobs").await, [text(&again, "/jobId"), job]);
    assert_eq!(listed(&test, &key(ADMIN), "/jobs?owner=boss").await, [""; 0]);
}

#[tokio::test]
async fn jobs_of_a_time_without_keys_are_seen_by_administrators_alone() {
    let test = TestBuilder::default().comfyui_url(super::NOWHERE).start_unready().await;
    test.register("tiny", gateway_testkit::tiny_workflow()).await;
    let job = test.submit("tiny", json!({"color": 1})).await;
    assert_eq!(test.get("/capabilities").await.json()["features"]["auth"], json!(false));
    let boss = make(&test, json!({"name": "boss", "role": "admin"})).await;
    let user = post(&test, &key(&boss.key), "/keys", &json!({"name": "alice"})).await.expect(201).json();
    let user = key(&text(&user, "/key"));
    refused(&get(&test, &nothing(), &format!("/jobs/{job}")).await, ErrorCode::AuthFailed);
    assert_eq!(test.get("/capabilities").await.json()["features"]["auth"], json!(true));
    refused(&get(&test, &user, &format!("/jobs/{job}")).await, ErrorCode::JobNotFound);
    assert_eq!(listed(&test, &key(&boss.key), "/jobs?owner=local").await, [job]);
    // Nobody can take the place of those who were nobody.
    for name in ["local", "key-01234567", "jwt:alice", ""] {
        let refusal = post(&test, &key(&boss.key), "/keys", &json!({"name": name})).await;
        refused(&refusal, ErrorCode::ValidationError);
        assert_eq!(refusal.fault_paths(), ["/name"], "{name}");
    }
}
