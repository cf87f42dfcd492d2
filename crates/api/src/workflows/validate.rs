//! `POST /workflows/{id}/validate`: what `POST /jobs` would make of these inputs; nothing is queued.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path, Payload};
use gateway_core::Fault;
use gateway_core::ids::is_raw_workflow_id;
use serde_json::{Map, Value, json};

use crate::body::read_object;
use crate::error::ApiError;
use crate::jobs::{Prepared, prepare};
use crate::query::Query;
use crate::state::ApiState;
use crate::workflows::check_id;

/// Answers the rendered graph, or the errors that `POST /jobs` would give.
pub(crate) async fn validate_inputs(
    state: Data<ApiState>,
    path: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<Json<Value>, ApiError> {
    Query::read(&request, &[])?.check()?;
    let mut body = read_object(&request, payload, state.parts.http.max_json_bytes).await?;
    let mut faults = Vec::new();
    let inputs = object(body.remove("inputs"), "/inputs", &mut faults);
    let params = object(body.remove("params").filter(|params| !params.is_null()), "/params", &mut faults);
    let unread = !faults.is_empty();
    for field in body.keys() {
        faults.push(Fault::new(format!("/{field}"), "unknown field; there are: inputs, params"));
    }
    check_id(&path)?;
    if is_raw_workflow_id(&path) {
        return Err(ApiError::workflow_not_found());
    }
    let ready = state.workflow(&path).await?;
    let prepared = prepare(&ready.workflow, &inputs, &params, &state.rules(), &state.catalogs().await);
    if faults.is_empty() {
        let Prepared { resolved, graph, .. } = prepared?;
        return Ok(Json(json!({"valid": true, "resolvedInputs": resolved, "workflow": graph})));
    }
    if let Err(error) = prepared
        && !unread
    {
        faults.extend(error.faults);
    }
    Err(ApiError::invalid(faults))
}

fn object(value: Option<Value>, path: &str, faults: &mut Vec<Fault>) -> Map<String, Value> {
    match value {
        None => Map::new(),
        Some(Value::Object(object)) => object,
        Some(_) => {
            faults.push(Fault::new(path, "must be an object"));
            Map::new()
        }
    }
}
