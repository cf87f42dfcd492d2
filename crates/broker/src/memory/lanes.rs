//! The order in which waiting jobs are handed out. Pure: time comes in as a number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use gateway_core::workflow::NeedsId;
use gateway_core::{JobId, Owner, Priority, Timestamp};

use super::runs::Runs;
use super::shares::Shares;
use crate::entry::{MOST_BYPASSES, OUT};
use crate::{Depth, Entry, Offer, Run};

/// Places beyond this are not told: counting them would hold the queue up.
const FARTHEST_POSITION: usize = 1_000;

/// Entries at the end of a lane that are looked at before it is counted.
const LATELY: usize = 128;

type Key = (Timestamp, JobId);

/// What a server must have to run the jobs of a lane.
type Lane = Option<NeedsId>;

/// The jobs of one priority.
#[derive(Debug, Default)]
struct Level {
    owners: BTreeMap<Owner, BTreeMap<Lane, BTreeMap<Key, Entry>>>,
    order: BTreeSet<Key>,
    shares: Shares,
}

#[derive(Debug)]
enum Place {
    Delayed(Key),
    Waiting { priority: Priority, owner: Owner, lane: Lane, key: Key },
}

/// A job that may be handed out next.
#[derive(Debug, Clone)]
struct Choice {
    key: Key,
    priority: Priority,
    owner: Owner,
    /// Because its owner had least, not because it has waited long.
    in_turn: bool,
    /// The job that would have been next if its models were loaded.
    bypassed: Option<JobId>,
}

/// Strict priorities softened by ageing; within a priority the owner that had least, within an owner first in, first
/// out; owners of whom as many jobs run as may are passed over; and what waits for its time.
#[derive(Debug)]
pub(crate) struct Lanes {
    ageing_ms: i64,
    levels: BTreeMap<Priority, Level>,
    delayed: BTreeMap<Key, Entry>,
    places: HashMap<JobId, Place>,
    bypasses: HashMap<JobId, u32>,
    runs: Runs,
}

impl Lanes {
    pub(crate) fn new(ageing_ms: i64) -> Self {
        Self {
            ageing_ms: ageing_ms.max(1),
            levels: BTreeMap::new(),
            delayed: BTreeMap::new(),
            places: HashMap::new(),
            bypasses: HashMap::new(),
            runs: Runs::default(),
        }
    }

    /// Adds `entry`; one of the same job that waits already is replaced.
    pub(crate) fn insert(&mut self, entry: Entry, now: Timestamp) {
        self.remove(entry.job);
        let job = entry.job;
        if let Some(due) = entry.not_before.filter(|due| *due > now) {
            let key = (due, job);
            self.places.insert(job, Place::Delayed(key));
            self.delayed.insert(key, entry);
            return;
        }
        let (key, lane, priority) = ((entry.since, job), entry.needs, entry.priority);
        self.places.insert(job, Place::Waiting { priority, owner: entry.owner.clone(), lane, key });
        let level = self.levels.entry(priority).or_default();
        level.order.insert(key);
        level.owners.entry(entry.owner.clone()).or_default().entry(lane).or_default().insert(key, entry);
    }

    pub(crate) fn remove(&mut self, job: JobId) -> Option<Entry> {
        self.bypasses.remove(&job);
        match self.places.remove(&job)? {
            Place::Delayed(key) => self.delayed.remove(&key),
            Place::Waiting { priority, owner, lane, key } => {
                let level = self.levels.get_mut(&priority)?;
                level.order.remove(&key);
                let shelf = level.owners.get_mut(&owner)?;
                let entries = shelf.get_mut(&lane)?;
                let entry = entries.remove(&key);
                if entries.is_empty() {
                    shelf.remove(&lane);
                }
                if shelf.is_empty() {
                    level.owners.remove(&owner);
                }
                entry
            }
        }
    }

    /// The most urgent entry that `offer` has use for.
    pub(crate) fn pop(&mut self, offer: &Offer, now: Timestamp) -> Option<Entry> {
        self.admit(now);
        let choice = Priority::LANES.into_iter().find_map(|level| self.choose(level, offer, now))?;
        if let Some(job) = choice.bypassed {
            *self.bypasses.entry(job).or_default() += 1;
        }
        let Choice { key: (_, job), priority, owner, in_turn, .. } = choice;
        if let Some(level) = self.levels.get_mut(&priority) {
            level.shares.charge(&owner, offer.terms.weight(&owner), in_turn);
        }
        if offer.terms.running_limit(&owner).is_some() {
            self.hold(vec![Run { owner, job }], &offer.worker, OUT, now);
        }
        self.remove(job)
    }

