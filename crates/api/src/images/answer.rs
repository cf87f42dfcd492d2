//! What such a request is answered with: pictures, once all its jobs have ended.

use std::time::Duration;

use actix_web::HttpRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_core::record::{Job, Output};
use gateway_core::{ErrorCode, JobId, JobStatus, OutputKind, Scope};
use serde_json::{Value, json};

use super::links::link;
use super::request::Wish;
use crate::error::ApiError;
use crate::jobs::{Follower, fits, too_much};
use crate::state::ApiState;
use crate::stored::read_all;

/// How long a request waits for its pictures: a little less than that API's own clients do, so that they hear why.
const PATIENCE: Duration = Duration::from_secs(570);

/// Waits until all of `ids` have ended.
pub(super) async fn wait(state: &ApiState, ids: &[JobId]) -> Result<(), ApiError> {
    let all = async {
        for id in ids {
            if !Follower::new(state, *id).until_ended().await {
                return Err(again(ErrorCode::QueueUnavailable, "the gateway is being stopped"));
            }
        }
        Ok(())
    };
    let late = || again(ErrorCode::ComfyuiTimeout, "the pictures were not there in time");
    tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_elapsed| Err(late()))
}

fn again(code: ErrorCode, detail: &str) -> ApiError {
    ApiError::new(code, detail)
        .recommend("send the same request with the same Idempotency-Key: it goes on waiting for the same jobs")
        .retry_after(1)
}

/// The body of the answer, or why there are no pictures.
pub(super) async fn body(
    state: &ApiState,
    request: &HttpRequest,
    ids: &[JobId],
    wish: &Wish,
) -> Result<Value, ApiError> {
    let mut pictures = Vec::new();
    let mut created = state.parts.database.now();
    for id in ids {
        let job = state.parts.database.find_job(*id, Scope::All).await?.ok_or_else(ApiError::job_not_found)?;
        check(&job)?;
        created = job.created_at;
        let outputs = state.parts.database.outputs_of(*id).await?;
        pictures
            .extend(outputs.into_iter().filter(|output| output.kind == OutputKind::Image).map(|output| (*id, output)));
    }
    if pictures.is_empty() {
        return Err(ApiError::fault("/model", "is a workflow that makes no pictures"));
    }
    let data = if wish.links {
        pictures.iter().map(|(id, output)| json!({"url": link(state, request, *id, &output.file)})).collect()
    } else {
        bytes(state, &pictures).await?
    };
    let mut body = json!({"created": created.as_millis() / 1000, "data": data});
    if let (Some(body), Some(format)) = (body.as_object_mut(), &wish.output.format) {
        body.insert(String::from("output_format"), json!(format));
    }
    Ok(body)
}

/// The fault of a job that has not succeeded. The gateway has tried again where that could help: that API's clients, which
/// would make new jobs, are told not to.
fn check(job: &Job) -> Result<(), ApiError> {
    let failed = |error: ApiError| Err(error.with_header("x-should-retry", "false"));
    match (job.status, &job.error) {
        (JobStatus::Succeeded, _) => Ok(()),
        (_, Some(error)) => {
            let told = ApiError::new(error.code, format!("job {} failed: {}", job.id, error.message));
            failed(error.recommendation.iter().fold(told, |told, text| told.recommend(text)))
        }
        (status, None) => failed(ApiError::new(ErrorCode::Conflict, format!("job {} is {status}", job.id))),
    }
}

/// Each picture as Base64.
async fn bytes(state: &ApiState, pictures: &[(JobId, Output)]) -> Result<Vec<Value>, ApiError> {
    let outputs: Vec<Output> = pictures.iter().map(|(_, output)| output.clone()).collect();
    if !fits(state, &outputs) {
        return Err(
            too_much(state, &outputs).recommend("ask for response_format url; an operator can raise MAX_INLINE_BYTES")
        );
    }
    let mut data = Vec::new();
    for output in outputs {
        if output.removed_at.is_some() {
            return Err(ApiError::new(ErrorCode::Gone, "the pictures were removed because they were old"));
        }
        data.push(json!({"b64_json": STANDARD.encode(read_all(&*state.parts.storage, &output.storage_key).await?)}));
    }
    Ok(data)
}
