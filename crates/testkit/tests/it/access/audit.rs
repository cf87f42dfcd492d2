//! The audit log: what was done leaves one entry, what was refused none; who may read it, how, and that a change is seen.

use std::collections::BTreeSet;

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::sqlite::SqliteConnection;
use gateway_core::allowlist::Allowlist;
use gateway_core::audit::{ChainCheck, ChainFault};
use gateway_core::{ErrorCode, Timestamp};
use gateway_testkit::{Receiver, TestGateway, tiny_workflow, until};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ADMIN, ALICE, BOB, Shown, UNKNOWN, answer, delete, from_now, get, guarded, key, make, nothing, now_ms, offline,
    online, post, proxied, refused, request, submit, text, wish,
};

/// Has two entries change places.
const SWAP: &str = "UPDATE audit SET seq = 100 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 5; \
                    UPDATE audit SET seq = 5 WHERE seq = 100";

/// The entries at `path`, which are a page of the list.
async fn entries(test: &TestGateway, path: &str) -> Vec<Value> {
    test.get(path).await.expect(200).json()["items"].as_array().expect("a list").clone()
}

/// The numbers of the entries at `path`.
async fn seqs(test: &TestGateway, path: &str) -> Vec<u64> {
    entries(test, path).await.iter().map(|entry| entry["seq"].as_u64().expect("a number")).collect()
}

/// Does `method path` under this correlation id; asserts the status of the answer.
async fn act(
    test: &TestGateway,
    who: &Shown,
    id: &str,
    asked: (Method, &str),
    body: Option<Value>,
    status: u16,
) -> Value {
    let mut asked = request(test, &who.clone().and("x-request-id", id), asked.0, asked.1);
    if let Some(body) = body {
        asked = asked.json(&body);
    }
    answer(asked).await.expect(status).json()
}

/// Walks the chain; the number of the first entry that is bad, or how many are good.
async fn verify(test: &TestGateway) -> Result<i64, ChainFault> {
    let mut check = ChainCheck::default();
    for record in test.gateway().database().audit_chain(0, 10_000).await.expect("the audit log") {
        check.next(&record.entry, &record.hash)?;
    }
    Ok(check.head().0)
}

/// Writes into the database past the gateway.
fn tamper(test: &TestGateway, sql: &str) {
    let path = test.folder().join("gateway.db");
    let mut connection = SqliteConnection::establish(&path.display().to_string()).expect("the database");
    connection.batch_execute(&format!("PRAGMA busy_timeout = 5000; {sql}")).expect("a statement");
}

/// Leaves so many entries about workflows.
async fn fill(test: &TestGateway, count: usize) {
    for number in 0..count {
        test.register(&format!("w-{number}"), tiny_workflow()).await;
    }
}

/// A job of alice's that was done and told of; its id and that of the message.
async fn told_job(test: &TestGateway, receiver: &Receiver) -> (String, String) {
    let mut body = wish("tiny", json!({"color": 1}));
    body["callbackUrl"] = json!(receiver.url("/hook"));
    let job = submit(test, &key(ALICE), &body, 202).await;
    let message = until("the message is taken", || async {
        let log = test.get(&format!("/jobs/{job}/webhooks")).await.expect(200).json();
        (log["items"][0]["status"] == "delivered").then(|| text(&log, "/items/0/deliveryId"))
    })
    .await;
    (job, message)
}