    /// `runs` of `worker` count as running for `time`.
    pub(crate) fn hold(&mut self, runs: Vec<Run>, worker: &str, time: Duration, now: Timestamp) {
        let until = now.plus_millis(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        for run in runs {
            self.runs.hold(run, worker, until);
        }
        self.runs.tidy(now);
    }

    /// `run` of `worker` has ended.
    pub(crate) fn end(&mut self, run: Run, worker: &str) {
        self.runs.end(run, worker);
    }

    /// When there may be something without any arrival.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_due().into_iter().chain(self.runs.next_end(now)).min()
    }

    /// When the next delayed entry is due.
    fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first_key_value().map(|((due, _), _)| *due)
    }

    /// Whether as many jobs of `owner` run as may.
    fn is_full(&self, owner: &Owner, offer: &Offer, now: Timestamp) -> bool {
        let limit = offer.terms.running_limit(owner).map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        limit.is_some_and(|limit| self.runs.count(owner, now) >= limit)
    }

    pub(crate) fn depth(&self) -> Depth {
        Depth { total: self.places.len() as u64, delayed: self.delayed.len() as u64 }
    }

    /// 1 for the entry that has waited longest of those with its urgency and above.
    pub(crate) fn position(&self, job: JobId, now: Timestamp) -> Option<u64> {
        let Place::Waiting { priority, key, .. } = self.places.get(&job)? else { return None };
        let own = self.urgency(*priority, key.0, now);
        let mut before = 0;
        for (priority, level) in &self.levels {
            let ahead = |other: &Key| {
                let level = self.urgency(*priority, other.0, now);
                level > own || (level == own && other < key)
            };
            before += count_ahead(&level.order, ahead)?;
        }
        Some(before as u64 + 1)
    }

    /// A waiting job climbs one priority each time it has waited as long as the ageing time.
    fn urgency(&self, priority: Priority, since: Timestamp, now: Timestamp) -> i64 {
        let climbed = now.millis_since(since) / self.ageing_ms;
        (i64::from(priority.level()) + climbed).min(i64::from(Priority::High.level()))
    }

    /// The next job of `priority`, those among it that have climbed up there.
    fn choose(&self, priority: Priority, offer: &Offer, now: Timestamp) -> Option<Choice> {
        let native = self.in_turn(priority, offer, now);
        let climbed = self.levels.range(..priority).filter_map(|(from, level)| {
            let (owner, key) = self.oldest(level, offer, now)?;
            let level = i64::from(priority.level());
            (self.urgency(*from, key.0, now) >= level).then(|| Choice {
                key,
                priority: *from,
                owner: owner.clone(),
                in_turn: false,
                bypassed: None,
            })
        });
        native.into_iter().chain(climbed).min_by_key(|choice| choice.key)
    }

    /// The job of the owner that had least.
    fn in_turn(&self, priority: Priority, offer: &Offer, now: Timestamp) -> Option<Choice> {
        let level = self.levels.get(&priority)?;
        let head = |owner: &Owner, shelf: &BTreeMap<Lane, BTreeMap<Key, Entry>>| {
            let head = heads(shelf, offer).min_by_key(|(_, key)| *key).filter(|_| !self.is_full(owner, offer, now))?;
            Some((level.shares.of(owner), head))
        };
        let mut waiting = level.owners.iter().filter_map(|(owner, shelf)| Some((head(owner, shelf)?, owner, shelf)));
        let least = |had: u64, key: Key| (had, key);
        let first = waiting.next()?;
        let ((_, (lane, key)), owner, shelf) = waiting.fold(first, |best, other| {
            let rank = |one: &((u64, (Lane, Key)), &Owner, &BTreeMap<_, _>)| least(one.0.0, one.0.1.1);
            if rank(&other) < rank(&best) { other } else { best }
        });
        let bypasses = self.bypasses.get(&key.1).copied().unwrap_or_default();
        let patient = bypasses < MOST_BYPASSES && now.millis_since(key.0) < self.ageing_ms;
        let warm = |lane: Lane| lane.is_some_and(|needs| offer.warm.contains(&needs));
        let better = heads(shelf, offer).filter(|(lane, _)| warm(*lane)).map(|(_, key)| key).min();
        let (key, bypassed) = match better.filter(|_| patient && !warm(lane)) {
            Some(better) => (better, Some(key.1)),
            None => (key, None),
        };
        Some(Choice { key, priority, owner: owner.clone(), in_turn: true, bypassed })
    }

    fn oldest<'a>(&self, level: &'a Level, offer: &'a Offer, now: Timestamp) -> Option<(&'a Owner, Key)> {
        let owners = level.owners.iter().filter(|(owner, _)| !self.is_full(owner, offer, now));
        let heads = owners.flat_map(|(owner, shelf)| heads(shelf, offer).map(move |(_, key)| (owner, key)));
        heads.max_by_key(|(_, key)| Reverse(*key))
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

/// The oldest job of each lane that `offer` has use for.
fn heads<'a>(
    shelf: &'a BTreeMap<Lane, BTreeMap<Key, Entry>>,
    offer: &'a Offer,
) -> impl Iterator<Item = (Lane, Key)> + 'a {
    let can = |lane: &Lane| lane.is_none_or(|needs| !offer.cannot.contains(&needs));
    shelf.iter().filter(move |(lane, _)| can(lane)).filter_map(|(lane, entries)| Some((*lane, *entries.keys().next()?)))
}

