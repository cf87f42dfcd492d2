//! Small things that many tests need.

use std::time::{SystemTime, UNIX_EPOCH};

use gateway_core::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const HOUR_MS: i64 = 3_600_000;

/// The SHA-256 of `bytes`, as records show it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text at `pointer`; panics where there is none.
#[track_caller]
pub fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer}: {value}")).to_owned()
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    i64::try_from(now).expect("before the end of time")
}

/// So many milliseconds from now, as a request may say it.
pub fn from_now(millis: i64) -> String {
    Timestamp::from_millis(now_ms()).plus_millis(millis).to_string()
}

/// An hour from now, as a request may say it.
pub fn in_an_hour() -> String {
    from_now(HOUR_MS)
}
