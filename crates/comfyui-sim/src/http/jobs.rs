//! `/api/jobs`: the newer view of queue and history, and the atomic cancellation.

use std::cmp::Ordering;
use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::prompt::read_body;
use super::{Shared, reply};
use crate::heap::Item;
use crate::history::Finished;
use crate::life::Life;
use crate::pyjson;

const STATUSES: [&str; 5] = ["pending", "in_progress", "completed", "failed", "cancelled"];

/// A job and its outputs, workflow and status, which only the single view shows.
struct Job {
    fields: Map<String, Value>,
    details: Map<String, Value>,
}

fn object(value: Value) -> Map<String, Value> {
    let fields = if let Value::Object(fields) = value { fields } else { Map::new() };
    fields.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

fn workflow(item: &Item) -> Value {
    json!({"prompt": item.prompt.as_ref(), "extra_data": item.extra_data.as_ref()})
}

fn waiting(item: &Item, status: &str, since: Option<i64>) -> Job {
    let fields = json!({
        "id": item.prompt_id, "status": status, "priority": item.number, "create_time": item.create_time,
        "execution_start_time": since, "outputs_count": 0, "workflow_id": workflow_id(item),
    });
    Job { fields: object(fields), details: object(json!({"workflow": workflow(item)})) }
}

fn workflow_id(item: &Item) -> Option<&str> {
    item.extra_data.pointer("/extra_pnginfo/workflow/id").and_then(Value::as_str)
}

fn finished(entry: &Finished) -> Job {
    let cancelled = entry.message("execution_interrupted").is_some();
    let status = match (entry.success, cancelled) {
        (true, _) => "completed",
        (false, true) => "cancelled",
        (false, false) => "failed",
    };
    let time = |name: &str| entry.message(name).and_then(|data| data.get("timestamp")).cloned();
    let end = ["execution_success", "execution_error", "execution_interrupted"].into_iter().find_map(time);
    let files: Vec<(&String, &String, &Value)> = entry.outputs.iter().flat_map(|(id, ui)| files(id, ui)).collect();
    let preview = files.iter().find_map(|(id, kind, file)| {
        let mut file = file.as_object()?.clone();
        file.insert("nodeId".to_owned(), json!(id));
        file.insert("mediaType".to_owned(), json!(kind));
        Some(file)
    });
    let fields = json!({
        "id": entry.item.prompt_id, "status": status, "priority": entry.item.number,
        "create_time": entry.item.create_time, "execution_start_time": time("execution_start"),
        "execution_end_time": end, "execution_error": entry.message("execution_error"),
        "outputs_count": files.len(), "previewable_outputs_count": files.len(), "preview_output": preview,
        "workflow_id": workflow_id(&entry.item),
    });
    let details = json!({
        "outputs": entry.outputs, "execution_status": entry.to_json().get("status"),
        "workflow": workflow(&entry.item),
    });
    Job { fields: object(fields), details: object(details) }
}

fn files<'a>(id: &'a String, ui: &'a Value) -> Vec<(&'a String, &'a String, &'a Value)> {
    let lists = ui.as_object().into_iter().flatten();
    let entries = lists.flat_map(|(kind, list)| list.as_array().into_iter().flatten().map(move |file| (kind, file)));
    entries.filter(|(_, file)| file.get("filename").is_some()).map(|(kind, file)| (id, kind, file)).collect()
}

/// All jobs: finished ones first, as nothing is missed while a job moves on.
fn all(life: &Life) -> Vec<Job> {
    life.with_queue(|queue| {
        let mut jobs: Vec<Job> = queue.history.all().iter().map(|entry| finished(entry)).collect();
        let running = queue.running.as_ref();
        jobs.extend(running.map(|running| waiting(&running.item, "in_progress", Some(running.since))));
        jobs.extend(queue.heap.iter().map(|item| waiting(item, "pending", None)));
        jobs
    })
}

fn bad_request(text: &str) -> Response {
    reply::json(StatusCode::BAD_REQUEST, &json!({"error": text}))
}

