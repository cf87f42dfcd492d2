//! The one error of this crate, and how the errors of the stores become it. What a client can't mend is
//! logged here with its cause and answered without.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use gateway_broker::BrokerError;
use gateway_core::{ErrorCode, Fault, chain};
use gateway_db::DbError;
use gateway_storage::StorageError;

/// Faults that one answer names: enough to mend a request, and an answer not larger than what caused it.
const MAX_FAULTS: usize = 100;

/// Why a request is not answered with what it asked for.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) code: ErrorCode,
    /// Differs from the code's own status only where HTTP demands it (408).
    pub(crate) status: u16,
    pub(crate) detail: String,
    pub(crate) recommendation: Option<String>,
    pub(crate) faults: Vec<Fault>,
    /// Seconds for the `Retry-After` header.
    pub(crate) retry_after: Option<u32>,
    /// A further header that this answer must have, such as `Allow`.
    pub(crate) header: Option<Box<(&'static str, String)>>,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            status: code.status(),
            detail: detail.into(),
            recommendation: None,
            faults: Vec::new(),
            retry_after: None,
            header: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, detail)
    }

    /// Wrong inputs: names each fault.
    pub(crate) fn invalid(mut faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [one] if one.path.is_empty() => format!("the body {}", one.message),
            [one] => format!("{}: {}", one.path, one.message),
            many if many.len() > MAX_FAULTS => {
                format!("{} faults; `errors` names the first {MAX_FAULTS}", many.len())
            }
            many => format!("{} faults; `errors` names each", many.len()),
        };
        faults.truncate(MAX_FAULTS);
        Self { faults, ..Self::new(ErrorCode::ValidationError, detail) }
    }

    /// What the sender can't mend. Whoever makes it logs the cause.
    pub(crate) fn internal() -> Self {
        Self::new(ErrorCode::Internal, "the gateway failed; its log says why, under this correlation id")
    }

    /// What was being sent did not arrive in time.
    pub(crate) fn late(detail: impl Into<String>) -> Self {
        Self { status: 408, ..Self::bad_request(detail) }
    }

    pub(crate) fn bad_cursor() -> Self {
        Self::new(ErrorCode::BadCursor, "this cursor is not one that this list gave out")
            .recommend("begin again without a cursor, and keep the filters the same from page to page")
    }

    /// One wrong input.
    pub(crate) fn fault(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![Fault::new(path, message)])
    }

    /// The same answer whether the job is unknown or another owner's.
    pub(crate) fn job_not_found() -> Self {
        Self::new(ErrorCode::JobNotFound, "there is no such job")
    }

    pub(crate) fn output_not_found() -> Self {
        Self::new(ErrorCode::OutputNotFound, "there is no such output")
    }

    pub(crate) fn workflow_not_found() -> Self {
        Self::new(ErrorCode::WorkflowNotFound, "there is no such workflow")
            .recommend("GET /workflows lists those that are registered")
    }

    #[must_use]
    pub(crate) fn recommend(mut self, text: impl Into<String>) -> Self {
        self.recommendation = Some(text.into());
        self
    }

    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.header = Some(Box::new((name, value.into())));
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Bare: the body is written where the correlation id is known.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Duplicate => Self::new(ErrorCode::Conflict, "it exists already"),
            DbError::Corrupt { .. } => {
                tracing::error!(%error, "a row of the database can't be read");
                Self::internal()
            }
            other => {
                tracing::error!(error = %chain(&other), "the database failed");
                Self::new(ErrorCode::DatabaseUnavailable, "the database is not available at the moment").retry_after(2)
            }
        }
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        tracing::error!(%error, "the queue failed");
        Self::new(ErrorCode::QueueUnavailable, "the queue is not available at the moment").retry_after(2)
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotFound { .. } | StorageError::BadKey => Self::output_not_found(),
            StorageError::TooLarge { limit } => {
                let detail = format!("the file is larger than the {limit} bytes that are stored");
                Self::new(ErrorCode::PayloadTooLarge, detail)
                    .recommend("make it smaller; an operator can raise MAX_OUTPUT_BYTES")
            }
            other => {
                tracing::error!(error = %chain(&other), "the storage failed");
                Self::new(ErrorCode::StorageError, "the storage is not available at the moment").retry_after(5)
            }
        }
    }
}
