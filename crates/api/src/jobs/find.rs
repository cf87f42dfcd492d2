//! `GET /jobs/{id}`: the hottest call of a polling client, so answers for ended jobs are kept.

use actix_web::http::header::{CONTENT_TYPE, ETAG};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use gateway_core::{JobId, Scope};
use sha2::{Digest as _, Sha256};

use crate::error::ApiError;
use crate::etag;
use crate::jobs::{parse_id, view};
use crate::query::Query;
use crate::state::{ApiState, EndedJob};

/// One job.
pub(crate) async fn find_job(
    state: Data<ApiState>,
    path: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    let id = parse_id(&path)?;
    let scope = state.caller().scope();
    let kept = state.ended_job(id).filter(|job| may_see(&scope, job));
    let answer = match kept {
        Some(job) => job,
        None => load(&state, id, scope).await?,
    };
    if etag::is_known(request.headers(), &answer.etag) {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, answer.etag)).finish());
    }
    Ok(HttpResponse::Ok()
        .insert_header((ETAG, answer.etag))
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(answer.body))
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
    let body = Bytes::from(view::render(state, &job, &outputs).await?);
    let digest = Sha256::digest(&body);
    let tag: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let answer = EndedJob { owner: job.owner, body, etag: format!("\"{tag}\"") };
    if job.status.is_ended() {
        state.keep_ended_job(id, answer.clone());
    }
    Ok(answer)
}
