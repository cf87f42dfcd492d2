//! Jobs, their outputs and logs. Every statement that a caller causes takes a `Scope`; every write of a
//! worker takes the epoch of its claim and changes nothing where that is not the row's.

mod accept;
mod aftermath;
mod claim;
#[cfg(test)]
mod delivery_tests;
mod end;
mod figures;
mod list;
#[cfg(test)]
mod plans;
mod redact;
#[cfg(test)]
mod redact_tests;
mod retention;
mod sweep;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use accept::{accept as accept_in, insert_jobs, note_request};
pub use aftermath::Aftermath;
pub use end::{CancelOutcome, DeleteOutcome, Settlement};
pub use figures::{Figures, LaneFigures};
pub(crate) use list::outputs_of;
pub use list::{Filter, Stats};
pub(crate) use redact::Moment;
pub use redact::Redacted;
pub use retention::{Retention, Swept};
pub use sweep::{QueuedJob, Recovered};
pub use types::{Acceptance, Accepted, Claim, Claimed, Lease, NewJob, Release, Renewal, RequestKey};
