//! `/history`: what has finished.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::queue::{ids, read_object, truthy};
use super::{Shared, reply};
use crate::history::Finished;
use crate::life::Life;
use crate::pyjson;

async fn delay(life: &Life) {
    let millis = life.switches().history_delay_ms;
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// `{id: entry}`. An entry that Python cannot write takes the whole answer down.
fn entries(found: &[Arc<Finished>]) -> Response {
    if found.iter().any(|entry| entry.poisoned) {
        return reply::server_error();
    }
    let mut text = String::from("{");
    for (place, entry) in found.iter().enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        pyjson::write_str(&mut text, &entry.item.prompt_id);
        text.push_str(": ");
        pyjson::write_value(&mut text, &entry.to_json());
    }
    text.push('}');
    reply::json_text(StatusCode::OK, text)
}

pub(super) async fn list(State(life): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    delay(&life).await;
    let number = |name: &str| query.get(name).map(|text| text.parse::<i64>()).transpose();
    let (Ok(max_items), Ok(offset)) = (number("max_items"), number("offset")) else {
        return reply::server_error();
    };
    entries(&life.with_queue(|queue| queue.history.page(max_items, offset.unwrap_or(-1))))
}

pub(super) async fn show(State(life): State<Shared>, Path(prompt_id): Path<String>) -> Response {
    delay(&life).await;
    let found = life.with_queue(|queue| queue.history.get(&prompt_id));
    entries(found.as_slice())
}

pub(super) async fn change(State(life): State<Shared>, body: Body) -> Response {
    let body = match read_object(&life, body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    life.with_queue(|queue| {
        if truthy(&body, "clear") {
            queue.history.clear();
        }
        for id in ids(&body) {
            queue.history.remove(id);
        }
    });
    reply::ok_empty()
}
