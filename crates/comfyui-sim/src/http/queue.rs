//! `/queue`, `/interrupt` and `/free`.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};

use super::prompt::read_body;
use super::{Shared, reply};
use crate::config::Profile;
use crate::life::{Free, Life};
use crate::pyjson;

const SECRETS: [&str; 2] = ["auth_token_comfy_org", "api_key_comfy_org"];

/// The object in a body. Err: the answer to anything else.
pub(super) async fn read_object(life: &Life, body: Body) -> Result<Map<String, Value>, Response> {
    match pyjson::parse(&read_body(life, body).await?) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(reply::server_error()),
    }
}

/// The ids under `delete`.
pub(super) fn ids(body: &Map<String, Value>) -> Vec<&str> {
    body.get("delete").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(super) fn truthy(body: &Map<String, Value>, name: &str) -> bool {
    body.get(name).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) async fn show(State(life): State<Shared>) -> Response {
    if life.switches().queue_fault {
        return reply::server_error();
    }
    let hidden: &[&str] = if life.profile >= Profile::V0_3_70 { &SECRETS } else { &[] };
    reply::ok_json(&life.listing(hidden))
}

pub(super) async fn change(State(life): State<Shared>, body: Body) -> Response {
    let body = match read_object(&life, body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    if truthy(&body, "clear") {
        life.clear_queue();
    }
    life.delete(&ids(&body));
    reply::ok_empty()
}

pub(super) async fn interrupt(State(life): State<Shared>, body: Body) -> Response {
    let bytes = match read_body(&life, body).await {
        Ok(bytes) => bytes,
        Err(response) => return response,
    };
    let body = match pyjson::parse(&bytes) {
        Ok(Value::Object(body)) => body,
        Ok(_) if life.profile >= Profile::V0_3_64 => return reply::server_error(),
        // Whatever cannot be read counts as an empty object.
        Ok(_) | Err(_) => Map::new(),
    };
    let wanted = body.get("prompt_id").filter(|id| !matches!(id, Value::Null)).map(pyjson::py_str);
    let wanted = wanted.filter(|id| !id.is_empty() && life.profile >= Profile::V0_3_64);
    life.interrupt(wanted.as_deref());
    reply::ok_empty()
}

pub(super) async fn free(State(life): State<Shared>, body: Body) -> Response {
    match read_object(&life, body).await {
        Ok(body) => {
            life.ask_free(Free { memory: truthy(&body, "free_memory"), models: truthy(&body, "unload_models") });
            reply::ok_empty()
        }
        Err(response) => response,
    }
}