/// How many of `keys` are `ahead`, which holds for those at the beginning and for none behind them. Asked for what came
/// lately, as the usual question is, it looks at a few from the end; `None` where counting would take long.
fn count_ahead(keys: &BTreeSet<Key>, ahead: impl Fn(&Key) -> bool) -> Option<usize> {
    let lately = keys.iter().rev().take(LATELY).position(&ahead);
    if let Some(behind) = lately {
        return Some(keys.len() - behind);
    }
    let counted = keys.iter().take_while(|key| ahead(key)).take(FARTHEST_POSITION + 1).count();
    (counted <= FARTHEST_POSITION).then_some(counted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(number: u8, priority: Priority, since: i64) -> Entry {
        let since = Timestamp::from_millis(since);
        Entry {
            job: JobId::new(since, [number; 10]),
            priority,
            owner: Owner::local(),
            since,
            not_before: None,
            needs: None,
            home: None,
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn any() -> Offer {
        Offer { max: 1, ..Offer::default() }
    }

    #[test]
    fn positions_count_what_is_ahead() {
        let mut lanes = Lanes::new(1_000);
        let low = entry(1, Priority::Low, 100);
        let normal = entry(2, Priority::Normal, 200);
        for waiting in [&low, &entry(3, Priority::Normal, 210), &entry(4, Priority::High, 300), &normal] {
            lanes.insert(waiting.clone(), at(300));
        }
        assert_eq!(lanes.position(low.job, at(301)), Some(4));
        assert_eq!(lanes.position(normal.job, at(301)), Some(2));
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
        assert_eq!(lanes.pop(&any(), at(2_000)), Some(low));
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
        assert_eq!(lanes.pop(&any(), at(500)).map(|e| e.job), Some(delayed.job));
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

    #[test]
    fn a_cold_job_is_bypassed_no_longer_than_the_ageing_time() {
        let mut lanes = Lanes::new(1_000);
        let id = |number: u128| uuid_needs(number);
        let cold = Entry { needs: Some(id(1)), ..entry(1, Priority::Normal, 0) };
        let warm = Entry { needs: Some(id(2)), ..entry(2, Priority::Normal, 900) };
        let offer = Offer { warm: [id(2)].into(), ..any() };
        lanes.insert(cold.clone(), at(0));
        lanes.insert(warm.clone(), at(900));
        assert_eq!(lanes.pop(&offer, at(999)), Some(warm.clone()));
        lanes.insert(warm, at(999));
        assert_eq!(lanes.pop(&offer, at(1_000)), Some(cold));
    }

    fn uuid_needs(number: u128) -> NeedsId {
        format!("{number:032x}").parse().unwrap()
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
            while let Some(entry) = lanes.pop(&any(), at(5_000)) {
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
