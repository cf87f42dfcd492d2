//! The generic cell rate algorithm. A key's whole state is one integer: the time at which its burst is whole again.
//!
//! All of it is in integers of microseconds, which 64-bit floating point numbers hold exactly as well, so that another
//! place can keep the state with the same result:
//!
//! ```text
//! interval  = ceil(window_ms * 1000 / per_window)     what one request costs
//! tolerance = interval * burst                        what can be spent at once
//! now       = now_ms * 1000
//! limit     = now + tolerance
//! tat       = state absent ? now : state > limit + 60_000_000 ? limit : max(state, now)
//! wanted    = tat + interval * cost
//! allowed   = wanted <= limit
//! new state = allowed ? wanted : tat                  may be forgotten once now >= new state
//! remaining       = max(0, limit - new state) div interval
//! reset_after_ms  = ceil((new state - now) / 1000)
//! retry_after_ms  = allowed ? 0 : ceil((wanted - limit) / 1000)
//! ```
//!
//! The middle case of `tat` is a clock that was set back by more than a minute: the key then waits for its burst, not
//! for the time that the clock went back.

const MICROS: i64 = 1000;
/// 366 days.
const LONGEST_WINDOW_MS: i64 = 31_622_400_000;
/// Far below overflow, and thousands of years.
const HIGHEST_TOLERANCE: i64 = i64::MAX / 4;
/// How far clocks may differ before a state from the future is taken for a mistake.
const CLOCK_SLACK: i64 = 60_000_000;

/// How much is allowed. Zeros count as ones; a window is at most 366 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How many requests a window allows in the long run.
    pub per_window: u32,
    /// How long a window is, in milliseconds.
    pub window_ms: u64,
    /// How many requests may come at once.
    pub burst: u32,
}

impl Rule {
    /// What one request costs in microseconds, rounded up, so that rounding never admits more.
    pub fn interval(self) -> i64 {
        let window = i64::try_from(self.window_ms).unwrap_or(LONGEST_WINDOW_MS).clamp(1, LONGEST_WINDOW_MS);
        let requests = i64::from(self.per_window.max(1));
        window.saturating_mul(MICROS).saturating_add(requests - 1) / requests
    }

    /// What can be spent at once.
    pub fn tolerance(self) -> i64 {
        self.interval().saturating_mul(i64::from(self.burst.max(1))).min(HIGHEST_TOLERANCE)
    }
}

/// What became of a request, and what its answer can say about the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is admitted.
    pub allowed: bool,
    /// How many more could come at once.
    pub remaining: u32,
    /// After how long without requests the burst is whole again.
    pub reset_after_ms: u64,
    /// After how long the refused request would be admitted; 0 for an admitted one.
    pub retry_after_ms: u64,
}

impl Decision {
    /// `reset_after_ms` in whole seconds, rounded up, as headers have it.
    pub fn reset_after_seconds(&self) -> u64 {
        self.reset_after_ms.div_ceil(1000)
    }

    /// `retry_after_ms` in whole seconds, rounded up, as headers have it.
    pub fn retry_after_seconds(&self) -> u64 {
        self.retry_after_ms.div_ceil(1000)
    }
}

/// Decides about a request of `cost` at `now_ms`, and gives the new state of its key. A cost above the burst is never
/// admitted; a cost of 0 always is while the burst is not overdrawn.
pub fn check(state: Option<i64>, now_ms: i64, rule: Rule, cost: u32) -> (Decision, i64) {
    let interval = rule.interval();
    let now = now_ms.saturating_mul(MICROS);
    let limit = now.saturating_add(rule.tolerance());
    let due = match state {
        None => now,
        Some(state) if state > limit.saturating_add(CLOCK_SLACK) => limit,
        Some(state) => state.max(now),
    };
    let wanted = due.saturating_add(interval.saturating_mul(i64::from(cost)));
    let allowed = wanted <= limit;
    let new = if allowed { wanted } else { due };
    let decision = Decision {
        allowed,
        remaining: u32::try_from(limit.saturating_sub(new).max(0) / interval).unwrap_or(u32::MAX),
        reset_after_ms: millis(new.saturating_sub(now)),
        retry_after_ms: if allowed { 0 } else { millis(wanted.saturating_sub(limit)) },
    };
    (decision, new)
}

