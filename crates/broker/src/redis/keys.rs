//! The names of keys and lanes. All keys begin with one hash tag, so that a cluster keeps them on one node and the
//! scripts stay atomic.

use std::str::FromStr as _;

use gateway_core::{JobId, Owner, Priority, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::Entry;

/// What needs no escape within a part of a lane's name.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.');
/// A part that says nothing.
const NONE: &str = "-";

/// What all keys begin with.
pub(super) fn root(prefix: &str) -> String {
    format!("{{{prefix}}}:")
}

/// The lane of `entry`, without its generation.
pub(super) fn lane(entry: &Entry) -> String {
    let needs = entry.needs.map_or_else(|| NONE.to_owned(), |needs| needs.to_string());
    let home = entry.home.as_deref().map_or_else(|| NONE.to_owned(), escape);
    format!("{}:{}:{needs}:{home}", entry.priority.level(), escape(entry.owner.as_str()))
}

/// The entry of `job` in `lane`, which has its generation; `None` where that is no name of ours.
pub(super) fn entry(lane: &str, job: &str, since: &str) -> Option<Entry> {
    let mut parts = lane.split(':');
    let priority = Priority::of_level(parts.next()?.parse().ok()?);
    let owner = Owner::new(unescape(parts.next()?)?);
    let needs = match parts.next()? {
        NONE => None,
        id => Some(id.parse().ok()?),
    };
    let home = match parts.next()? {
        NONE => None,
        name => Some(unescape(name)?),
    };
    let job = JobId::from_str(job).ok()?;
    let since = Timestamp::from_millis(since.parse().ok()?);
    Some(Entry { job, priority, owner, since, not_before: None, needs, home })
}

pub(super) fn escape(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn unescape(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_says_all_of_an_entry_but_its_job_and_age() {
        let since = Timestamp::from_millis(1_700_000_000_123);
        for (owner, home) in [("local", None), ("a:b|c {x}\u{e9}-", Some("http://127.0.0.1:8188@node:1"))] {
            let entry = Entry {
                job: JobId::new(since, [7; 10]),
                priority: Priority::High,
                owner: Owner::new(owner),
                since,
                not_before: None,
                needs: home.map(|_| "00000000000000000000000000000009".parse().unwrap()),
                home: home.map(str::to_owned),
            };
            let lane = format!("{}:first", lane(&entry));
            assert_eq!(lane.split(':').count(), 5, "{lane}");
            assert_eq!(super::entry(&lane, &entry.job.to_string(), "1700000000123"), Some(entry));
        }
        assert_eq!(super::entry("1:x", "j", "1"), None);
    }
}
