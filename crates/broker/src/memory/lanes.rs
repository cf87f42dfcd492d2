//! The order in which waiting jobs are handed out. Pure: time comes in as a number.

use std::collections::{BTreeMap, HashMap};

use gateway_core::{JobId, Priority, Timestamp};

use crate::{Depth, Entry};

/// Places beyond this are not told: counting them would hold the queue up.
const FARTHEST_POSITION: usize = 1_000;

/// Entries at the end of a lane that are looked at before it is counted.
const LATELY: usize = 128;

type Key = (Timestamp, JobId);

/// Strict lanes, each first in, first out, softened by ageing; and what waits for its time.
#[derive(Debug)]
pub(crate) struct Lanes {
    ageing_ms: i64,
    lanes: BTreeMap<Priority, BTreeMap<Key, Entry>>,
    delayed: BTreeMap<Key, Entry>,
    places: HashMap<JobId, (Option<Priority>, Key)>,
}

impl Lanes {
    pub(crate) fn new(ageing_ms: i64) -> Self {
        Self { ageing_ms: ageing_ms.max(1), lanes: BTreeMap::new(), delayed: BTreeMap::new(), places: HashMap::new() }
    }

    /// Adds `entry`; one of the same job that waits already is replaced.
    pub(crate) fn insert(&mut self, entry: Entry, now: Timestamp) {
        self.remove(entry.job);
        let job = entry.job;
        match entry.not_before.filter(|due| *due > now) {
            Some(due) => {
                self.places.insert(job, (None, (due, job)));
                self.delayed.insert((due, job), entry);
            }
            None => {
                let key = (entry.since, job);
                self.places.insert(job, (Some(entry.priority), key));
                self.lanes.entry(entry.priority).or_default().insert(key, entry);
            }
        }
    }

    pub(crate) fn remove(&mut self, job: JobId) -> Option<Entry> {
        let (lane, key) = self.places.remove(&job)?;
        match lane {
            Some(priority) => self.lanes.get_mut(&priority)?.remove(&key),
            None => self.delayed.remove(&key),
        }
    }

    /// The most urgent entry.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Entry> {
        self.admit(now);
        let (_, key) = self
            .lanes
            .iter()
            .filter_map(|(priority, lane)| {
                lane.first_key_value().map(|(key, _)| (self.urgency(*priority, key.0, now), *key))
            })
            .max_by_key(|(level, key)| (*level, std::cmp::Reverse(*key)))?;
        self.remove(key.1)
    }

    /// When the next delayed entry is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first_key_value().map(|((due, _), _)| *due)
    }

    pub(crate) fn depth(&self) -> Depth {
        Depth { total: self.places.len() as u64, delayed: self.delayed.len() as u64 }
    }

    /// 1 for the entry that is handed out next.
    pub(crate) fn position(&self, job: JobId, now: Timestamp) -> Option<u64> {
        let (lane, key) = self.places.get(&job)?;
        let own = self.urgency((*lane)?, key.0, now);
        let mut before = 0;
        for (priority, entries) in &self.lanes {
            let ahead = |other: &Key| {
                let level = self.urgency(*priority, other.0, now);
                level > own || (level == own && other < key)
            };
            before += count_ahead(entries, ahead)?;
        }
        Some(before as u64 + 1)
    }

    /// A waiting job climbs one lane each time it has waited as long as the ageing time.
    fn urgency(&self, priority: Priority, since: Timestamp, now: Timestamp) -> i64 {
        let climbed = now.millis_since(since) / self.ageing_ms;
        (i64::from(priority.level()) + climbed).min(i64::from(Priority::High.level()))
    }

    fn admit(&mut self, now: Timestamp) {
        while self.next_due().is_some_and(|due| due <= now) {
            if let Some((_, entry)) = self.delayed.pop_first() {
                self.places.remove(&entry.job);
                self.insert(entry, now);
            }
        }
    }
}

/// How many of `entries` are `ahead`, which holds for those of a lane's beginning and for none behind them. Asked for
/// what came lately, as the usual question is, it looks at a few from the end; `None` where counting would take long.
fn count_ahead(entries: &BTreeMap<Key, Entry>, ahead: impl Fn(&Key) -> bool) -> Option<usize> {
    let lately = entries.keys().rev().take(LATELY).position(&ahead);
    if let Some(behind) = lately {
        return Some(entries.len() - behind);
    }
    let counted = entries.keys().take_while(|key| ahead(key)).take(FARTHEST_POSITION + 1).count();
    (counted <= FARTHEST_POSITION).then_some(counted)
}

