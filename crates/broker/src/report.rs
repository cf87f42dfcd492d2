//! What workers tell of themselves and of their ComfyUI servers.

use serde::{Deserialize, Serialize};

/// How a ComfyUI server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    /// Not asked yet.
    Unknown,
    /// Answers and runs prompts.
    Ready,
    /// Does not answer.
    Unreachable,
    /// Answers, but not as ComfyUI does: a proxy or a login in between.
    Misconfigured,
    /// Answers, but runs nothing any more; only a restart of it helps.
    Stuck,
}

impl BackendState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Unknown, Self::Ready, Self::Unreachable, Self::Misconfigured, Self::Stuck];

    /// The name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Unreachable => "unreachable",
            Self::Misconfigured => "misconfigured",
            Self::Stuck => "stuck",
        }
    }
}

/// One ComfyUI server, as its worker sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendReport {
    /// What jobs remember it by: unlike its URL, no other server has the same.
    pub name: String,
    /// Without credentials.
    pub url: String,
    /// How it is.
    pub state: BackendState,
    /// What is wrong and what may help, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// ComfyUI's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Names of its devices.
    pub devices: Vec<String>,
    /// How many node classes it has; `None` until it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_classes: Option<usize>,
    /// The digest of what it says of them: the same on servers that have the same nodes and models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_catalog: Option<String>,
    /// Checkpoints it can load.
    pub checkpoints: Vec<String>,
    /// Model files that the latest job loaded there.
    #[serde(default)]
    pub loaded: Vec<String>,
    /// Prompts that it is given to run at once.
    pub concurrency: usize,
    /// Prompts that this worker has there.
    pub in_flight: usize,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Takes jobs.
    Running,
    /// Takes none for the moment: the queue is paused.
    Paused,
    /// Takes no more, ends what it has.
    Draining,
}

impl WorkerState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Running, Self::Paused, Self::Draining];

    /// The name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }
}

/// A worker that lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerReport {
    /// Unique to this start of the process.
    pub id: String,
    /// The node it runs on.
    pub node: String,
    /// The gateway's version.
    pub version: String,
    /// What it does.
    pub state: WorkerState,
    /// Its ComfyUI servers.
    pub backends: Vec<BackendReport>,
}

/// What an operator wants of workers, told at once; the lasting part is in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Control {
    /// Whether the queue is paused may have changed.
    Pause,
    /// What keys say of their owners may have changed.
    Keys,
    /// This worker is to take no more jobs.
    Drain {
        /// Which.
        worker: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_are_named_as_reports_write_them() {
        for state in BackendState::ALL {
            assert_eq!(json!(state), state.as_str());
        }
        for state in WorkerState::ALL {
            assert_eq!(json!(state), state.as_str());
        }
    }
}
