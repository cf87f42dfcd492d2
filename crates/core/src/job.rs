//! A job: its states and how they may change, its priority, how it failed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ErrorCode;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Accepted; waits for a worker.
    Queued,
    /// Claimed by a worker.
    Running,
    /// Ended with outputs.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked for it.
    Canceled,
}

/// A change of state that the rules forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job can't go from {from} to {to}")]
pub struct IllegalTransition {
    /// The state it is in.
    pub from: JobStatus,
    /// The state asked for.
    pub to: JobStatus,
}

impl JobStatus {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Canceled];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Whether the job has ended; an ended job never changes again.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }

    /// `to`, where a job in this state may go there.
    ///
    /// # Errors
    /// [`IllegalTransition`] where it may not.
    pub fn go_to(self, to: Self) -> Result<Self, IllegalTransition> {
        let legal = match self {
            Self::Queued => matches!(to, Self::Running | Self::Canceled | Self::Failed),
            Self::Running => to != Self::Running,
            Self::Succeeded | Self::Failed | Self::Canceled => false,
        };
        if legal { Ok(to) } else { Err(IllegalTransition { from: self, to }) }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

/// Which lane of the queue a job waits in. Strict between lanes, softened by ageing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Runs when nothing else waits.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Runs before all else.
    High,
}

impl Priority {
    /// All lanes, the most urgent first.
    pub const LANES: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// 0 for low, 1 for normal, 2 for high: as stored and compared.
    pub const fn level(self) -> i32 {
        match self {
            Self::Low => 0,
            Self::Normal => 1,
            Self::High => 2,
        }
    }

    /// The lane of a stored level.
    pub const fn of_level(level: i32) -> Self {
        match level {
            i32::MIN..=0 => Self::Low,
            1 => Self::Normal,
            2..=i32::MAX => Self::High,
        }
    }

    /// The lane of a number as callers may give it: 0–3 is low, 4–6 normal, 7–9 high.
    pub const fn of_number(number: u64) -> Option<Self> {
        match number {
            0..=3 => Some(Self::Low),
            4..=6 => Some(Self::Normal),
            7..=9 => Some(Self::High),
            _ => None,
        }
    }

    /// The lane named `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::LANES.into_iter().find(|lane| lane.as_str() == text)
    }
}

/// The node of a workflow that an error is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRef {
    /// Its id in the graph.
    pub id: String,
    /// Its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_type: Option<String>,
    /// Its title, where the workflow gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// Why a job failed, as its owner sees it. Holds no path, traceback or address of ComfyUI's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobError {
    /// The code.
    pub code: ErrorCode,
    /// What happened, as a sentence.
    pub message: String,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<String>,
    /// Whether the same job may succeed when it is tried again.
    pub retryable: bool,
    /// The node it happened in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeRef>,
    /// Further faults, one a node and input, where ComfyUI refused the graph.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<crate::Fault>,
    /// What caused it, with all causes of that: for the log alone.
    #[serde(skip)]
    pub cause: Option<String>,
}

impl JobError {
    /// An error with the code's own idea of whether trying again helps.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            recommendation: None,
            retryable: code.is_retryable(),
            node: None,
            details: Vec::new(),
            cause: None,
        }
    }

    /// With the error that caused it, for the log.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        self.cause = Some(crate::chain(error).to_string());
        self
    }

    /// With a recommendation.
    #[must_use]
    pub fn recommend(mut self, text: impl Into<String>) -> Self {
        self.recommendation = Some(text.into());
        self
    }

    /// With the node it happened in.
    #[must_use]
    pub fn at_node(mut self, node: Option<NodeRef>) -> Self {
        self.node = node;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_job_never_changes() {
        for from in JobStatus::ALL.into_iter().filter(|s| s.is_ended()) {
            for to in JobStatus::ALL {
                assert_eq!(from.go_to(to), Err(IllegalTransition { from, to }));
            }
        }
    }

    #[test]
    fn a_running_job_may_return_to_the_queue_and_a_queued_one_may_not_succeed() {
        assert_eq!(JobStatus::Running.go_to(JobStatus::Queued), Ok(JobStatus::Queued));
        assert!(JobStatus::Queued.go_to(JobStatus::Succeeded).is_err());
        assert!(JobStatus::Queued.go_to(JobStatus::Queued).is_err());
    }

    #[test]
    fn priorities_have_names_numbers_and_levels() {
        for lane in Priority::LANES {
            assert_eq!(Priority::parse(lane.as_str()), Some(lane));
            assert_eq!(Priority::of_level(lane.level()), lane);
        }
        assert_eq!(Priority::of_number(0), Some(Priority::Low));
        assert_eq!(Priority::of_number(5), Some(Priority::Normal));
        assert_eq!(Priority::of_number(9), Some(Priority::High));
        assert_eq!(Priority::of_number(10), None);
        assert_eq!(Priority::parse("root"), None);
    }
}
