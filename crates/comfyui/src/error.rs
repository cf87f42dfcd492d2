//! Why a call to a ComfyUI server failed, sorted by what a caller can do about it.
//! Holds no URL, no header value and no body of an answer, so that it can be logged and stored.

use std::time::Duration;

/// A call that brought no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection came about: nothing was sent.
    #[error("no connection to ComfyUI ({reason})")]
    Unreachable {
        /// What kind of failure, in a few words.
        reason: &'static str,
        /// What the HTTP library said.
        #[source]
        source: reqwest::Error,
    },
    /// The server went silent for longer than allowed.
    #[error("ComfyUI did not answer in time")]
    Timeout {
        /// What the HTTP library said, where it kept the time.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// The connection broke after the request had been sent, at least in part.
    #[error("the connection to ComfyUI broke before the answer was complete")]
    Cut {
        /// What the HTTP library said.
        #[source]
        source: reqwest::Error,
    },
    /// An HTTP status that means failure.
    #[error("ComfyUI answered {status}: {hint}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What that status usually means here.
        hint: &'static str,
    },
    /// The answer comes from something that is not ComfyUI, or ComfyUI wants credentials.
    #[error("{reason}")]
    Misconfigured {
        /// The HTTP status.
        status: u16,
        /// A sentence for whoever runs the server.
        reason: &'static str,
    },
    /// The answer was complete but not of the documented form.
    #[error("ComfyUI's answer to {operation} makes no sense: {reason}")]
    Malformed {
        /// Which call.
        operation: &'static str,
        /// What is wrong with it, without content of the answer.
        reason: String,
    },
    /// The answer is larger than the configured limit.
    #[error("ComfyUI's answer is larger than {limit} bytes")]
    AnswerTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The request is larger than the server accepts.
    #[error("the request is larger than this ComfyUI accepts")]
    RequestTooLarge,
    /// The body ended before its announced length.
    #[error("the file ended after {received} bytes{}", announced(*.expected))]
    Truncated {
        /// Announced length in bytes, if one was announced.
        expected: Option<u64>,
        /// Bytes that arrived.
        received: u64,
    },
    /// This server cannot do what was asked.
    #[error("this ComfyUI cannot {operation}")]
    Unsupported {
        /// What was asked.
        operation: &'static str,
    },
    /// An argument that would address something else than meant; nothing was sent.
    #[error("{what} cannot be sent to ComfyUI")]
    InvalidArgument {
        /// Which argument.
        what: &'static str,
    },
    /// The request could not be built; nothing was sent.
    #[error("the request to ComfyUI could not be built")]
    BuildRequest {
        /// What the HTTP library said.
        #[source]
        source: reqwest::Error,
    },
}

fn announced(expected: Option<u64>) -> String {
    expected.map_or_else(String::new, |bytes| format!(" of {bytes}"))
}

impl CallError {
    /// Whether no connection came about, so that certainly nothing was sent.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Cut { .. } | Self::Truncated { .. } => true,
            Self::Status { status, .. } => *status >= 500 || matches!(*status, 408 | 425 | 429),
            _ => false,
        }
    }

    /// Whether the server said that the thing asked for does not exist.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }

    /// The HTTP status behind the error, if one arrived.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::Misconfigured { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Sorts a failure to get the head of an answer.
    pub(crate) fn from_send(error: reqwest::Error) -> Self {
        let source = error.without_url();
        if source.is_builder() {
            Self::BuildRequest { source }
        } else if source.is_connect() {
            Self::Unreachable { reason: connect_reason(&source), source }
        } else if source.is_timeout() {
            Self::Timeout { source: Some(source) }
        } else {
            Self::Cut { source }
        }
    }

    /// Sorts a failure to read the body of an answer.
    pub(crate) fn from_body(error: reqwest::Error) -> Self {
        let source = error.without_url();
        if source.is_timeout() { Self::Timeout { source: Some(source) } } else { Self::Cut { source } }
    }
}

fn connect_reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "connection attempt timed out"
    } else if error.is_dns() {
        "host name not found"
    } else {
        "refused or TLS failure"
    }
}

/// Why the WebSocket of a ComfyUI server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The HTTP part of the handshake failed.
    #[error("the WebSocket handshake with ComfyUI failed")]
    Handshake {
        /// Why.
        #[source]
        source: CallError,
    },
    /// Something answered, but it does not speak WebSocket here.
    #[error("{reason}")]
    NotWebSocket {
        /// A sentence for whoever runs the server.
        reason: &'static str,
    },
    /// The connection broke right after the handshake.
    #[error("the WebSocket broke before the first message was sent")]
    FirstMessage,
}

impl ConnectError {
    /// Whether no connection came about at all.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Handshake { source } if source.is_unreachable())
    }
}

/// Why an open event stream ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The connection broke without a closing handshake: the process may have died.
    #[error("the WebSocket broke: {reason}")]
    Broken {
        /// What the WebSocket library said.
        reason: String,
    },
    /// The server sent nothing for too long, not even the answer to a ping.
    #[error("the WebSocket has been silent for {} s", .after.as_secs())]
    Silent {
        /// How long nothing came.
        after: Duration,
    },
    /// A frame exceeded the configured limit, which ends the connection.
    #[error("the server sent a WebSocket message above the limit of {limit} bytes")]
    FrameTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}
