//! The time by which leases and schedules are told: that of the database's machine, so that workers whose own clocks
//! differ agree.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gateway_core::Timestamp;

/// How long one look at the server's clock is good for.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// A clock that is set by the database server now and then, and goes by this machine's monotonic one in between; where
/// the database is a file, the system's clock. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<Option<(Instant, i64)>>>);

impl Clock {
    /// Sets it: the server said `millis` just now.
    pub(crate) fn set(&self, millis: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), millis));
    }

    /// Whether it should be set again.
    pub(crate) fn is_stale(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|(at, _)| at.elapsed() >= GOOD_FOR)
    }

    pub(crate) fn now(&self) -> Timestamp {
        let set = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = |since: Duration| i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(match set {
            Some((at, millis)) => millis.saturating_add(passed(at.elapsed())),
            None => passed(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_goes_on_from_there_and_one_that_was_not_is_the_systems() {
        let clock = Clock::default();
        assert!(clock.is_stale());
        assert!(clock.now() > Timestamp::from_millis(1_700_000_000_000));
        clock.set(5_000);
        assert!(!clock.is_stale());
        let now = clock.now().as_millis();
        assert!((5_000..60_000).contains(&now), "{now}");
    }
}
