#![doc = include_str!("../README.md")]

mod connection;
mod error;
mod jobs;
mod lock;
mod rows;
mod schema;
mod workflows;
mod writer;

pub use connection::Database;
pub use error::DbError;
pub use jobs::{
    CancelOutcome, Claim, Claimed, DeleteOutcome, Filter, Job, Lease, NewJob, Output, QueuedJob, Release, Renewal,
    Settlement, Stats,
};
pub use workflows::{NewWorkflow, WorkflowRecord, WorkflowSummary};
