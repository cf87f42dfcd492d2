//! Jobs: accepted, watched, ended. A file an operation.

mod accept;
mod answer;
mod create;
mod end;
mod events;
mod find;
mod follow;
pub(crate) mod idempotency;
mod list;
mod logs;
mod prepare;
mod raw;
pub(crate) mod request;
mod stats;
mod submit;
mod view;
mod wait;

pub(crate) use accept::{accept, check_room, entry, follow_up, hint, raise, to_the_end};
pub(crate) use create::{create_job, retry, retry_job};
pub(crate) use end::{cancel_job, cancel_one, delete_job};
pub(crate) use events::watch_job;
pub(crate) use find::{find_job, shown};
pub(crate) use follow::{Follower, Step};
pub(crate) use list::{DEFAULT_LIMIT, list_dead, list_jobs, page};
pub(crate) use logs::list_logs;
pub(crate) use prepare::{Prepared, Rules, prepare};
pub(crate) use request::JobRequest;
pub(crate) use stats::job_stats;
pub(crate) use submit::{Besides, check_callback, check_workflow, submit};
pub(crate) use view::{fits, too_much};

use gateway_core::JobId;

use crate::error::ApiError;

/// The job id in a path; what is none names no job.
pub(crate) fn parse_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|_error| ApiError::job_not_found())
}
