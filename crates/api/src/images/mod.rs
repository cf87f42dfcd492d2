//! OpenAI's images API over jobs: a program that was written for it works unchanged, with a workflow in place of the
//! model. Reads that API's requests and writes its answers; what a job is and who may run it belongs to [`crate::jobs`].

mod answer;
mod create;
mod form;
mod inputs;
mod links;
mod request;

use std::borrow::Cow;

use gateway_core::ErrorCode;
use serde::Serialize;

use crate::error::ApiError;

pub(crate) use create::{edit_images, generate_images};
pub(crate) use links::{download_linked, is_link};

/// Below which that API is served.
const PREFIX: &str = "/images/";

/// An error as programs for that API look for it.
#[derive(Debug, Serialize)]
pub(crate) struct OpenAiError<'a> {
    /// With what to do: nothing else of a problem is shown by those programs.
    message: Cow<'a, str>,
    r#type: &'static str,
    param: Option<&'a str>,
    code: ErrorCode,
}

impl<'a> OpenAiError<'a> {
    pub(crate) fn of(error: &'a ApiError) -> Self {
        Self {
            message: match &error.recommendation {
                Some(advice) => Cow::Owned(format!("{}: {advice}", error.detail)),
                None => Cow::Borrowed(&error.detail),
            },
            r#type: match error.status {
                401 => "authentication_error",
                403 => "permission_error",
                429 => "rate_limit_error",
                400..=499 => "invalid_request_error",
                _ => "server_error",
            },
            param: error.faults.first().map(|fault| fault.path.trim_start_matches('/')).filter(|path| !path.is_empty()),
            code: error.code,
        }
    }
}

/// Whether requests for `path` are answered in the words of that API.
pub(crate) fn is_image_api(path: &str) -> bool {
    path.strip_prefix("/v1").unwrap_or(path).starts_with(PREFIX)
}
