//! `POST /jobs` and `POST /jobs/{id}/retry`.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use gateway_core::workflow::Needs;
use gateway_core::{ErrorCode, Fault, JobId};
use gateway_db::NewJob;
use serde_json::json;

use crate::body::{Nothing, read_object};
use crate::correlate::CorrelationId;
use crate::error::ApiError;
use crate::jobs::accept::accept;
use crate::jobs::request::JobRequest;
use crate::jobs::{parse_id, prepare, request};
use crate::query::Query;
use crate::state::ApiState;

/// Accepts a job.
pub(crate) async fn create_job(
    state: Data<ApiState>,
    correlation: CorrelationId,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    if request.headers().contains_key("idempotency-key") {
        // Who sends one relies on it: two jobs in place of one would be found out too late.
        let message = "this gateway keeps no idempotency keys yet; leave the header out";
        return Err(ApiError::fault("Idempotency-Key", message));
    }
    let body = read_object(&request, payload, state.parts.http.max_json_bytes).await?;
    let (request, faults) = request::read(body, state.parts.database.now())?;
    if !faults.is_empty() {
        return Err(refuse(&state, &request, faults).await);
    }
    submit(&state, request, correlation, None).await
}

/// Every fault at once: those of the request, and where its workflow and inputs could be read, what is wrong with these.
async fn refuse(state: &ApiState, request: &JobRequest, mut faults: Vec<Fault>) -> ApiError {
    let unread = |fault: &Fault| matches!(fault.path.as_str(), "/workflowId" | "/inputs" | "/params");
    if !faults.iter().any(unread)
        && let Ok(ready) = state.workflow(&request.workflow_id).await
        && let Err(error) =
            prepare(&ready.workflow, &request.inputs, &request.params, &state.size_limits(), &state.catalogs().await)
    {
        faults.extend(error.faults);
    }
    ApiError::invalid(faults)
}

/// Accepts a new job with the inputs of one that has ended.
pub(crate) async fn retry_job(
    state: Data<ApiState>,
    path: Path<String>,
    correlation: CorrelationId,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    let id = parse_id(&path)?;
    let job = state.parts.database.find_job(id, state.caller().scope()).await?.ok_or_else(ApiError::job_not_found)?;
    if !job.status.is_ended() {
        let detail = format!("the job is {}; only an ended job can be retried", job.status);
        return Err(ApiError::new(ErrorCode::Conflict, detail));
    }
    let request = JobRequest {
        workflow_id: job.workflow_id,
        inputs: job.inputs,
        params: job.params,
        priority: job.priority,
        metadata: job.metadata,
        request_id: job.request_id,
        timeout_ms: job.timeout_ms,
        not_before: None,
    };
    submit(&state, request, correlation, Some(id)).await
}

async fn submit(
    state: &ApiState,
    request: JobRequest,
    correlation: CorrelationId,
    retry_of: Option<JobId>,
) -> Result<HttpResponse, ApiError> {
    let ready = state.workflow(&request.workflow_id).await?;
    let catalogs = state.catalogs().await;
    let (resolved, graph) =
        prepare(&ready.workflow, &request.inputs, &request.params, &state.size_limits(), &catalogs)?;
    let id = state.new_job_id();
    let job = NewJob {
        id,
        owner: state.caller().owner,
        workflow_id: request.workflow_id,
        workflow_version: ready.record.summary.version,
        priority: request.priority,
        inputs: request.inputs,
        params: request.params,
        resolved,
        metadata: request.metadata,
        request_id: request.request_id,
        correlation_id: correlation.0,
        timeout_ms: request.timeout_ms,
        not_before: request.not_before,
        retry_of,
        nodes_total: i32::try_from(ready.workflow.node_count()).unwrap_or(i32::MAX),
        needs: Some(Needs::of(&graph).id()),
    };
    let position = accept(state, job).await?;
    let poll_url = format!("/jobs/{id}");
    let mut answer = json!({
        "jobId": id,
        "status": "queued",
        "pollUrl": poll_url,
        "eventsUrl": format!("/jobs/{id}/events"),
        "outputsUrl": format!("/outputs/{id}"),
    });
    if let Some(object) = answer.as_object_mut() {
        if let Some(position) = position {
            object.insert(String::from("position"), json!(position));
        }
        if let Some(retry_of) = retry_of {
            object.insert(String::from("retryOf"), json!(retry_of));
        }
    }
    Ok(HttpResponse::Accepted().insert_header((LOCATION, poll_url)).json(answer))
}
