//! Who got how much lately: start-time fair queueing over owners. Pure.

use std::collections::HashMap;

use gateway_core::Owner;

/// What one job costs an owner of weight 1.
const JOB: u64 = 1_000_000;

/// What each owner has had for its weight. One that comes back after a while is as if it had had as much as whoever had
/// least: it neither owes nor is owed.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    had: HashMap<Owner, u64>,
    floor: u64,
}

impl Shares {
    /// How much `owner` has had.
    pub(crate) fn of(&self, owner: &Owner) -> u64 {
        self.had.get(owner).copied().unwrap_or_default().max(self.floor)
    }

    /// `owner`, of this `weight`, gets one more. `in_turn`: because it had least of those that wait.
    pub(crate) fn charge(&mut self, owner: &Owner, weight: u32, in_turn: bool) {
        let before = self.of(owner);
        if in_turn {
            self.floor = self.floor.max(before);
        }
        self.had.insert(owner.clone(), before + JOB / u64::from(weight.max(1)));
        if self.had.len() > FEW {
            let floor = self.floor;
            self.had.retain(|_, had| *had > floor);
        }
    }
}

/// Fewer owners than this are not worth forgetting.
const FEW: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_late_is_not_owed_what_others_had_before() {
        let (busy, late) = (Owner::new("busy"), Owner::new("late"));
        let mut shares = Shares::default();
        for _ in 0..100 {
            shares.charge(&busy, 1, true);
        }
        assert!(shares.of(&late) < shares.of(&busy));
        shares.charge(&late, 1, true);
        assert_eq!(shares.of(&late), shares.of(&busy));
    }

    #[test]
    fn a_weight_divides_what_a_job_costs() {
        let (heavy, light) = (Owner::new("heavy"), Owner::new("light"));
        let mut shares = Shares::default();
        let mut of_heavy = 0;
        for _ in 0..400 {
            let (owner, weight) = if shares.of(&heavy) <= shares.of(&light) { (&heavy, 3) } else { (&light, 1) };
            shares.charge(owner, weight, true);
            of_heavy += u32::from(owner == &heavy);
        }
        assert!((299..=301).contains(&of_heavy), "{of_heavy} of 400");
    }

    #[test]
    fn owners_that_are_no_longer_ahead_are_forgotten() {
        let mut shares = Shares::default();
        for number in 0..5_000 {
            shares.charge(&Owner::new(format!("owner-{number}")), 1, true);
        }
        let one = Owner::new("one");
        for _ in 0..10 {
            shares.charge(&one, 1, true);
        }
        assert!(shares.had.len() <= FEW, "{}", shares.had.len());
    }
}
