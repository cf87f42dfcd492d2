//! Keys of callers, and the audit log.

use gateway_core::ErrorCode;
use serde_json::{Value, json};

use super::build::{Answer, Operation, in_path, in_query, reference};
use super::{examples, jobs};

const KEYS: &str = "Keys";
const AUDIT: &str = "Audit";

pub(super) fn operations() -> Vec<Operation> {
    vec![list_keys(), create_key(), revoke_key(), list_audit()]
}

fn list_keys() -> Operation {
    let example = json!({"items": [examples::key()], "nextCursor": Value::Null});
    Operation::new("GET", "/keys", "listKeys", KEYS)
        .about("List keys", "Those of the database, revoked ones, too, without what makes them keys. Keys of API_KEYS are not among them.")
        .admin()
        .answers(200, Answer::json("They.", "KeyList", example))
}

fn create_key() -> Operation {
    let mut created = examples::key();
    if let Some(fields) = created.as_object_mut() {
        let secret = format!("gw_{}_{}", examples::KEY, "0".repeat(49));
        fields.insert(String::from("key"), json!(secret));
    }
    let example = json!({"name": "shop", "rateLimit": 600});
    Operation::new("POST", "/keys", "createKey", KEYS)
        .about("Make a key", "The answer is the only place where it is ever shown. At most 1 MiB.")
        .admin()
        .takes("NewKey", &[("user", "A key of a user.", example)])
        .answers(
            201,
            Answer::json("It is made.", "CreatedKey", created)
                .header("Cache-Control")
                .link("revokeKey", &json!({"id": "$response.body#/id"})),
        )
}

fn revoke_key() -> Operation {
    let schema = json!({"type": "string", "pattern": "^[0-9A-Za-z]{8}$"});
    Operation::new("DELETE", "/keys/{id}", "revokeKey", KEYS)
        .about("Revoke a key", "Within a second no process takes it any more. Takes no body.")
        .admin()
        .with(in_path("id", "The key.", schema, examples::KEY))
        .reads()
        .answers(204, Answer::empty("It is revoked."))
        .fails(&[ErrorCode::KeyNotFound])
}

fn list_audit() -> Operation {
    let entry = json!({
        "seq": 17,
        "time": examples::ACCEPTED,
        "actor": "key:operator",
        "action": "workflow.create",
        "target": "flat_color",
        "correlationId": "01a20be03e79746c8532e2f4bc9d68ef",
        "address": "192.0.2.7",
        "detail": "",
        "hash": "8af44cb26b8504a3ff1bf7d3c3f6d61603540273d529e26f423d201a4c2023ff",
    });
    let example = json!({"items": [entry], "nextCursor": "17"});
    let text = || json!({"type": "string", "minLength": 1});
    Operation::new("GET", "/audit", "listAudit", AUDIT)
        .about("List what was done by whom", "The newest first: changes of workflows and keys, deletions, messages sent again, the queue paused, logins that failed.")
        .admin()
        .with(in_query("actor", "By exactly this actor.", text()))
        .with(in_query("action", "Of exactly this kind.", text()))
        .with(reference("parameters", "After"))
        .with(reference("parameters", "Before"))
        .with(jobs::limit(50))
        .with(reference("parameters", "Cursor"))
        .answers(200, Answer::json("A page of them.", "AuditList", example))
        .fails(&[ErrorCode::BadCursor])
}
