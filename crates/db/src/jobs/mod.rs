//! Jobs, their outputs and logs. Every statement that a caller causes takes a `Scope`; every write of a
//! worker takes the epoch of its claim and changes nothing where that is not the row's.

mod accept;
mod claim;
mod end;
mod list;
#[cfg(test)]
mod plans;
mod sweep;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use accept::insert_jobs;
pub use end::{CancelOutcome, DeleteOutcome, Settlement};
pub use list::{Filter, Stats};
pub use sweep::QueuedJob;
pub use types::{Claim, Claimed, Job, Lease, NewJob, Output, Release, Renewal};
