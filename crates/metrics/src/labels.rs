//! Values of labels, within bounds: each value is a series of its own in every store that scrapes, for as long as it
//! keeps what it scraped.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use gateway_core::ids::is_raw_workflow_id;
use gateway_core::{ErrorCode, JobChange};
use metrics::SharedString;

use crate::table::JOBS_ENDED;

/// Workflows that are told apart.
const WORKFLOWS: usize = 200;
/// What all other values are together.
const OTHER: &str = "other";
/// What graphs that came with a job are together: each has an id of its own.
const RAW: &str = "raw";

static SEEN: Bounded = Bounded::new(WORKFLOWS);

/// The first values of a label, up to a number of them.
#[derive(Debug)]
pub struct Bounded {
    most: usize,
    seen: RwLock<BTreeSet<Arc<str>>>,
}

impl Bounded {
    /// At most `most` values.
    pub const fn new(most: usize) -> Self {
        Self { most, seen: RwLock::new(BTreeSet::new()) }
    }

    /// `value`, where it is one of the first; else `other`.
    pub fn value(&self, value: &str) -> SharedString {
        if let Some(known) = self.seen.read().unwrap_or_else(PoisonError::into_inner).get(value) {
            return SharedString::from(Arc::clone(known));
        }
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= self.most && !seen.contains(value) {
            return SharedString::const_str(OTHER);
        }
        let new: Arc<str> = Arc::from(value);
        seen.insert(Arc::clone(&new));
        SharedString::from(new)
    }
}

/// The label of a workflow by its id.
pub fn workflow(id: &str) -> SharedString {
    if is_raw_workflow_id(id) { SharedString::const_str(RAW) } else { SEEN.value(id) }
}

/// The label of an HTTP method.
pub fn method(name: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == name).unwrap_or(OTHER)
}

/// Counts a job that has ended.
pub fn job_ended(change: &JobChange) {
    let code = change.code.map(ErrorCode::as_str).unwrap_or_default();
    JOBS_ENDED.of([workflow(&change.workflow_id), change.to.as_str().into(), code.into()]).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_bound_are_one_and_those_before_it_stay() {
        let bounded = Bounded::new(2);
        let values = ["a", "b", "c", "a", "d", "b"].map(|value| bounded.value(value).to_string());
        assert_eq!(values, ["a", "b", "other", "a", "other", "b"]);
    }

    #[test]
    fn graphs_that_came_with_jobs_are_one_workflow() {
        assert_eq!((workflow("raw_1").as_ref(), workflow("raw_2").as_ref()), ("raw", "raw"));
        assert_eq!(workflow("icon_512").as_ref(), "icon_512");
    }

    #[test]
    fn methods_that_are_not_known_are_one() {
        assert_eq!((method("GET"), method("BREW"), method("get")), ("GET", "other", "other"));
    }
}
