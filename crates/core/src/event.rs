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
    /// A line was added to its log.
    Log(LogLine),
    /// A first look at what it makes.
    Preview(Preview),
}

/// A first look at what a job makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The node that makes it.
    pub node: String,
    /// The picture as a data URL.
    pub data_url: String,
}

/// The number of something that happened to a job: later events have larger ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId {
    /// Milliseconds since the Unix epoch.
    pub millis: u64,
    /// Its place within that millisecond.
    pub number: u64,
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

impl std::str::FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (millis, number) = text.split_once('-').ok_or(())?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(millis) || !digits(number) {
            return Err(());
        }
        Ok(Self { millis: millis.parse().map_err(|_error| ())?, number: number.parse().map_err(|_error| ())? })
    }
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_events_sort_and_read_back() {
        let id = |millis, number| EventId { millis, number };
        assert!(id(1, 9) < id(2, 0) && id(2, 0) < id(2, 1));
        assert_eq!(id(1_700_000_000_000, 3).to_string().parse(), Ok(id(1_700_000_000_000, 3)));
        for bad in ["", "1", "-", "1-", "-1", "a-b", "1-2-3", " 1-2", "1-+2", "99999999999999999999-0"] {
            assert_eq!(bad.parse::<EventId>(), Err(()), "{bad}");
        }
    }
}
