//! The rate limit of one process: a bounded table of keys. A key that is not in it has its whole burst, so what is
//! dropped when the table is full is chosen to give away the least: first the keys whose burst is whole anyway, then
//! those that are nearest to it. A flood of new keys does not push out one that is refused.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Decision, Rule, check};

const SHARDS: usize = 16;
/// A full shard drops one in this many at once, so that dropping costs little for each new key.
const DROPPED_PART: usize = 8;

type Shard = HashMap<Box<str>, i64>;

/// The table. One key is one caller under one rule; whoever has several rules puts their names into the keys.
pub struct Limiter {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    shard_size: usize,
}

impl Limiter {
    /// A table of at most `max_entries` keys, at least one.
    pub fn new(max_entries: usize) -> Self {
        let count = max_entries.clamp(1, SHARDS);
        let shards = std::iter::repeat_with(Mutex::default).take(count).collect();
        Self { hasher: RandomState::new(), shards, shard_size: (max_entries / count).max(1) }
    }

    /// Counts a request of `key` that is worth `cost` at `now_ms`, and says whether it is admitted.
    pub fn take_many(&self, key: &str, now_ms: i64, rule: Rule, cost: u32) -> Decision {
        let Some(mut shard) = self.shard(key) else {
            return refused(now_ms, rule, cost);
        };
        if let Some(state) = shard.get_mut(key) {
            let (decision, new) = check(Some(*state), now_ms, rule, cost);
            *state = new;
            return decision;
        }
        let (decision, new) = check(None, now_ms, rule, cost);
        if shard.len() >= self.shard_size {
            make_room(&mut shard, now_ms);
        }
        shard.insert(key.into(), new);
        decision
    }

    /// How many keys the table has.
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: &str) -> Option<MutexGuard<'_, Shard>> {
        let count = u64::try_from(self.shards.len()).ok()?;
        let index = usize::try_from(self.hasher.hash_one(key).checked_rem(count)?).ok()?;
        self.shards.get(index).map(lock)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limiter({} keys)", self.len())
    }
}

/// States are single integers, so a panic elsewhere leaves none half written.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer where no state can be kept: never unlimited.
fn refused(now_ms: i64, rule: Rule, cost: u32) -> Decision {
    check(Some(i64::MAX), now_ms, rule, cost.max(1)).0
}

fn make_room(shard: &mut Shard, now_ms: i64) {
    let now = now_ms.saturating_mul(1000);
    let full = shard.len();
    shard.retain(|_, state| *state > now);
    let goal = full.saturating_sub((full / DROPPED_PART).max(1));
    let surplus = shard.len().saturating_sub(goal);
    let Some(last) = surplus.checked_sub(1) else { return };
    let mut states: Vec<i64> = shard.values().copied().collect();
    let (_, highest, _) = states.select_nth_unstable(last);
    let highest = *highest;
    let mut left = surplus;
    shard.retain(|_, state| {
        let drop = *state <= highest && left > 0;
        left = left.saturating_sub(usize::from(drop));
        !drop
    });
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::address::bucket;

    const RULE: Rule = Rule { per_window: 10, window_ms: 10_000, burst: 10 };
    const NOW: i64 = 1_700_000_000_000;

    fn take(limiter: &Limiter, key: &str, now: i64) -> Decision {
        limiter.take_many(key, now, RULE, 1)
    }

    fn admitted(limiter: &Limiter, key: &str, now: i64, offered: usize) -> usize {
        (0..offered).filter(|_| take(limiter, key, now).allowed).count()
    }

    #[test]
    fn keys_do_not_share_a_burst() {
        let limiter = Limiter::new(1000);
        assert_eq!(admitted(&limiter, "a", NOW, 100), 10);
        assert_eq!(admitted(&limiter, "b", NOW, 100), 10);
        assert_eq!(admitted(&limiter, "a", NOW + 3_000, 100), 3);
        assert_eq!(limiter.len(), 2);
    }

    #[test]
    fn a_request_counts_as_much_as_it_is_worth() {
        let limiter = Limiter::new(10);
        assert!(!limiter.take_many("a", NOW, RULE, 11).allowed);
        assert!(limiter.take_many("a", NOW, RULE, 10).allowed);
        assert!(!take(&limiter, "a", NOW).allowed);
    }

    #[test]
    fn twenty_failures_in_fifteen_minutes_and_the_next_is_refused() {
        let rule = Rule { per_window: 20, window_ms: 900_000, burst: 20 };
        let limiter = Limiter::new(10);
        for index in 0..20 {
            assert!(limiter.take_many("f", NOW + index, rule, 1).allowed, "{index}");
        }
        assert!(!limiter.take_many("f", NOW + 20, rule, 1).allowed);
    }

    #[test]
    fn the_table_is_bounded_and_a_flood_does_not_free_who_is_refused() {
        let limiter = Limiter::new(1_600);
        assert_eq!(admitted(&limiter, "greedy", NOW, 20), 10);
        for index in 0..100_000 {
            take(&limiter, &format!("flood-{index}"), NOW);
            assert!(index % 1000 != 0 || limiter.len() <= 1_600, "{}", limiter.len());
        }
        assert!(!take(&limiter, "greedy", NOW).allowed);
    }

    #[test]
    fn idle_keys_are_dropped_first() {
        let limiter = Limiter::new(1);
        take(&limiter, "a", NOW);
        take(&limiter, "b", NOW + 5_000);
        assert_eq!(limiter.len(), 1);
        assert_eq!(take(&limiter, "b", NOW + 5_000).remaining, 8);
    }

    #[test]
    fn room_is_made_by_what_gives_away_the_least() {
        let after = |states: &[i64]| {
            let shard = states.iter().map(|state| (state.to_string().into_boxed_str(), NOW * 1000 + state));
            let mut shard: Shard = shard.collect();
            make_room(&mut shard, NOW);
            let mut left: Vec<i64> = shard.into_values().map(|state| state - NOW * 1000).collect();
            left.sort_unstable();
            left
        };
        assert_eq!(after(&[50, -1, 10, 0, 30]), [10, 30, 50]);
        assert_eq!(after(&[50, 40, 10, 20, 30]), [20, 30, 40, 50]);
        let many: Vec<i64> = (1..=80).collect();
        assert_eq!(after(&many), many[10..]);
    }

    #[test]
    fn a_walk_through_a_network_of_64_bits_is_one_caller() {
        let limiter = Limiter::new(1000);
        let base = u128::from_be_bytes([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let walked = (0..100_000u128)
            .filter(|low| take(&limiter, &bucket(IpAddr::from((base | low).to_be_bytes())), NOW).allowed)
            .count();
        assert_eq!((walked, limiter.len()), (10, 1));
    }

    #[test]
    fn threads_together_get_one_burst() {
        let limiter = Limiter::new(1000);
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| admitted(&limiter, "a", NOW, 1000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 10);
    }
}
