//! Keys of callers, and the audit log.

use gateway_core::access::{MAX_WEIGHT, MAX_WORKFLOWS};
use serde_json::{Value, json};

use super::{between, closed, count, flag, list, matching, object, one_of, or_null, page, sha256, text, time, with};

pub(super) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("NewKey", new_key()),
        ("Key", object("A key, without what makes it one.", &key())),
        ("CreatedKey", created_key()),
        ("KeyList", page("All keys, revoked ones, too. One page: `nextCursor` is null.", "Key")),
        ("AuditEntry", audit_entry()),
        ("AuditList", page("A page of the audit log.", "AuditEntry")),
    ]
}

fn new_key() -> Value {
    let name = json!({
        "type": "string",
        "pattern": "^[A-Za-z0-9._@-]{1,64}$",
        "not": {"anyOf": [{"pattern": "^key-"}, {"const": "local"}]},
        "description": "Whose jobs it makes; keys of the same name share them. Not beginning with `key-`.",
    });
    let workflows = list("The workflows that it may run; all where there is no list.", text("A workflow's id."));
    let workflows = with(with(workflows, "minItems", json!(1)), "maxItems", json!(MAX_WORKFLOWS));
    closed(
        "A key to be made.",
        &[
            ("name", name),
            ("role?", with(one_of("What it may do.", &["admin", "user"]), "default", json!("user"))),
            ("expiresAt?", or_null(time("When it ends: a time in the future."))),
            (
                "rateLimit?",
                or_null(between("Requests in each window, in place of RATE_LIMIT_MAX.", 1, u32::MAX.into())),
            ),
            ("queueLimit?", or_null(between("Jobs that may wait, in place of OWNER_QUEUE_LIMIT.", 1, u32::MAX.into()))),
            (
                "runningLimit?",
                or_null(between("Jobs that may run at once, in place of OWNER_RUNNING_LIMIT.", 1, u32::MAX.into())),
            ),
            (
                "weight?",
                or_null(between(
                    "How much its owner gets where others wait, too; 1 where it is left out.",
                    1,
                    MAX_WEIGHT.into(),
                )),
            ),
            ("workflows?", or_null(workflows)),
            ("raw?", flag("Whether it may run graphs that are not registered.")),
        ],
    )
}

fn key() -> [(&'static str, Value); 14] {
    [
        ("id", matching("Its id; no secret.", "^[0-9A-Za-z]{8}$")),
        ("name", text("Whose jobs it makes.")),
        ("role", one_of("What it may do.", &["admin", "user"])),
        ("createdAt", time("When it was made.")),
        ("createdBy", text("Who made it.")),
        ("expiresAt", or_null(time("When it ends; null: never."))),
        ("lastUsedAt", or_null(time("When it was last used, to the minute."))),
        ("revokedAt", or_null(time("When it was revoked."))),
        ("rateLimit?", count("Requests in each window; left out where it is as for all.", 1)),
        ("queueLimit?", count("Jobs that may wait; left out where it is as for all.", 1)),
        ("runningLimit?", count("Jobs that may run at once; left out where it is as for all.", 1)),
        ("weight?", count("How much its owner gets where others wait, too; left out: 1.", 1)),
        ("workflows?", list("The workflows that it may run; left out: all.", text("A workflow's id."))),
        ("raw?", flag("Whether it may run graphs that are not registered; left out where not.")),
    ]
}

fn created_key() -> Value {
    let secret = matching("The key itself. It is shown here and nowhere else.", "^gw_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}$");
    object("A key that was made.", &[&key()[..], &[("key", secret)]].concat())
}

fn audit_entry() -> Value {
    object(
        "What was done by whom.",
        &[
            ("seq", count("Its number: 1 for the first.", 1)),
            ("time", time("When.")),
            ("actor", text("By whom: `key:` and a key's id or name, or the subject of a token.")),
            ("action", text("What, such as `workflow.create`.")),
            ("target", text("To what.")),
            ("correlationId", text("Of the request.")),
            ("address", text("Where that came from.")),
            ("detail", text("What else there is to say.")),
            ("hash", sha256("Over this entry and the hash of the one before.")),
        ],
    )
}
