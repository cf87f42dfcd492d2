//! `/prompt`: takes a prompt, judges it and queues it, in the order in which ComfyUI does these things.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Shared, reply};
use crate::config::Profile;
use crate::connection::Peer;
use crate::heap::Item;
use crate::life::Life;
use crate::pyjson;
use crate::switches::Switches;
use crate::validate::{self, Rules, Verdict};

/// Reads a whole body, up to the limit of the server.
pub(super) async fn read_body(life: &Life, body: Body) -> Result<Bytes, Response> {
    let limit = life.switches().max_upload_bytes;
    let bytes = axum::body::to_bytes(body, usize::try_from(limit).unwrap_or(usize::MAX)).await;
    bytes.map_err(|error| {
        tracing::debug!(%error, "a request body was not read");
        reply::too_large(limit)
    })
}

pub(super) async fn show_remaining(State(life): State<Shared>) -> Response {
    let remaining = life.with_queue(|queue| queue.remaining());
    reply::ok_json(&json!({"exec_info": {"queue_remaining": remaining}}))
}

pub(super) async fn submit(State(life): State<Shared>, ConnectInfo(peer): ConnectInfo<Peer>, body: Body) -> Response {
    let switches = life.switches();
    if let Some(status) = switches.refuse_prompt_status {
        return reply::html(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY));
    }
    let bytes = match read_body(&life, body).await {
        Ok(bytes) => bytes,
        Err(response) => return response,
    };
    let begun = life.begun();
    let (response, queued) = accept(&life, &bytes);
    if !queued {
        return response;
    }
    if take_turn(&life, switches.foreign_clear, |switches| &mut switches.foreign_clear) {
        life.clear_queue();
    }
    if take_turn(&life, switches.lose_prompt_reply, |switches| &mut switches.lose_prompt_reply) {
        peer.cut();
        return std::future::pending().await;
    }
    if switches.event_before_response {
        // When another prompt runs this one does not begin soon; then the answer does not wait for it.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(250), begun).await;
    }
    response
}

/// Whether a switch that counts down had turns left.
fn take_turn(life: &Life, left: u32, counter: impl Fn(&mut Switches) -> &mut u32) -> bool {
    left > 0
        && life.app.change_switches(|switches| {
            let left = counter(switches);
            let taken = *left > 0;
            *left = left.saturating_sub(1);
            taken
        })
}

/// The same prompt, sent a moment earlier by somebody else.
fn strangers(item: &Item) -> Item {
    Item {
        prompt_id: Uuid::new_v4().to_string(),
        extra_data: Arc::new(Value::Object(Map::new())),
        number: pyjson::float(item.number.as_f64().unwrap_or_default() - 0.5),
        prompt: Arc::clone(&item.prompt),
        outputs: item.outputs.clone(),
        create_time: item.create_time,
    }
}

