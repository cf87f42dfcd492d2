//! When a failed attempt is tried again, and how waits are spread. Pure: randomness comes in as a number.

/// Backoff after the 1st, 2nd, 3rd … failed attempt, in milliseconds.
const BACKOFF_MS: [i64; 5] = [5_000, 30_000, 120_000, 600_000, 1_800_000];

/// Milliseconds to wait after `attempts` attempts have failed, spread by ±20 %.
///
/// `scale` multiplies the schedule (1.0 in production); `jitter` is a random number in `0.0..1.0`.
pub fn backoff_ms(attempts: i32, scale: f64, jitter: f64) -> i64 {
    let index = usize::try_from(attempts.max(1) - 1).unwrap_or(0);
    let base = BACKOFF_MS.get(index).or(BACKOFF_MS.last()).copied().unwrap_or(5_000);
    spread_ms(base, scale, jitter)
}

/// `plan_ms` of a schedule that `scale` multiplies, spread by ±20 %: `jitter` is a random number in `0.0..1.0`.
pub(crate) fn spread_ms(plan_ms: i64, scale: f64, jitter: f64) -> i64 {
    let spread = 0.8 + 0.4 * jitter.clamp(0.0, 1.0);
    (plan_ms as f64 * scale.max(0.0) * spread).round() as i64
}

/// Losses of its worker after which a job waits before it is taken again, and the longest wait.
const INNOCENT_LOSSES: i32 = 2;
const LONGEST_RECOVERY_MS: i64 = 60_000;

/// Milliseconds that a job waits after it has lost its `crashes`th worker. The first losses may be anybody's fault; one
/// that goes on losing them is taken ever more rarely, so that a storm of kills, or of restarts, does not use up what
/// it may lose, and a job that kills leaves the others room.
pub fn recovery_ms(crashes: i32) -> i64 {
    let doublings = u32::try_from(crashes.saturating_sub(INNOCENT_LOSSES + 1)).ok();
    let wait = doublings.map(|doublings| 1_000_i64.checked_shl(doublings).filter(|_| doublings < 32));
    wait.map_or(0, |wait| wait.unwrap_or(LONGEST_RECOVERY_MS).min(LONGEST_RECOVERY_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_and_stays_within_a_fifth_of_its_plan() {
        for (attempts, plan) in [(0, 5_000), (1, 5_000), (2, 30_000), (3, 120_000), (99, 1_800_000)] {
            assert_eq!(backoff_ms(attempts, 1.0, 0.5), plan);
            assert_eq!(backoff_ms(attempts, 1.0, 0.0), plan * 8 / 10);
            assert_eq!(backoff_ms(attempts, 1.0, 1.0), plan * 12 / 10);
        }
        assert_eq!(backoff_ms(1, 0.0, 0.5), 0);
    }

    #[test]
    fn a_job_that_goes_on_losing_its_workers_is_taken_ever_more_rarely() {
        let waits: Vec<i64> = (0..=10).map(recovery_ms).collect();
        assert_eq!(waits, [0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!((recovery_ms(i32::MIN), recovery_ms(i32::MAX)), (0, LONGEST_RECOVERY_MS));
    }
}