#[cfg(test)]
mod tests {
    use gateway_core::Owner;
    use proptest::prelude::*;

    use super::*;

    fn entry(number: u8, priority: Priority, since: i64) -> Entry {
        let since = Timestamp::from_millis(since);
        Entry { job: JobId::new(since, [number; 10]), priority, owner: Owner::local(), since, not_before: None }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn higher_lanes_go_first_and_each_lane_is_first_in_first_out() {
        let mut lanes = Lanes::new(1_000);
        let low = entry(1, Priority::Low, 100);
        let normal = entry(2, Priority::Normal, 200);
        let later = entry(3, Priority::Normal, 210);
        let high = entry(4, Priority::High, 300);
        for waiting in [&low, &later, &high, &normal] {
            lanes.insert(waiting.clone(), at(300));
        }
        assert_eq!(lanes.position(low.job, at(301)), Some(4));
        assert_eq!(lanes.position(normal.job, at(301)), Some(2));
        for expected in [high, normal, later, low] {
            assert_eq!(lanes.pop(at(301)), Some(expected));
        }
        assert_eq!(lanes.pop(at(301)), None);
        assert_eq!(lanes.depth(), Depth::default());
    }

    #[test]
    fn a_low_job_that_waited_long_enough_goes_before_newer_high_ones() {
        let mut lanes = Lanes::new(1_000);
        let low = entry(1, Priority::Low, 0);
        let high = entry(2, Priority::High, 1_500);
        lanes.insert(low.clone(), at(0));
        lanes.insert(high.clone(), at(1_500));
        assert_eq!(lanes.position(high.job, at(1_999)), Some(1));
        assert_eq!(lanes.position(high.job, at(2_000)), Some(2));
        assert_eq!(lanes.pop(at(2_000)), Some(low));
    }

    #[test]
    fn a_delayed_entry_waits_for_its_time_and_keeps_its_age() {
        let mut lanes = Lanes::new(1_000_000);
        let mut delayed = entry(1, Priority::Normal, 0);
        delayed.not_before = Some(at(500));
        lanes.insert(delayed.clone(), at(0));
        lanes.insert(entry(2, Priority::Normal, 100), at(100));
        assert_eq!((lanes.depth().total, lanes.depth().delayed), (2, 1));
        assert_eq!(lanes.position(delayed.job, at(400)), None);
        assert_eq!(lanes.next_due(), Some(at(500)));
        assert_eq!(lanes.pop(at(500)).map(|e| e.job), Some(delayed.job));
    }

    #[test]
    fn the_same_job_is_never_there_twice() {
        let mut lanes = Lanes::new(1_000);
        let waiting = entry(1, Priority::Normal, 0);
        lanes.insert(waiting.clone(), at(0));
        lanes.insert(Entry { not_before: Some(at(50)), ..waiting.clone() }, at(0));
        assert_eq!(lanes.depth().total, 1);
        assert!(lanes.remove(waiting.job).is_some());
        assert_eq!(lanes.depth(), Depth::default());
    }

    proptest! {
        #[test]
        fn everything_that_goes_in_comes_out_once_and_nothing_waits_behind_what_came_later_for_ever(
            jobs in proptest::collection::vec((0u8..3, 0i64..5_000), 1..60)
        ) {
            let mut lanes = Lanes::new(1_000);
            for (number, (level, since)) in (0u8..).zip(&jobs) {
                lanes.insert(entry(number, Priority::of_level(i32::from(*level)), *since), at(5_000));
            }
            let mut popped = Vec::new();
            while let Some(entry) = lanes.pop(at(5_000)) {
                popped.push(entry);
            }
            prop_assert_eq!(popped.len(), jobs.len());
            for pair in popped.windows(2) {
                let urgency = |e: &Entry| (e.priority.level() as i64 + (5_000 - e.since.as_millis()) / 1_000).min(2);
                prop_assert!(urgency(&pair[0]) >= urgency(&pair[1]));
            }
        }
    }
}