/// The answer, and whether the prompt is in the queue.
fn accept(life: &Life, bytes: &[u8]) -> (Response, bool) {
    let refused = |response: Response| (response, false);
    let mut body = match pyjson::parse(bytes) {
        Ok(Value::Object(body)) => body,
        // `"prompt" in` a list or a text is simply false.
        Ok(Value::Array(_) | Value::String(_)) => {
            life.take_number();
            return refused(no_prompt());
        }
        _ => return refused(reply::server_error()),
    };
    let Some(number) = read_number(life, &body) else { return refused(reply::server_error()) };
    let Some(mut prompt) = body.remove("prompt") else { return refused(no_prompt()) };
    let Some(prompt_id) = read_prompt_id(life.profile, body.get("prompt_id")) else {
        return refused(invalid_prompt_id());
    };
    let targets = body.get("partial_execution_targets").and_then(Value::as_array).map(Vec::as_slice);
    let rules = Rules { definitions: &life.app.definitions, files: &life.app.files, profile: life.profile };
    let mut random = life.with_queue(|queue| {
        queue.random.next();
        queue.random.clone()
    });
    let Ok(verdict) = validate::validate(&rules, &mut prompt, targets, &mut random) else {
        return refused(reply::server_error());
    };
    let client_id = body.remove("client_id");
    let Some(extra_data) = read_extra_data(life, body.remove("extra_data"), client_id) else {
        return refused(reply::server_error());
    };
    match verdict {
        Verdict::Refused { error, node_errors } => {
            life.app.stats.change(|stats| stats.prompts_refused += 1);
            let body = json!({"error": error, "node_errors": node_errors});
            refused(reply::json(StatusCode::BAD_REQUEST, &body))
        }
        Verdict::Accepted { outputs, node_errors } => {
            let answer = json!({"prompt_id": prompt_id, "number": number, "node_errors": node_errors});
            let item = Item {
                number,
                prompt_id,
                prompt: Arc::new(prompt),
                extra_data: Arc::new(extra_data),
                outputs,
                create_time: life.now(),
            };
            if take_turn(life, life.switches().foreign_jobs, |switches| &mut switches.foreign_jobs)
                && life.enqueue(Arc::new(strangers(&item))).is_err()
            {
                return (reply::server_error(), true);
            }
            match life.enqueue(Arc::new(item)) {
                Ok(()) => (reply::ok_json(&answer), true),
                Err(_) => (reply::server_error(), true),
            }
        }
    }
}

fn no_prompt() -> Response {
    let text = "No prompt provided";
    let error = json!({"type": "no_prompt", "message": text, "details": text, "extra_info": {}});
    reply::json(StatusCode::BAD_REQUEST, &json!({"error": error, "node_errors": {}}))
}

/// The priority. None: not a number, which nobody catches.
fn read_number(life: &Life, body: &Map<String, Value>) -> Option<Value> {
    match body.get("number") {
        Some(Value::Number(number)) => number.as_f64().map(pyjson::float),
        Some(Value::Bool(flag)) => Some(pyjson::float(if *flag { 1.0 } else { 0.0 })),
        Some(Value::String(text)) => {
            let float = pyjson::special(text).or_else(|| text.trim().parse().ok());
            float.map(pyjson::float)
        }
        Some(_) => None,
        None => {
            let number = life.take_number();
            let front = body.get("front").is_some_and(|front| !matches!(front, Value::Null | Value::Bool(false)));
            Some(Value::from(if front { -number } else { number }))
        }
    }
}

/// None: the release takes canonical UUIDs only, and this is none.
fn read_prompt_id(profile: Profile, given: Option<&Value>) -> Option<String> {
    let minted = || Uuid::new_v4().to_string();
    if profile < Profile::V0_3_64 {
        return Some(minted());
    }
    if profile < Profile::V0_26 {
        return Some(given.map_or_else(minted, pyjson::py_str));
    }
    match given {
        None | Some(Value::Null) => Some(minted()),
        Some(given) => {
            let text = given.as_str()?;
            Uuid::parse_str(text).is_ok_and(|id| id.to_string() == text).then(|| text.to_owned())
        }
    }
}

fn invalid_prompt_id() -> Response {
    let text = "prompt_id must be a valid UUID";
    let error = json!({"type": "invalid_prompt_id", "message": text, "details": text, "extra_info": {}});
    reply::json(StatusCode::BAD_REQUEST, &json!({"error": error, "node_errors": {}}))
}

/// What goes along with the prompt. None: an exception that nobody catches.
fn read_extra_data(life: &Life, given: Option<Value>, client_id: Option<Value>) -> Option<Value> {
    let mut extra = given.unwrap_or_else(|| Value::Object(Map::new()));
    if let Some(client_id) = client_id {
        extra.as_object_mut()?.insert("client_id".to_owned(), client_id);
    }
    if life.profile >= Profile::V0_3_70
        && let Value::Object(extra) = &mut extra
    {
        extra.insert("create_time".to_owned(), Value::from(life.now()));
    }
    Some(extra)
}
