//! How long a ComfyUI server could be used, and how much of that it had something to do. Pure: time comes in as an
//! argument.

use std::time::{Duration, Instant};

/// How long a server was up, and busy while it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) up: Duration,
    pub(crate) busy: Duration,
}

/// Adds up how long a server is up and busy.
#[derive(Debug, Default)]
pub(super) struct BusyClock {
    times: Times,
    up: bool,
    busy: bool,
    /// Until when the times are told.
    told: Option<Instant>,
}

impl BusyClock {
    /// From `now` on it can be used, or can't.
    pub(super) fn set_up(&mut self, up: bool, now: Instant) {
        self.advance(now);
        self.up = up;
    }

    /// From `now` on it has something to do, or has not.
    pub(super) fn set_busy(&mut self, busy: bool, now: Instant) {
        self.advance(now);
        self.busy = busy;
    }

    /// The times until `now`.
    pub(super) fn read(&mut self, now: Instant) -> Times {
        self.advance(now);
        self.times
    }

    fn advance(&mut self, now: Instant) {
        let passed = self.told.map_or(Duration::ZERO, |told| now.saturating_duration_since(told));
        self.told = Some(now);
        if self.up {
            self.times.up += passed;
        }
        if self.up && self.busy {
            self.times.busy += passed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_in_which_it_is_up_counts_and_of_that_what_it_has_to_do() {
        let (mut clock, start) = (BusyClock::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let times = |up, busy| Times { up: Duration::from_secs(up), busy: Duration::from_secs(busy) };
        assert_eq!(clock.read(at(0)), times(0, 0));
        clock.set_busy(true, at(5));
        assert_eq!(clock.read(at(10)), times(0, 0), "it was not up");
        clock.set_up(true, at(10));
        assert_eq!(clock.read(at(13)), times(3, 3));
        clock.set_busy(false, at(14));
        clock.set_up(true, at(20));
        assert_eq!(clock.read(at(24)), times(14, 4));
        clock.set_busy(true, at(24));
        clock.set_up(false, at(25));
        assert_eq!(clock.read(at(100)), times(15, 5), "what it had to do when it went");
    }
}
