//! `GET /jobs/{id}`: the hottest call of a polling client, so answers for ended jobs are kept.

use actix_web::http::header::{CONTENT_TYPE, ETAG};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use gateway_core::{JobId, Scope};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::etag;
use crate::jobs::{parse_id, view};
use crate::query::Query;
use crate::state::{ApiState, ShownJob};

/// One job.
pub(crate) async fn find_job(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::read(&request, &["include"])?;
    let inline = query.parse("include", "base64", |text| (text == "base64").then_some(true)).unwrap_or(false);
    query.check()?;
    let id = parse_id(&path)?;
    let scope = caller.scope();
    if inline {
        return show_with_bytes(&state, id, scope).await;
    }
    let shown = find(&state, id, scope).await?;
    if etag::is_known(request.headers(), &shown.etag) {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, shown.etag)).finish());
    }
    Ok(respond(shown))
}

/// The answer to a look at a job.
pub(super) async fn show(state: &ApiState, id: JobId, scope: Scope) -> Result<HttpResponse, ApiError> {
    find(state, id, scope).await.map(respond)
}

/// The same with the bytes of its outputs.
async fn show_with_bytes(state: &ApiState, id: JobId, scope: Scope) -> Result<HttpResponse, ApiError> {
    let job = state.parts.database.find_job(id, scope).await?.ok_or_else(ApiError::job_not_found)?;
    let outputs = state.parts.database.outputs_of(id).await?;
    let body = view::render(state, &job, &outputs, true).await?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(body))
}

/// The job as JSON, for whoever may see it.
pub(crate) async fn shown(state: &ApiState, id: JobId, scope: Scope) -> Result<Bytes, ApiError> {
    Ok(find(state, id, scope).await?.body)
}

fn respond(shown: ShownJob) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((ETAG, shown.etag))
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(shown.body)
}

async fn find(state: &ApiState, id: JobId, scope: Scope) -> Result<ShownJob, ApiError> {
    match state.ended_job(id).filter(|job| may_see(&scope, job)) {
        Some(job) => Ok(job),
        None => load(state, id, scope).await,
    }
}

fn may_see(scope: &Scope, job: &ShownJob) -> bool {
    match scope {
        Scope::All => true,
        Scope::Owner(owner) => *owner == job.owner,
    }
}

async fn load(state: &ApiState, id: JobId, scope: Scope) -> Result<ShownJob, ApiError> {
    let database = &state.parts.database;
    let job = database.find_job(id, scope).await?.ok_or_else(ApiError::job_not_found)?;
    let outputs = if job.status.is_ended() { database.outputs_of(id).await? } else { Vec::new() };
    let inline = job.options.base64 && !outputs.is_empty() && view::fits(state, &outputs);
    let body = Bytes::from(view::render(state, &job, &outputs, inline).await?);
    let shown = ShownJob { owner: job.owner, etag: etag::of(&body), body };
    // Bytes of outputs are too large to be kept.
    if job.status.is_ended() && !inline {
        state.keep_ended_job(id, shown.clone());
    }
    Ok(shown)
}