#[tokio::test]
async fn what_is_done_leaves_one_entry_that_says_by_whom_to_what_and_from_where() {
    let receiver = Receiver::start().await;
    let host = format!("127.0.0.1:{}", receiver.port());
    let builder = proxied().settings(move |settings| {
        settings.webhooks.urls.allow = Allowlist::parse(&host).expect("a list of hosts");
    });
    let test = online(builder).await;
    let (job, message) = told_job(&test, &receiver).await;
    let worker = text(&test.get("/workers").await.expect(200).json(), "/items/0/id");
    let ops = make(&test, json!({"name": "ops", "role": "admin"})).await;
    let (boss, alice) = (key(ADMIN).at("192.0.2.1"), key(ALICE).at("2001:db8::7"));
    let stored = key(&ops.key).at("192.0.2.3");
    let before = seqs(&test, "/audit?limit=1").await;
    let mut fresh = tiny_workflow();
    fresh["id"] = json!("fresh");
    let redeliver = format!("/jobs/{job}/webhooks/{message}/redeliver");
    act(&test, &boss, "act-1", (Method::POST, "/workflows"), Some(fresh.clone()), 201).await;
    act(&test, &boss, "act-2", (Method::PUT, "/workflows/fresh"), Some(fresh), 200).await;
    act(&test, &stored, "act-3", (Method::DELETE, "/workflows/fresh"), None, 204).await;
    let made = act(&test, &stored, "act-4", (Method::POST, "/keys"), Some(json!({"name": "shop"})), 201).await;
    let shop = text(&made, "/id");
    act(&test, &boss, "act-5", (Method::DELETE, &format!("/keys/{shop}")), None, 204).await;
    act(&test, &alice, "act-6", (Method::POST, &redeliver), None, 202).await;
    act(&test, &alice, "act-7", (Method::DELETE, &format!("/jobs/{job}")), None, 204).await;
    act(&test, &boss, "act-8", (Method::POST, "/queue/pause"), None, 200).await;
    act(&test, &boss, "act-9", (Method::POST, "/queue/resume"), None, 200).await;
    act(&test, &stored, "act-10", (Method::POST, &format!("/workers/{worker}/drain")), None, 202).await;
    let wrong = key("wrong").at("192.0.2.66");
    act(&test, &wrong, "act-11", (Method::GET, "/jobs?owner=alice"), None, 401).await;

    let stored_name = format!("key:{}", ops.id);
    let expected = [
        ("key:boss", "192.0.2.1", "workflow.create", "fresh"),
        ("key:boss", "192.0.2.1", "workflow.update", "fresh"),
        (&stored_name, "192.0.2.3", "workflow.delete", "fresh"),
        (&stored_name, "192.0.2.3", "key.create", &shop),
        ("key:boss", "192.0.2.1", "key.revoke", &shop),
        ("key:alice", "2001:db8::7", "webhook.redeliver", &message),
        ("key:alice", "2001:db8::7", "job.delete", &job),
        ("key:boss", "192.0.2.1", "queue.pause", "queue"),
        ("key:boss", "192.0.2.1", "queue.resume", "queue"),
        (&stored_name, "192.0.2.3", "worker.drain", &worker),
        ("unknown", "192.0.2.66", "login.failed", "/jobs"),
    ];
    noted(&test, before[0], &expected).await;
    let all = json!(entries(&test, "/audit?limit=100").await).to_string();
    assert!(![ADMIN, ALICE, &ops.key, "wrong"].iter().any(|secret| all.contains(secret)), "{all}");
}

/// Asserts that after the entry numbered `before` there are these: actor, address, action and target.
async fn noted(test: &TestGateway, before: u64, expected: &[(&str, &str, &str, &str)]) {
    let mut all = entries(test, "/audit?limit=100").await;
    all.reverse();
    let noted = all.split_off(usize::try_from(before).expect("a number"));
    assert_eq!(noted.len(), expected.len(), "{noted:?}");
    for (number, (mut entry, (actor, address, action, target))) in (1..).zip(noted.into_iter().zip(expected)) {
        let fields = entry.as_object_mut().expect("an object");
        let (time, hash) = (fields.remove("time").expect("a time"), fields.remove("hash").expect("a hash"));
        let at = time.as_str().and_then(Timestamp::parse).expect("a time");
        assert!((at.as_millis() - now_ms()).abs() < 600_000 && hash.as_str().map(str::len) == Some(64));
        let detail = if *action == "login.failed" { "unknown" } else { "" };
        let expected = json!({"seq": before + number, "actor": actor, "address": address, "action": action,
            "target": target, "correlationId": format!("act-{number}"), "detail": detail});
        assert_eq!(entry, expected);
    }
}

