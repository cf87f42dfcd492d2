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
use crate::auth::Caller;
use crate::error::ApiError;
use crate::jobs::{Follower, Step, fits, too_much};
use crate::outputs::read_output;
use crate::state::ApiState;

/// How long a request waits for its pictures: as long as that API's own clients do.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits until all of `ids` have ended.
pub(super) async fn wait(state: &ApiState, ids: &[JobId]) -> Result<(), ApiError> {
    let all = async {
        for id in ids {
            let mut follower = Follower::new(state, *id);
            loop {
                match follower.next().await {
                    Step::Progress(_) => {}
                    Step::Ended => break,
                    Step::Stopping => return Err(again(ErrorCode::QueueUnavailable, "the gateway is being stopped")),
                }
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
    caller: &Caller,
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
        bytes(state, caller, pictures).await?
    };
    let mut body = json!({"created": created.as_millis() / 1000, "data": data});
    if let (Some(body), Some(format)) = (body.as_object_mut(), &wish.output.format) {
        body.insert(String::from("output_format"), json!(format));
    }
    Ok(body)
}

/// The fault of a job that has not succeeded.
fn check(job: &Job) -> Result<(), ApiError> {
    match (job.status, &job.error) {
        (JobStatus::Succeeded, _) => Ok(()),
        (_, Some(error)) => {
            let failed = ApiError::new(error.code, format!("job {} failed: {}", job.id, error.message));
            Err(error.recommendation.iter().fold(failed, |failed, text| failed.recommend(text)))
        }
        (status, None) => Err(ApiError::new(ErrorCode::Conflict, format!("job {} is {status}", job.id))),
    }
}

async fn bytes(state: &ApiState, caller: &Caller, pictures: Vec<(JobId, Output)>) -> Result<Vec<Value>, ApiError> {
    let outputs: Vec<Output> = pictures.iter().map(|(_, output)| output.clone()).collect();
    if !fits(state, &outputs) {
        return Err(
            too_much(state, &outputs).recommend("ask for response_format url; an operator can raise MAX_INLINE_BYTES")
        );
    }
    let mut data = Vec::new();
    for (id, output) in pictures {
        let bytes = read_output(state, caller, &id.to_string(), &output.file, None).await?;
        data.push(json!({"b64_json": STANDARD.encode(bytes)}));
    }
    Ok(data)
}
