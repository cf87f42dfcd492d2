//! Who got how much lately: start-time fair queueing over owners. Pure.

use std::collections::HashMap;

use gateway_core::Owner;

/// What each owner has had. One that comes back after a while is as if it had had as much as whoever had least: it
/// neither owes nor is owed.
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

    /// `owner` gets one more. `in_turn`: because it had least of those that wait.
    pub(crate) fn charge(&mut self, owner: &Owner, in_turn: bool) {
        let before = self.of(owner);
        if in_turn {
            self.floor = self.floor.max(before);
        }
        self.had.insert(owner.clone(), before + 1);
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
            shares.charge(&busy, true);
        }
        assert!(shares.of(&late) < shares.of(&busy));
        shares.charge(&late, true);
        assert_eq!(shares.of(&late), shares.of(&busy));
    }

    #[test]
    fn owners_that_are_no_longer_ahead_are_forgotten() {
        let mut shares = Shares::default();
        for number in 0..5_000 {
            shares.charge(&Owner::new(format!("owner-{number}")), true);
        }
        let one = Owner::new("one");
        for _ in 0..10 {
            shares.charge(&one, true);
        }
        assert!(shares.had.len() <= FEW, "{}", shares.had.len());
    }
}
