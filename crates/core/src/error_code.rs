//! The one table of error codes: what a client may rely on. Wording beyond the title belongs to whoever
//! reports the error; turning a code into an HTTP answer belongs to gateway-api.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $code:literal, $status:literal, $retryable:literal, $title:literal;)*) => {
        /// A stable, machine-readable code of an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[doc = $doc])* $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it stands in answers.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status of an answer with this code.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Whether sending the same request again can help.
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)* }
            }

            /// A short title for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What it means, as a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

error_codes! {
    /// The body or the request line can't be parsed.
    BadRequest = "BAD_REQUEST", 400, false, "Bad request";
    /// A page cursor that this list did not hand out.
    BadCursor = "BAD_CURSOR", 400, false, "Unknown page cursor";
    /// Missing or wrong credentials.
    AuthFailed = "AUTH_FAILED", 401, false, "Authentication failed";
    /// The caller may not do this.
    Forbidden = "FORBIDDEN", 403, false, "Not allowed";
    /// No such path.
    NotFound = "NOT_FOUND", 404, false, "Not found";
    /// No such workflow.
    WorkflowNotFound = "WORKFLOW_NOT_FOUND", 404, false, "Workflow not found";
    /// No such job, or another owner's.
    JobNotFound = "JOB_NOT_FOUND", 404, false, "Job not found";
    /// No such output, or another owner's.
    OutputNotFound = "OUTPUT_NOT_FOUND", 404, false, "Output not found";
    /// No such upload, or another owner's.
    UploadNotFound = "UPLOAD_NOT_FOUND", 404, false, "Upload not found";
    /// No such key.
    KeyNotFound = "KEY_NOT_FOUND", 404, false, "Key not found";
    /// No such message about this job.
    DeliveryNotFound = "DELIVERY_NOT_FOUND", 404, false, "Delivery not found";
    /// No such batch, or another owner's.
    BatchNotFound = "BATCH_NOT_FOUND", 404, false, "Batch not found";
    /// The path exists, the method does not.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, false, "Method not allowed";
    /// The state of the thing does not allow it.
    Conflict = "CONFLICT", 409, false, "Conflict";
    /// It was there, and was removed.
    Gone = "GONE", 410, false, "Removed";
    /// The body is larger than allowed.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 413, false, "Payload too large";
    /// The body is of a type that is not read here.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415, false, "Unsupported media type";
    /// A range that the output does not have.
    RangeNotSatisfiable = "RANGE_NOT_SATISFIABLE", 416, false, "Range not satisfiable";
    /// The inputs are wrong; `errors` names each.
    ValidationError = "VALIDATION_ERROR", 422, false, "Validation failed";
    /// The idempotency key was used with another body.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", 422, false, "Idempotency key reused";
    /// The callback URL is not one that may be called.
    CallbackNotAllowed = "CALLBACK_NOT_ALLOWED", 422, false, "Callback URL not allowed";
    /// Too many requests.
    RateLimited = "RATE_LIMITED", 429, true, "Too many requests";
    /// The queue holds as many jobs as it may.
    QueueFull = "QUEUE_FULL", 429, true, "Queue full";
    /// A fault of the gateway itself.
    Internal = "INTERNAL", 500, true, "Internal error";
    /// ComfyUI refused the rendered graph.
    ComfyuiRejected = "COMFYUI_REJECTED", 502, false, "ComfyUI refused the workflow";
    /// A node of the workflow failed.
    ComfyuiNodeError = "COMFYUI_NODE_ERROR", 502, false, "A node of the workflow failed";
    /// ComfyUI can't be reached.
    ComfyuiUnreachable = "COMFYUI_UNREACHABLE", 503, true, "ComfyUI is unreachable";
    /// The queue can't be reached.
    QueueUnavailable = "QUEUE_UNAVAILABLE", 503, true, "Queue unavailable";
    /// The database can't be reached.
    DatabaseUnavailable = "DATABASE_UNAVAILABLE", 503, true, "Database unavailable";
    /// Outputs can't be written or read.
    StorageError = "STORAGE_ERROR", 503, true, "Storage error";
    /// The worker that ran the job was lost, as often as may be.
    WorkerLost = "WORKER_LOST", 503, true, "Worker lost";
    /// The run took longer than allowed.
    ComfyuiTimeout = "COMFYUI_TIMEOUT", 504, true, "ComfyUI took too long";
    /// The device ran out of memory.
    ComfyuiOom = "COMFYUI_OOM", 507, false, "Out of memory";
}

impl ErrorCode {
    /// The code that is written `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("unknown error code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_upper_case_and_parse_back() {
        let mut seen = std::collections::HashSet::new();
        for code in ErrorCode::ALL.iter().copied() {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
            assert!(code.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
            assert!((400..600).contains(&code.status()), "{code}");
            assert!(!code.title().is_empty());
            assert!(code.meaning().ends_with('.') && !code.meaning().starts_with(' '), "{code}");
        }
        assert_eq!(ErrorCode::parse("NOPE"), None);
    }
}
