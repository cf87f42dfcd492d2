//! What happens to a job while it is watched: the events that go from workers to whoever listens.

use serde::{Deserialize, Serialize};

use crate::progress::Progress;
use crate::{JobStatus, Timestamp};

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobEvent {
    /// Its state changed.
    Status(JobStatus),
    /// It advanced.
    Progress(Progress),
}

/// How much a line of a job's log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// As it should be.
    Info,
    /// Worth a look; the job goes on.
    Warn,
    /// Why it failed.
    Error,
}

impl LogLevel {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level named `text`; what is unknown is information.
    pub fn parse(text: &str) -> Self {
        match text {
            "warn" => Self::Warn,
            "error" => Self::Error,
            _ => Self::Info,
        }
    }
}

/// One line of a job's log. Sanitised where it is made: no input of the caller, no path, no key.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// When.
    pub time: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// A stable name such as `submitted`.
    pub event: String,
    /// A sentence.
    pub message: String,
    /// The node it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}
