#![doc = include_str!("../README.md")]

mod clock;
mod connection;
mod engine;
mod error;
mod jobs;
mod lock;
mod rows;
mod schema;
mod settings;
#[cfg(test)]
mod testing;
mod workflows;
mod writer;

pub use connection::{Access, Database};
pub use error::DbError;
pub use jobs::{
    CancelOutcome, Claim, Claimed, DeleteOutcome, Filter, Job, Lease, NewJob, Output, QueuedJob, Release, Renewal,
    Settlement, Stats,
};
pub use workflows::{NewWorkflow, WorkflowRecord, WorkflowSummary};