pub(super) async fn list(State(life): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let mut jobs: Vec<Map<String, Value>> = all(&life).into_iter().map(|job| job.fields).collect();
    if let Some(wanted) = query.get("status").filter(|wanted| !wanted.is_empty()) {
        let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
        if !wanted.iter().all(|status| STATUSES.contains(status)) {
            return bad_request(&format!("Invalid status value(s). Must be one of: {}", STATUSES.join(", ")));
        }
        jobs.retain(|job| job.get("status").and_then(Value::as_str).is_some_and(|status| wanted.contains(&status)));
    }
    if let Some(wanted) = query.get("workflow_id") {
        jobs.retain(|job| job.get("workflow_id").and_then(Value::as_str) == Some(wanted));
    }
    let sort_by = query.get("sort_by").map_or("created_at", String::as_str);
    if !matches!(sort_by, "created_at" | "execution_duration") {
        return bad_request("sort_by must be one of: created_at, execution_duration");
    }
    let order = query.get("sort_order").map_or("desc", String::as_str);
    if !matches!(order, "asc" | "desc") {
        return bad_request("sort_order must be 'asc' or 'desc'");
    }
    jobs.sort_by(|one, other| {
        let ordering = sort_key(one, sort_by).cmp(&sort_key(other, sort_by));
        if order == "asc" { ordering } else { Ordering::reverse(ordering) }
    });
    let number = |name: &str| query.get(name).map(|text| text.parse::<i64>()).transpose();
    let (Ok(limit), Ok(offset)) = (number("limit"), number("offset")) else {
        return bad_request("limit and offset must be integers");
    };
    if limit.is_some_and(|limit| limit <= 0) {
        return bad_request("limit must be a positive integer");
    }
    let total = jobs.len();
    let skip = usize::try_from(offset.unwrap_or(0).max(0)).unwrap_or(0);
    let take = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let page: Vec<Map<String, Value>> = jobs.into_iter().skip(skip).take(take).collect();
    let more = skip.saturating_add(page.len()) < total;
    let pagination = json!({"offset": skip, "limit": limit, "total": total, "has_more": more});
    reply::ok_json(&json!({"jobs": page, "pagination": pagination}))
}

fn sort_key(job: &Map<String, Value>, by: &str) -> i64 {
    let time = |name: &str| job.get(name).and_then(Value::as_i64).unwrap_or(0);
    if by == "created_at" { time("create_time") } else { time("execution_end_time") - time("execution_start_time") }
}

pub(super) async fn show(State(life): State<Shared>, Path(prompt_id): Path<String>) -> Response {
    let mut jobs = all(&life).into_iter();
    let found = jobs.find(|job| job.fields.get("id").and_then(Value::as_str) == Some(&prompt_id));
    match found {
        Some(Job { mut fields, details }) => {
            fields.extend(details);
            reply::ok_json(&Value::Object(fields))
        }
        None => reply::json(StatusCode::NOT_FOUND, &json!({"error": "Job not found"})),
    }
}

fn cancel_one(life: &Life, prompt_id: &str) -> bool {
    let running =
        life.with_queue(|queue| queue.running.as_ref().is_some_and(|running| running.item.prompt_id == prompt_id));
    if running { life.interrupt(Some(prompt_id)) } else { life.delete(&[prompt_id]) > 0 }
}

pub(super) async fn cancel(State(life): State<Shared>, Path(prompt_id): Path<String>) -> Response {
    reply::ok_json(&json!({"cancelled": cancel_one(&life, &prompt_id)}))
}

pub(super) async fn cancel_many(State(life): State<Shared>, body: Body) -> Response {
    let bytes = match read_body(&life, body).await {
        Ok(bytes) => bytes,
        Err(response) => return response,
    };
    let Ok(body) = pyjson::parse(&bytes) else { return bad_request("Request body must be valid JSON") };
    let Some(given) = body.get("job_ids").and_then(Value::as_array) else {
        return bad_request("job_ids must be a list");
    };
    let is_valid = |id: &&Value| id.as_str().is_some_and(|id| Uuid::parse_str(id).is_ok());
    let invalid: Vec<&Value> = given.iter().filter(|id| !is_valid(id)).collect();
    if !invalid.is_empty() {
        let body = json!({"error": "job_ids contains invalid id(s)", "invalid_ids": invalid});
        return reply::json(StatusCode::BAD_REQUEST, &body);
    }
    let mut cancelled = false;
    for id in given.iter().filter_map(Value::as_str) {
        cancelled |= cancel_one(&life, id);
    }
    reply::ok_json(&json!({"cancelled": cancelled}))
}
