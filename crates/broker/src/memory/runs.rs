//! Which jobs run of owners whose running jobs are bounded. Pure.

use std::collections::HashMap;

use gateway_core::{Owner, Timestamp};

use crate::Run;

/// Until when which worker's which job counts.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    of: HashMap<Owner, HashMap<(Run, String), Timestamp>>,
}

impl Runs {
    /// `run` of `worker` counts until `until`.
    pub(crate) fn hold(&mut self, run: Run, worker: &str, until: Timestamp) {
        self.of.entry(run.owner.clone()).or_default().insert((run, worker.to_owned()), until);
    }

    /// `run` of `worker` counts no more.
    pub(crate) fn end(&mut self, run: Run, worker: &str) {
        let Some(runs) = self.of.get_mut(&run.owner) else { return };
        let owner = run.owner.clone();
        runs.remove(&(run, worker.to_owned()));
        if runs.is_empty() {
            self.of.remove(&owner);
        }
    }

    /// How many of `owner` run.
    pub(crate) fn count(&self, owner: &Owner, now: Timestamp) -> usize {
        self.of.get(owner).map_or(0, |runs| runs.values().filter(|until| **until > now).count())
    }

    /// When the next one counts no more that nobody speaks for.
    pub(crate) fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.of.values().flat_map(HashMap::values).copied().filter(|until| *until > now).min()
    }

    /// Forgets those that nobody spoke for.
    pub(crate) fn tidy(&mut self, now: Timestamp) {
        self.of.retain(|_, runs| {
            runs.retain(|_, until| *until > now);
            !runs.is_empty()
        });
    }
}
