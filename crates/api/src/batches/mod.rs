//! Batches: many jobs of one workflow, accepted together. A file an operation.

mod cancel;
mod create;
mod find;
mod request;

pub(crate) use cancel::cancel_batch;
pub(crate) use create::{accept_batch, create_batch, known_batch};
pub(crate) use find::find_batch;
pub(crate) use request::BatchRequest;

use gateway_core::{BatchId, ErrorCode};

use crate::error::ApiError;

pub(crate) fn not_found() -> ApiError {
    ApiError::new(ErrorCode::BatchNotFound, "there is no such batch")
}

pub(crate) fn parse_id(text: &str) -> Result<BatchId, ApiError> {
    text.parse().map_err(|_error| not_found())
}
