//! `GET /workflows` and `GET /workflows/{id}`.

use actix_web::http::header::ETAG;
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use gateway_core::Role;
use gateway_core::ids::is_raw_workflow_id;
use gateway_db::WorkflowRecord;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::etag::is_known;
use crate::query::Query;
use crate::state::ApiState;
use crate::workflows::check_id;

/// All workflows that are registered, without their graphs.
pub(crate) async fn list_workflows(
    state: Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
) -> Result<Json<Value>, ApiError> {
    Query::read(&request, &[])?.check()?;
    let mut items = Vec::new();
    for workflow in state.parts.database.list_workflows().await? {
        let mut shown = workflow.shown();
        shown.insert(String::from("mayRun"), json!(caller.rights.may_run(&workflow.id)));
        items.push(shown);
    }
    Ok(Json(json!({"items": items, "nextCursor": Value::Null})))
}

/// One workflow, all of it. What came with a job is for administrators.
pub(crate) async fn find_workflow(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    check_id(&path)?;
    if is_raw_workflow_id(&path) && caller.role != Role::Admin {
        return Err(ApiError::workflow_not_found());
    }
    let record = state.parts.database.find_workflow(&path, None).await?.ok_or_else(ApiError::workflow_not_found)?;
    let etag = etag(record.summary.version);
    if is_known(request.headers(), &etag) {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, etag)).finish());
    }
    Ok(HttpResponse::Ok().insert_header((ETAG, etag)).json(view(&record)))
}

/// The entity tag of a version.
pub(super) fn etag(version: i32) -> String {
    format!("\"{version}\"")
}

/// A workflow as the API shows it.
pub(super) fn view(record: &WorkflowRecord) -> Value {
    let mut view = record.summary.shown();
    view.insert(String::from("workflow"), record.graph.clone());
    view.insert(String::from("inputSchema"), record.summary.input_schema.clone());
    view.insert(String::from("outputs"), json!(record.outputs));
    if let Some(requirements) = &record.requirements {
        view.insert(String::from("requirements"), requirements.clone());
    }
    Value::Object(view)
}