#[tokio::test]
async fn a_job_that_is_run_again_after_its_workers_were_lost_is_noted() {
    let test = online(guarded()).await;
    test.sim.update(|switches| switches.node_ms = 60_000);
    let job = submit(&test, &key(ALICE), &wish("tiny", json!({"color": 1})), 202).await;
    test.wait_status(&job, "running").await;
    // As the sweep does with a claim that ran out, for a job that may lose one worker.
    let far = Timestamp::from_millis(i64::MAX);
    test.gateway().database().recover_jobs(far, 1, 10).await.expect("the database");
    let path = format!("/queue/dead/{job}/retry");
    refused(&post(&test, &key(ALICE), &path, &json!({})).await, ErrorCode::Forbidden);
    let _again = post(&test, &key(ADMIN), &path, &json!({})).await.expect(202);
    let noted = entries(&test, "/audit?action=queue.retry").await;
    let told: Vec<_> = noted.iter().map(|entry| (text(entry, "/actor"), text(entry, "/target"))).collect();
    assert_eq!(told, [(String::from("key:boss"), job)]);
}

#[tokio::test]
async fn what_is_refused_or_only_read_leaves_none() {
    let test = offline(guarded()).await;
    let (admin, alice, bob) = (key(ADMIN), key(ALICE), key(BOB));
    let job = submit(&test, &alice, &wish("tiny", json!({"color": 1})), 202).await;
    let before = seqs(&test, "/audit").await;
    for path in ["/workflows", "/keys", "/queue/pause", "/queue/resume", "/workers/w-1/drain"] {
        refused(&post(&test, &alice, path, &json!({"name": "x"})).await, ErrorCode::Forbidden);
    }
    refused(&delete(&test, &alice, "/workflows/tiny").await, ErrorCode::Forbidden);
    refused(&delete(&test, &bob, &format!("/jobs/{job}")).await, ErrorCode::JobNotFound);
    refused(&delete(&test, &alice, &format!("/jobs/{job}")).await, ErrorCode::Conflict);
    refused(&delete(&test, &admin, "/keys/00000000").await, ErrorCode::KeyNotFound);
    refused(&delete(&test, &admin, "/workflows/nowhere").await, ErrorCode::WorkflowNotFound);
    refused(&post(&test, &admin, "/workers/w-1/drain", &json!({})).await, ErrorCode::NotFound);
    refused(&post(&test, &admin, "/keys", &json!({"name": ""})).await, ErrorCode::ValidationError);
    let mut known = tiny_workflow();
    known["id"] = json!("tiny");
    refused(&post(&test, &admin, "/workflows", &known).await, ErrorCode::Conflict);
    let path = format!("/jobs/{job}/webhooks/{UNKNOWN}/redeliver");
    refused(&post(&test, &alice, &path, &json!({})).await, ErrorCode::DeliveryNotFound);
    for path in ["/jobs", "/keys", "/audit", "/workflows/tiny"] {
        let _read = get(&test, &admin, path).await.expect(200);
    }
    refused(&get(&test, &nothing(), "/jobs").await, ErrorCode::AuthFailed);
    let _canceled = post(&test, &alice, &format!("/jobs/{job}/cancel"), &json!({})).await.expect(202);
    assert_eq!(seqs(&test, "/audit").await, before);
}

