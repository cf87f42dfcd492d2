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
use crate::state::{ApiState, EndedJob};

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
        return answer(&state, id, scope, true).await;
    }
    let answer = find(&state, id, scope).await?;
    if etag::is_known(request.headers(), &answer.etag) {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, answer.etag)).finish());
    }
    Ok(respond(answer))
}

/// The answer to a look at a job; with the outputs' bytes where they are asked for.
pub(crate) async fn answer(state: &ApiState, id: JobId, scope: Scope, inline: bool) -> Result<HttpResponse, ApiError> {
    if !inline {
        return Ok(respond(find(state, id, scope).await?));
    }
    let job = state.parts.database.find_job(id, scope).await?.ok_or_else(ApiError::job_not_found)?;
    let outputs = state.parts.database.outputs_of(id).await?;
    let body = view::render(state, &job, &outputs, true).await?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(body))
}

fn respond(answer: EndedJob) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((ETAG, answer.etag))
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(answer.body)
}

async fn find(state: &ApiState, id: JobId, scope: Scope) -> Result<EndedJob, ApiError> {
    match state.ended_job(id).filter(|job| may_see(&scope, job)) {
        Some(job) => Ok(job),
        None => load(state, id, scope).await,
    }
}

fn may_see(scope: &Scope, job: &EndedJob) -> bool {
    match scope {
        Scope::All => true,
        Scope::Owner(owner) => *owner == job.owner,
    }
}

async fn load(state: &ApiState, id: JobId, scope: Scope) -> Result<EndedJob, ApiError> {
    let database = &state.parts.database;
    let job = database.find_job(id, scope).await?.ok_or_else(ApiError::job_not_found)?;
    let outputs = if job.status.is_ended() { database.outputs_of(id).await? } else { Vec::new() };
    let inline = job.options.base64 && !outputs.is_empty() && view::fits(state, &outputs);
    let body = Bytes::from(view::render(state, &job, &outputs, inline).await?);
    let answer = EndedJob { owner: job.owner, etag: etag::of(&body), body };
    // Bytes of outputs are too large to be kept.
    if job.status.is_ended() && !inline {
        state.keep_ended_job(id, answer.clone());
    }
    Ok(answer)
}
