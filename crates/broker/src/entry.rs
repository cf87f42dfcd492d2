//! What lies in the queue, what a worker says when it asks for more, and the numbers that either broker keeps to.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use gateway_core::access::Terms;
use gateway_core::workflow::NeedsId;
use gateway_core::{JobId, Owner, Priority, Timestamp};

/// A hint that a job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The job.
    pub job: JobId,
    /// Its lane.
    pub priority: Priority,
    /// Whose it is.
    pub owner: Owner,
    /// Since when it waits: its place in the lane, and its age.
    pub since: Timestamp,
    /// Not to be handed out earlier.
    pub not_before: Option<Timestamp>,
    /// What its graph needs of a server, where that is known.
    pub needs: Option<NeedsId>,
    /// The server that may still have a prompt of it.
    pub home: Option<String>,
}

/// What a worker has room for, and what it would rather have.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// How many jobs, at least 1.
    pub max: usize,
    /// Who asks.
    pub worker: String,
    /// The servers of this worker.
    pub homes: HashSet<String>,
    /// Whether the job would wait until another has run: whoever has nothing to run goes first.
    pub ahead: bool,
    /// Needs that this server does not meet: such jobs are left to others.
    pub cannot: HashSet<NeedsId>,
    /// Needs whose models this server has loaded: among equal jobs these go first, within bounds.
    pub warm: HashSet<NeedsId>,
    /// How owners share the servers, as this worker knows it.
    pub terms: Arc<Terms>,
}

/// Where an entry lay that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The stream.
    pub lane: String,
    /// The entry's id there.
    pub id: String,
}

/// An entry that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The hint.
    pub entry: Entry,
    /// What [`crate::Broker::done`] takes once the job is claimed; `None` where nothing is kept until then.
    pub receipt: Option<Receipt>,
}

/// A job that a worker has in hand, from when it was handed out to the end of its run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Run {
    /// Whose job it is.
    pub owner: Owner,
    /// The job.
    pub job: JobId,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Entries in all lanes, delayed ones among them.
    pub total: u64,
    /// Entries that wait for their time.
    pub delayed: u64,
}

/// How long who has something to run leaves work to those who have not.
pub(crate) const COURTESY: Duration = Duration::from_millis(30);

/// What was handed out to a worker and not claimed by then is handed out again; until then it counts as running.
pub(crate) const OUT: Duration = Duration::from_secs(15);

/// Jobs that may go before one whose models are not loaded.
pub(crate) const MOST_BYPASSES: u32 = 24;

/// Events of a job that are kept for whoever was away.
pub(crate) const KEPT_EVENTS: usize = 128;

/// How long a wish for previews is good.
pub(crate) const PREVIEWS_WANTED: Duration = Duration::from_secs(60);
