//! `POST /workflows`, `PUT /workflows/{id}`, `DELETE /workflows/{id}`.

use actix_web::http::header::{ETAG, IF_MATCH, LOCATION};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use gateway_core::ErrorCode;
use gateway_db::DbError;

use crate::audit::Actor;
use crate::auth::Admin;
use crate::body::{Nothing, read_object};
use crate::error::ApiError;
use crate::query::Query;
use crate::state::ApiState;
use crate::workflows::read::{etag, view};
use crate::workflows::{check_id, request};

/// Registers a workflow.
pub(crate) async fn create_workflow(
    state: Data<ApiState>,
    _: Admin,
    actor: Actor,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    let body = read_object(&request, payload, state.parts.http.max_workflow_bytes).await?;
    let workflow = request::read(body, None, state.catalog().await.as_deref())?;
    let id = workflow.id.clone();
    match state.parts.database.create_workflow(workflow).await {
        Ok(_version) => {}
        Err(DbError::Duplicate) => {
            let detail = format!("the workflow {id} exists already");
            return Err(ApiError::new(ErrorCode::Conflict, detail).recommend("PUT /workflows/{id} replaces it"));
        }
        Err(error) => return Err(error.into()),
    }
    state.forget_workflow(&id);
    actor.note(&state, "workflow.create", &id).await;
    answer(&state, &id, HttpResponse::Created()).await
}

/// Replaces a workflow by a new version.
pub(crate) async fn update_workflow(
    state: Data<ApiState>,
    _: Admin,
    actor: Actor,
    path: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    let body = read_object(&request, payload, state.parts.http.max_workflow_bytes).await?;
    let id = path.into_inner();
    check_id(&id)?;
    let current = state.parts.database.find_workflow(&id, None).await?.ok_or_else(ApiError::workflow_not_found)?;
    let version = current.summary.version;
    let expected = match versions(&request)? {
        Some(allowed) if !allowed.contains(&version) => return Err(lost_race(version)),
        allowed => allowed.map(|_| version),
    };
    let workflow = request::read(body, Some(&id), state.catalog().await.as_deref())?;
    match state.parts.database.replace_workflow(workflow, expected).await? {
        Some(_version) => {}
        None => {
            let now = state.parts.database.find_workflow(&id, None).await?.ok_or_else(ApiError::workflow_not_found)?;
            return Err(lost_race(now.summary.version));
        }
    }
    state.forget_workflow(&id);
    actor.note(&state, "workflow.update", &id).await;
    answer(&state, &id, HttpResponse::Ok()).await
}

/// Removes a workflow; jobs that began with it go on.
pub(crate) async fn delete_workflow(
    state: Data<ApiState>,
    _: Admin,
    actor: Actor,
    path: Path<String>,
    request: HttpRequest,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    check_id(&path)?;
    if let Some(allowed) = versions(&request)? {
        let current =
            state.parts.database.find_workflow(&path, None).await?.ok_or_else(ApiError::workflow_not_found)?;
        if !allowed.contains(&current.summary.version) {
            return Err(lost_race(current.summary.version));
        }
    }
    if !state.parts.database.delete_workflow(&path).await? {
        return Err(ApiError::workflow_not_found());
    }
    state.forget_workflow(&path);
    actor.note(&state, "workflow.delete", &path).await;
    Ok(HttpResponse::NoContent().finish())
}

/// The versions that `If-Match` allows; `None` for any: it is `*`, or not there.
fn versions(request: &HttpRequest) -> Result<Option<Vec<i32>>, ApiError> {
    let Some(value) = request.headers().get(IF_MATCH) else {
        return Ok(None);
    };
    let tags = value.to_str().unwrap_or_default().trim();
    if tags == "*" {
        return Ok(None);
    }
    let version = |tag: &str| {
        let tag = tag.trim();
        // Proxies that compress mark tags as weak.
        tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').parse().ok()
    };
    let versions: Option<Vec<i32>> = tags.split(',').map(version).collect();
    versions.map(Some).ok_or_else(|| ApiError::bad_request("If-Match must be the ETag of a GET, such as \"3\""))
}

fn lost_race(version: i32) -> ApiError {
    ApiError::new(ErrorCode::Conflict, format!("the workflow is at version {version}: somebody replaced it meanwhile"))
        .recommend("GET it again, apply your change to that, and send it with its ETag in If-Match")
}

async fn answer(
    state: &ApiState,
    id: &str,
    mut response: actix_web::HttpResponseBuilder,
) -> Result<HttpResponse, ApiError> {
    let record = state.parts.database.find_workflow(id, None).await?.ok_or_else(ApiError::workflow_not_found)?;
    Ok(response
        .insert_header((ETAG, etag(record.summary.version)))
        .insert_header((LOCATION, format!("/workflows/{id}")))
        .json(view(&record)))
}
