//! `/sim/…`: switches, counters and crashes, for other processes. No real server has these routes.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Shared, reply};
use crate::switches::Switches;

/// Long enough for the answer to leave before the connection is cut.
const LAST_WORDS: Duration = Duration::from_millis(20);

fn as_json<T: serde::Serialize>(value: &T) -> Response {
    match serde_json::to_value(value) {
        Ok(value) => reply::ok_json(&value),
        Err(_) => reply::server_error(),
    }
}

pub(super) async fn switches(State(life): State<Shared>) -> Response {
    as_json(life.switches().as_ref())
}

/// Takes an object with the switches to change.
pub(super) async fn change_switches(State(life): State<Shared>, body: Bytes) -> Response {
    let changed = serde_json::from_slice::<Value>(&body).and_then(|patch| {
        life.app.change_switches(|switches| {
            let mut merged = serde_json::to_value(&*switches)?;
            let patch: Map<String, Value> = serde_json::from_value(patch)?;
            if let Value::Object(merged) = &mut merged {
                merged.extend(patch);
            }
            *switches = serde_json::from_value::<Switches>(merged)?;
            Ok(())
        })
    });
    match changed {
        Ok(()) => as_json(life.switches().as_ref()),
        Err(error) => reply::json(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()})),
    }
}

pub(super) async fn stats(State(life): State<Shared>) -> Response {
    as_json(&life.app.stats.snapshot())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Crash {
    down_ms: Option<u64>,
}

/// Crashes, and comes back after `downMs`; without it, when it is restarted.
pub(super) async fn crash(State(life): State<Shared>, body: Bytes) -> Response {
    let crash = if body.is_empty() { Ok(Crash::default()) } else { serde_json::from_slice::<Crash>(&body) };
    match crash {
        Ok(Crash { down_ms }) => {
            let app = life.app.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LAST_WORDS).await;
                app.die(down_ms.map(Duration::from_millis));
            });
            reply::ok_empty()
        }
        Err(error) => reply::json(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()})),
    }
}
