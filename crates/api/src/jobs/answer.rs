//! What a caller hears of a job that was accepted, now or before.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use gateway_core::record::{Job, Output};
use gateway_core::view::output_view;
use gateway_core::{ErrorCode, JobId, Scope};
use gateway_db::Accepted;
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::jobs::idempotency;
use crate::state::ApiState;

/// An answer about one job.
pub(crate) struct Answer {
    pub(crate) job: JobId,
    pub(crate) status: StatusCode,
    pub(crate) body: Map<String, Value>,
    /// Whether the job has ended.
    pub(crate) ended: bool,
}

impl Answer {
    fn new(job: JobId, status: StatusCode, word: &str) -> Self {
        let body = [
            ("jobId", json!(job)),
            ("status", json!(word)),
            ("pollUrl", json!(format!("/jobs/{job}"))),
            ("eventsUrl", json!(format!("/jobs/{job}/events"))),
            ("outputsUrl", json!(format!("/outputs/{job}"))),
        ];
        let body = body.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { job, status, body, ended: false }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.body.insert(name.to_owned(), value);
        self
    }

    fn with_hit(self, outputs: &[Output]) -> Self {
        let views: Vec<Value> = outputs.iter().map(|output| output_view(self.job, output)).collect();
        Self { ended: true, ..self.with("cached", json!(true)).with("outputs", json!(views)) }
    }

    pub(crate) fn into_response(self) -> HttpResponse {
        let location = format!("/jobs/{}", self.job);
        HttpResponse::build(self.status).insert_header((LOCATION, location)).json(self.body)
    }
}

/// A job that waits, with its place in the queue where that is known.
pub(crate) fn queued(job: JobId, retry_of: Option<JobId>, position: Option<u64>) -> Answer {
    let mut answer = Answer::new(job, StatusCode::ACCEPTED, "queued");
    if let Some(position) = position {
        answer = answer.with("position", json!(position));
    }
    if let Some(retry_of) = retry_of {
        answer = answer.with("retryOf", json!(retry_of));
    }
    answer
}

/// A job that has its result.
pub(crate) fn hit(job: JobId, outputs: &[Output]) -> Answer {
    Answer::new(job, StatusCode::OK, "cache_hit").with_hit(outputs)
}

/// A request whose key was used before.
pub(crate) async fn known(state: &ApiState, known: Accepted) -> Result<Answer, ApiError> {
    let Accepted::Repeated(subject) = known else {
        return Err(idempotency::reused());
    };
    let database = &state.parts.database;
    let job = match subject.parse::<JobId>() {
        Ok(id) => database.find_job(id, Scope::All).await?,
        Err(_) => None,
    };
    let Some(job) = job else {
        return Err(ApiError::new(ErrorCode::Gone, "the job that this request came to was deleted")
            .recommend("use a new id to have it made anew"));
    };
    let outputs = if job.status.is_ended() { database.outputs_of(job.id).await? } else { Vec::new() };
    Ok(of_job(&job, &outputs))
}

fn of_job(job: &Job, outputs: &[Output]) -> Answer {
    let at_once = job.options.cached_from.is_some() && !job.options.joined && !outputs.is_empty();
    if at_once {
        return Answer::new(job.id, StatusCode::OK, "cache_hit").with_hit(outputs);
    }
    let mut answer = Answer::new(job.id, StatusCode::OK, job.status.as_str());
    answer.ended = job.status.is_ended();
    answer
}