/// A span of microseconds in milliseconds, rounded up.
fn millis(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: Rule = Rule { per_window: 100, window_ms: 60_000, burst: 100 };
    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn the_burst_then_one_each_interval() {
        let mut state = None;
        for expected in (0..100).rev() {
            let (decision, new) = check(state, NOW, RULE, 1);
            assert_eq!((decision.allowed, decision.remaining, decision.retry_after_ms), (true, expected, 0));
            state = Some(new);
        }
        let (decision, new) = check(state, NOW, RULE, 1);
        assert_eq!(decision, Decision { allowed: false, remaining: 0, reset_after_ms: 60_000, retry_after_ms: 600 });
        assert_eq!((decision.retry_after_seconds(), decision.reset_after_seconds()), (1, 60));
        assert!(!check(Some(new), NOW + 599, RULE, 1).0.allowed);
        assert!(check(Some(new), NOW + 600, RULE, 1).0.allowed);
    }

    #[test]
    fn costs_other_than_one() {
        assert_eq!(check(None, NOW, RULE, 100).0.remaining, 0);
        assert!(!check(None, NOW, RULE, 101).0.allowed);
        let (peek, new) = check(None, NOW, RULE, 0);
        assert_eq!((peek.allowed, peek.remaining, new), (true, 100, NOW * 1000));
    }

    #[test]
    fn a_clock_set_back_by_an_hour_costs_no_more_than_a_burst() {
        let (_, state) = check(None, NOW, RULE, 100);
        let back = NOW - 3_600_000;
        let (decision, state) = check(Some(state), back, RULE, 1);
        assert_eq!((decision.allowed, decision.retry_after_ms), (false, 600));
        assert!(check(Some(state), back + 600, RULE, 1).0.allowed);
        // By a little, nothing is forgiven.
        let (_, full) = check(None, NOW, RULE, 100);
        assert_eq!(check(Some(full), NOW - 100, RULE, 1).0.retry_after_ms, 700);
    }

    #[test]
    fn a_hundred_a_second_is_a_hundred_a_second_at_ten_times_the_offer() {
        let rule = Rule { per_window: 100, window_ms: 1000, burst: 100 };
        let mut state = None;
        let admitted = (0..60_000)
            .filter(|now| {
                let (decision, new) = check(state, NOW + now, rule, 1);
                state = Some(new);
                decision.allowed
            })
            .count();
        assert!((6_000..=6_100).contains(&admitted), "{admitted}");
    }

    #[test]
    fn extremes_neither_panic_nor_open_the_gate() {
        let rules = [0, 1, u32::MAX].into_iter().flat_map(|per_window| {
            [0, 1, u32::MAX].into_iter().flat_map(move |burst| {
                [0, 1, u64::MAX].into_iter().map(move |window_ms| Rule { per_window, window_ms, burst })
            })
        });
        for rule in rules {
            for now in [i64::MIN, -1, 0, NOW, i64::MAX] {
                for state in [None, Some(i64::MIN), Some(0), Some(i64::MAX)] {
                    for cost in [0, 1, u32::MAX] {
                        let (decision, _) = check(state, now, rule, cost);
                        assert!(decision.remaining <= rule.burst.max(1), "{decision:?} {rule:?}");
                    }
                }
            }
        }
    }

    fn rules() -> impl Strategy<Value = Rule> {
        (1u32..2_000, 1u64..100_000, 1u32..500).prop_map(|(per_window, window_ms, burst)| Rule {
            per_window,
            window_ms,
            burst,
        })
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(rule in rules(), gaps in prop::collection::vec((0i64..500, 1u32..4), 1..400)) {
            let (mut now, mut state, mut admitted) = (NOW, None, 0u64);
            for (gap, cost) in gaps {
                now += gap;
                let (decision, new) = check(state, now, rule, cost);
                state = Some(new);
                admitted += if decision.allowed { u64::from(cost) } else { 0 };
                let earned = u64::try_from(now - NOW).unwrap() * u64::from(rule.per_window) / rule.window_ms;
                prop_assert!(admitted <= u64::from(rule.burst) + earned, "{admitted} {earned}");
            }
        }

        #[test]
        fn an_idle_key_has_its_whole_burst(rule in rules(), spent in 0u32..500) {
            let (decision, state) = check(None, NOW, rule, spent);
            let later = NOW + i64::try_from(decision.reset_after_ms).unwrap();
            let (decision, new) = check(Some(state), later, rule, rule.burst);
            prop_assert!(decision.allowed);
            prop_assert_eq!(decision.remaining, 0);
            prop_assert_eq!(check(None, later, rule, rule.burst).1, new);
        }

        #[test]
        fn who_waits_as_told_is_admitted_and_not_before(
            (rule, spent, cost) in rules().prop_flat_map(|rule| (Just(rule), 0..=rule.burst, 1..=rule.burst))
        ) {
            let (_, state) = check(None, NOW, rule, spent);
            let (decision, state) = check(Some(state), NOW, rule, cost);
            prop_assert_eq!(decision.allowed, spent + cost <= rule.burst);
            if decision.allowed {
                return Ok(());
            }
            let wait = i64::try_from(decision.retry_after_ms).unwrap();
            prop_assert!(wait > 0 && decision.retry_after_ms <= decision.reset_after_ms);
            prop_assert!(check(Some(state), NOW + wait, rule, cost).0.allowed);
            prop_assert!(!check(Some(state), NOW + wait - 1, rule, cost).0.allowed);
        }

        #[test]
        fn what_remains_can_be_spent_and_no_more(rule in rules(), spent in 0u32..500, gap in 0i64..10_000) {
            let (_, state) = check(None, NOW, rule, spent);
            let (decision, state) = check(Some(state), NOW + gap, rule, 0);
            prop_assert!(decision.remaining <= rule.burst);
            prop_assert!(check(Some(state), NOW + gap, rule, decision.remaining).0.allowed);
            prop_assert!(!check(Some(state), NOW + gap, rule, decision.remaining + 1).0.allowed);
        }
    }
}
