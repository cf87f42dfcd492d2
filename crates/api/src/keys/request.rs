//! The body of `POST /keys`: read strictly, every fault at once.

use gateway_core::access::{KeyRights, MAX_WEIGHT, MAX_WORKFLOWS};
use gateway_core::owner::NAMES;
use gateway_core::{Fault, Owner, Role, Timestamp};
use serde_json::{Map, Value};

use crate::error::ApiError;

const FIELDS: &str = "name, role, expiresAt, rateLimit, queueLimit, runningLimit, weight, workflows, raw";
/// Fields for which null is as good as nothing.
const OPTIONAL: [&str; 6] = ["expiresAt", "rateLimit", "queueLimit", "runningLimit", "weight", "workflows"];

/// What a new key is to be.
#[derive(Debug, PartialEq)]
pub(super) struct KeyRequest {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) rights: KeyRights,
}

pub(super) fn read(body: Map<String, Value>, now: Timestamp) -> Result<KeyRequest, ApiError> {
    let mut request =
        KeyRequest { name: String::new(), role: Role::User, expires_at: None, rights: KeyRights::default() };
    let mut faults = Vec::new();
    for (field, value) in body {
        let read = match field.as_str() {
            "name" => name(&value).map(|name| request.name = name),
            "role" => role(&value).map(|role| request.role = role),
            optional if value.is_null() && OPTIONAL.contains(&optional) => Ok(()),
            "expiresAt" => time(&value, now).map(|time| request.expires_at = Some(time)),
            "rateLimit" => number(&value).map(|limit| request.rights.rate_limit = Some(limit)),
            "queueLimit" => number(&value).map(|limit| request.rights.queue_limit = Some(limit)),
            "runningLimit" => number(&value).map(|limit| request.rights.running_limit = Some(limit)),
            "weight" => weight(&value).map(|weight| request.rights.weight = Some(weight)),
            "workflows" => workflows(&value).map(|list| request.rights.workflows = Some(list)),
            "raw" => value.as_bool().map(|raw| request.rights.raw = raw).ok_or("must be true or false".to_owned()),
            _ => Err(format!("unknown field; there are: {FIELDS}")),
        };
        if let Err(message) = read {
            faults.push(Fault::new(format!("/{field}"), message));
        }
    }
    if request.name.is_empty() && !faults.iter().any(|fault| fault.path == "/name") {
        faults.push(Fault::new("/name", "is missing: it names the owner of the key's jobs"));
    }
    if faults.is_empty() { Ok(request) } else { Err(ApiError::invalid(faults)) }
}

/// Names of other callers begin otherwise: no key can be made that is one of them.
fn name(value: &Value) -> Result<String, String> {
    let name = value.as_str().filter(|name| Owner::named(name).is_some());
    name.map(str::to_owned).ok_or_else(|| format!("must be {NAMES}"))
}

fn role(value: &Value) -> Result<Role, String> {
    value.as_str().and_then(Role::parse).ok_or_else(|| String::from("must be admin or user"))
}

fn time(value: &Value, now: Timestamp) -> Result<Timestamp, String> {
    let time = value.as_str().and_then(Timestamp::parse);
    time.filter(|time| *time > now).ok_or_else(|| String::from("must be an RFC 3339 time in the future"))
}

fn number(value: &Value) -> Result<u32, String> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| String::from("must be a whole number above 0"))
}

fn weight(value: &Value) -> Result<u32, String> {
    let weight = number(value).ok().filter(|weight| *weight <= MAX_WEIGHT);
    weight.ok_or_else(|| format!("must be a whole number from 1 to {MAX_WEIGHT}"))
}

fn workflows(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().filter(|list| (1..=MAX_WORKFLOWS).contains(&list.len()));
    let ids: Option<Vec<String>> = list.and_then(|list| list.iter().map(|id| id.as_str().map(str::to_owned)).collect());
    ids.ok_or_else(|| format!("must be a list of 1 to {MAX_WORKFLOWS} ids of workflows"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(body: Value) -> Vec<String> {
        let read = read(body.as_object().unwrap().clone(), Timestamp::from_millis(1_000));
        read.map_or_else(|error| error.faults.into_iter().map(|fault| fault.path).collect(), |_| Vec::new())
    }

    #[test]
    fn a_full_request_is_read() {
        let body = json!({"name": "shop", "role": "admin", "expiresAt": "2030-01-01T00:00:00Z", "rateLimit": 5,
            "queueLimit": 7, "runningLimit": 2, "weight": 100, "workflows": ["w"], "raw": true});
        let request = read(body.as_object().unwrap().clone(), Timestamp::from_millis(0)).unwrap();
        let rights = KeyRights {
            rate_limit: Some(5),
            queue_limit: Some(7),
            running_limit: Some(2),
            weight: Some(100),
            workflows: Some(vec!["w".into()]),
            raw: true,
        };
        assert_eq!((request.name.as_str(), request.role, request.rights), ("shop", Role::Admin, rights));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for name in ["", "a b", "key-1", "local", "jwt:x", &"x".repeat(65)] {
            assert_eq!(faults(json!({"name": name})), ["/name"], "{name}");
        }
        for (field, value) in [
            ("role", json!("root")),
            ("expiresAt", json!("1970-01-01T00:00:00Z")),
            ("rateLimit", json!(0)),
            ("queueLimit", json!(-1)),
            ("runningLimit", json!(0)),
            ("weight", json!(0)),
            ("weight", json!(101)),
            ("weight", json!(1.5)),
            ("workflows", json!([])),
            ("workflows", json!([1])),
            ("raw", json!("yes")),
            ("hash", json!("00")),
        ] {
            assert_eq!(faults(json!({"name": "a", field: value})), [format!("/{field}")]);
        }
        assert_eq!(faults(json!({})), ["/name"]);
    }
}