#[tokio::test]
async fn the_log_is_read_by_actor_by_action_by_time_and_page_by_page() {
    let test = offline(guarded()).await;
    let ops = make(&test, json!({"name": "ops", "role": "admin"})).await;
    fill(&test, 3).await;
    let middle = text(&entries(&test, "/audit?limit=1").await[0], "/time");
    until("the clock has gone on", || async { (from_now(0) > middle).then_some(()) }).await;
    let since = from_now(0);
    for number in 0..3 {
        let _gone = delete(&test, &key(&ops.key), &format!("/workflows/w-{number}")).await.expect(204);
    }
    let actor = format!("key:{}", ops.id);
    for (query, expected) in [
        ("limit=100".to_owned(), vec![8, 7, 6, 5, 4, 3, 2, 1]),
        ("action=workflow.delete".to_owned(), vec![8, 7, 6]),
        ("action=workflow.create".to_owned(), vec![5, 4, 3, 1]),
        (format!("actor={actor}"), vec![8, 7, 6]),
        ("actor=key:boss&action=key.create".to_owned(), vec![2]),
        (format!("actor={actor}&action=key.create"), vec![]),
        ("actor=key:bos&limit=100".to_owned(), vec![]),
        ("action=workflow".to_owned(), vec![]),
        (format!("after={since}"), vec![8, 7, 6]),
        (format!("before={since}"), vec![5, 4, 3, 2, 1]),
        (format!("after={since}&before={since}"), vec![]),
        ("limit=2&cursor=4".to_owned(), vec![3, 2]),
        ("cursor=1".to_owned(), vec![]),
    ] {
        assert_eq!(seqs(&test, &format!("/audit?{query}")).await, expected, "{query}");
    }
    let (mut path, mut paged) = (String::from("/audit?action=workflow.create&limit=2"), Vec::new());
    loop {
        paged.extend(seqs(&test, &path).await);
        let next = test.get(&path).await.json()["nextCursor"].clone();
        let Some(cursor) = next.as_str() else { break };
        // What comes meanwhile does not move the pages.
        test.register(&format!("new-{}", paged.len()), tiny_workflow()).await;
        path = format!("/audit?action=workflow.create&limit=2&cursor={cursor}");
    }
    assert_eq!(paged, [5, 4, 3, 1]);
    for cursor in ["x", "1.5", "''", "99999999999999999999"] {
        refused(&test.get(&format!("/audit?cursor={cursor}")).await, ErrorCode::BadCursor);
    }
    for query in ["limit=0", "limit=101", "limit=x", "after=yesterday", "before=1", "target=tiny", "actor="] {
        refused(&test.get(&format!("/audit?{query}")).await, ErrorCode::ValidationError);
    }
    refused(&get(&test, &key(ALICE), "/audit").await, ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_row_that_was_changed_is_named_and_what_is_written_afterwards_does_not_hide_it() {
    let test = offline(guarded()).await;
    fill(&test, 5).await;
    assert_eq!(verify(&test).await, Ok(6));
    let shown = entries(&test, "/audit?limit=100").await;
    let hashes: BTreeSet<String> = shown.iter().map(|entry| text(entry, "/hash")).collect();
    assert_eq!(hashes.len(), 6, "each has another");
    for column in ["time", "actor", "action", "target", "correlation_id", "address", "detail", "hash"] {
        let change = if column == "time" { String::from("time + 1") } else { format!("{column} || 'x'") };
        tamper(&test, "CREATE TABLE kept AS SELECT * FROM audit");
        tamper(&test, &format!("UPDATE audit SET {column} = {change} WHERE seq = 3"));
        assert_eq!(verify(&test).await, Err(ChainFault::Entry(3)), "{column}");
        tamper(&test, "DELETE FROM audit; INSERT INTO audit SELECT * FROM kept; DROP TABLE kept");
        assert_eq!(verify(&test).await, Ok(6), "{column}");
    }
    tamper(&test, SWAP);
    assert_eq!(verify(&test).await, Err(ChainFault::Entry(2)), "two have changed places");
    tamper(&test, SWAP);
    tamper(&test, "DELETE FROM audit WHERE seq = 4");
    assert_eq!(verify(&test).await, Err(ChainFault::Entry(4)), "one was removed");
    test.register("one-more", tiny_workflow()).await;
    assert_eq!(verify(&test).await, Err(ChainFault::Entry(4)));
    tamper(&test, "DELETE FROM audit WHERE seq < 4");
    assert_eq!(verify(&test).await, Err(ChainFault::Entry(1)), "the beginning was removed");
}
