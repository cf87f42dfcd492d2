#![doc = include_str!("../README.md")]

#[cfg(test)]
mod access_tests;
mod audit;
mod batches;
mod cache;
mod clock;
mod connection;
mod deliveries;
mod engine;
mod error;
mod jobs;
mod keys;
mod lock;
mod look;
mod outage;
mod rows;
mod schema;
mod scrub;
mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod turns_tests;
mod uploads;
mod workflows;
mod writer;

pub use audit::{AuditFilter, NewAudit};
pub use batches::{Batch, NewBatch};
pub use cache::CachedResult;
pub use connection::{Access, Database};
pub use deliveries::{DeliveryRecord, DeliveryTry, DueDelivery, NextTry};
pub use error::DbError;
pub use gateway_core::record::{Job, Output};
pub use jobs::{
    Acceptance, Accepted, Aftermath, CancelOutcome, Claim, Claimed, DeleteOutcome, Figures, Filter, LaneFigures, Lease,
    NewJob, QueuedJob, Recovered, Redacted, Release, Renewal, RequestKey, Retention, Settlement, Stats, Swept,
};
pub use keys::StoredKey;
pub use look::{Content, Look};
pub use uploads::Upload;
pub use workflows::{NewWorkflow, WorkflowRecord, WorkflowSummary};
