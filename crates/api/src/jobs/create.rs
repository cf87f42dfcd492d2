//! `POST /jobs` and `POST /jobs/{id}/retry`.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use gateway_core::{ErrorCode, Fault};
use gateway_db::Job;

use crate::auth::Caller;
use crate::body::{Nothing, read_object};
use crate::correlate::CorrelationId;
use crate::error::ApiError;
use crate::jobs::accept::accept;
use crate::jobs::request::JobRequest;
use crate::jobs::submit::{Besides, submit};
use crate::jobs::wait::Preference;
use crate::jobs::{answer, idempotency, parse_id, prepare, raw, request};
use crate::query::Query;
use crate::state::ApiState;

/// Accepts a job.
pub(crate) async fn create_job(
    state: Data<ApiState>,
    caller: Caller,
    correlation: CorrelationId,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    let body = read_object(&request, payload, state.parts.http.max_job_bytes).await?;
    let preference = Preference::read(&request);
    let key = idempotency::key(&request, &body)?;
    if let Some(key) = &key
        && let Some(known) = state.parts.database.find_request(&caller.owner, key).await?
    {
        let response = answer::known(&state, known).await?;
        return Ok(preference.wait(&state, response).await);
    }
    let (mut request, mut faults) = request::read(body, state.parts.database.now());
    let raw = raw::take(&state, &caller, &mut request, &mut faults).await?;
    if !faults.is_empty() {
        return Err(refuse(&state, &request, faults, raw.is_some()).await);
    }
    let besides = Besides { request: key, ..Besides::default() };
    let submission = submit(&state, &caller, request, correlation, besides).await;
    let submission = submission.map_err(|error| raw::told(raw.as_ref(), error))?;
    let response = accept(&state, &caller, submission).await?;
    Ok(preference.wait(&state, response).await)
}

/// Every fault at once: those of the request, and where its workflow and inputs could be read, what is wrong with these.
/// Those of a graph that came with it are among them already.
async fn refuse(state: &ApiState, request: &JobRequest, mut faults: Vec<Fault>, raw: bool) -> ApiError {
    let unread = |fault: &Fault| matches!(fault.path.as_str(), "/workflowId" | "/inputs" | "/params");
    if !raw
        && !faults.iter().any(unread)
        && let Ok(ready) = state.workflow(&request.workflow_id).await
        && let Err(error) =
            prepare(&ready.workflow, &request.inputs, &request.params, &state.rules(), &state.catalogs().await)
    {
        faults.extend(error.faults);
    }
    ApiError::invalid(faults)
}

/// Accepts a new job with the inputs of one that has ended.
pub(crate) async fn retry_job(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    correlation: CorrelationId,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    let id = parse_id(&path)?;
    let job = state.parts.database.find_job(id, caller.scope()).await?.ok_or_else(ApiError::job_not_found)?;
    retry(&state, &caller, job, correlation).await
}

/// Accepts a new job with the inputs of `job`, which must have ended. It is run whatever the cache has.
pub(crate) async fn retry(
    state: &ApiState,
    caller: &Caller,
    job: Job,
    correlation: CorrelationId,
) -> Result<HttpResponse, ApiError> {
    if !job.status.is_ended() {
        let detail = format!("the job is {}; only an ended job can be retried", job.status);
        return Err(ApiError::new(ErrorCode::Conflict, detail));
    }
    if job.is_forgotten() {
        let detail = "what the job was about was removed when it ended (PRIVACY_MODE): it can't be run again";
        return Err(ApiError::new(ErrorCode::Conflict, detail).recommend("submit it anew with POST /jobs"));
    }
    // Whoever has it run again, it stays its owner's.
    let caller = Caller { owner: job.owner.clone(), ..caller.clone() };
    let besides = Besides { retry_of: Some(job.id), ..Besides::default() };
    let submission = submit(state, &caller, JobRequest::again(job), correlation, besides).await?;
    Ok(accept(state, &caller, submission).await?.into_response())
}
