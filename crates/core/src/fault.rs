//! One thing that is wrong with what a caller sent, and where. Owns no wording of its own.

use serde::{Deserialize, Serialize};

/// One fault of a request: a JSON pointer into the body and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the request body, such as `/inputs/steps`.
    pub path: String,
    /// What is wrong there, as a sentence without a full stop.
    pub message: String,
}

impl Fault {
    /// A fault at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// `faults` by their paths, each once.
    pub fn in_order(mut faults: Vec<Self>) -> Vec<Self> {
        faults.sort();
        faults.dedup();
        faults
    }
}
