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
    let items: Vec<Value> = state
        .parts
        .database
        .list_workflows()
        .await?
        .into_iter()
        .map(|workflow| {
            json!({
                "id": workflow.id,
                "name": workflow.name,
                "description": workflow.description,
                "version": workflow.version,
                "createdAt": workflow.created_at,
                "updatedAt": workflow.updated_at,
                "mayRun": caller.rights.may_run(&workflow.id),
            })
        })
        .collect();
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
    let mut view = json!({
        "id": record.summary.id,
        "name": record.summary.name,
        "description": record.summary.description,
        "version": record.summary.version,
        "createdAt": record.summary.created_at,
        "updatedAt": record.summary.updated_at,
        "workflow": record.graph,
        "inputSchema": record.summary.input_schema,
        "outputs": record.outputs,
    });
    if let (Some(requirements), Some(object)) = (&record.requirements, view.as_object_mut()) {
        object.insert(String::from("requirements"), requirements.clone());
    }
    view
}
