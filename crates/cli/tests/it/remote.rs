//! What commands do where something answers that is no gateway, or another one than they were told of.

use gateway_core::Timestamp;
use gateway_core::audit::{AuditEntry, AuditRecord, FIRST, link};
use gateway_testkit::{Receiver, Reply};
use serde_json::{Value, json};

use crate::support::Place;

const KEY: &str = "administrator-0123456789";

fn place() -> Place {
    let mut place = Place::new();
    place.set("GATEWAY_API_KEY", KEY);
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_not_shown_to_whom_a_redirect_leads() {
    let elsewhere = Receiver::start().await;
    for status in [301, 302, 303, 307, 308] {
        let target = elsewhere.url("/jobs?token=canary5ecret");
        let gateway = Receiver::scripted([Reply::status(status).header("location", &target)]).await;
        let url = gateway.url("");
        let origin = elsewhere.url("");
        for command in [
            &["keys", "list", "--gateway", &url][..],
            &["audit", "verify", "--gateway", &url],
            &["list-workflows", "--gateway", &url],
            &["submit", "icon_512", "prompt=a kite", "--gateway", &url],
        ] {
            let ended = place().run(command).expect(1);
            ended.says(&[&format!("{url} leads to {origin} (status {status})"), "name its address with --gateway URL"]);
            assert!(!ended.err.contains("canary5ecret"), "{}", ended.err);
        }
        assert!(
            gateway.requests().iter().all(|request| request.header("x-api-key") == KEY),
            "it is asked with the key"
        );
        assert_eq!(gateway.count(), 4);
    }
    assert_eq!(elsewhere.count(), 0, "it was followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lists_nothing_is_not_taken_for_an_empty_gateway() {
    for body in ["", "<html>welcome</html>", "{}", "[]", r#"{"items": 7}"#] {
        let other = Receiver::scripted([Reply::status(200).body(body)]).await;
        let url = other.url("");
        for command in [["keys", "list"], ["audit", "verify"]] {
            let ended = place().run(&[&command[..], &["--gateway", &url]].concat()).expect(1);
            ended.says(&["what answered is no gateway", "is the URL right?"]);
        }
        place().run(&["list-workflows", "--gateway", &url]).expect(1).says(&["what answered is no gateway"]);
    }
}

/// A list of these entries, the newest first.
async fn audit_log(records: &[Value]) -> Receiver {
    let items: Vec<&Value> = records.iter().rev().collect();
    Receiver::scripted([Reply::status(200).body(json!({"items": items, "nextCursor": null}).to_string())]).await
}

fn chain(length: i64) -> Vec<Value> {
    let mut previous = FIRST.to_owned();
    let record = |seq| {
        let text = String::from;
        let entry = AuditEntry {
            seq,
            time: Timestamp::from_millis(seq * 10),
            actor: text("key:ops"),
            action: text("key.create"),
            target: text("0IMDrIot"),
            correlation_id: text("c"),
            address: text("127.0.0.1"),
            detail: String::new(),
        };
        previous = link(&previous, &entry);
        json!(AuditRecord { entry, hash: previous.clone() })
    };
    (1..=length).map(record).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_the_audit_log_that_cannot_be_read_is_told_and_not_passed_over() {
    let mut records = chain(3);
    let gateway = audit_log(&records).await;
    let good = place().run(&["--json", "audit", "verify", "--gateway", &gateway.url("")]).expect(0).json();
    assert_eq!((&good["entries"], &good["head"]), (&json!(3), &records[2]["hash"]), "{good}");
    // The newest: the others alone are a chain without a fault.
    let whole = records[2].clone();
    for (field, value) in [("time", json!("yesterday")), ("hash", Value::Null), ("actor", json!(7))] {
        records[2] = whole.clone();
        records[2][field] = value;
        let gateway = audit_log(&records).await;
        let ended = place().run(&["audit", "verify", "--gateway", &gateway.url("")]).expect(1);
        ended.says(&["entry 3 can't be read as the gateway tells it", "the gateway's own version"]);
    }
    records[2] = json!("nonsense");
    let gateway = audit_log(&records).await;
    place().run(&["audit", "verify", "--gateway", &gateway.url("")]).expect(1).says(&["an entry can't be read"]);
}
