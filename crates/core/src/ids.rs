//! Typed ids. Parsing is strict: only the canonical lower-case form is an id, so one job has one URL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a canonical lower-case UUID")]
pub struct IdError;

macro_rules! ids {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// A new id of the time `now`; `random` fills the bits that are not time.
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                let millis = u64::try_from(now.as_millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    )*};
}

ids! {
    /// The id of a job: a UUIDv7, so that ids sort by the time of acceptance.
    JobId;
    /// The id of a batch of jobs.
    BatchId;
    /// The id of a message to a job's owner: the same on every try.
    DeliveryId;
    /// The id of an uploaded file.
    UploadId;
}

fn parse(text: &str) -> Result<Uuid, IdError> {
    let canonical =
        text.len() == 36 && text.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    Uuid::try_parse(text).ok().filter(|_| canonical).ok_or(IdError)
}

impl JobId {
    /// The smallest id that a job accepted at `at` can have: turns a time filter into an id range.
    pub fn floor(at: Timestamp) -> Self {
        Self::new(at, [0; 10])
    }

    /// When the job was accepted, in milliseconds.
    pub fn timestamp(self) -> Timestamp {
        let (secs, nanos) = self.0.get_timestamp().map_or((0, 0), |stamp| stamp.to_unix());
        Timestamp::from_millis(i64::try_from(secs).unwrap_or(0) * 1000 + i64::from(nanos) / 1_000_000)
    }

    /// The prompt id that ComfyUI gets for the claim numbered `epoch`: the same pair always gives the same
    /// id, and no two claims of a job share one (ComfyUI would run both and keep the last result).
    pub fn prompt_id(self, epoch: i64) -> Uuid {
        Uuid::new_v5(&self.0, &epoch.to_be_bytes())
    }

    /// The raw 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

/// A clock that goes back further than this was set, and is followed.
const CLOCK_SET_BACK_MS: i64 = 1_000;
/// Ids that one millisecond has room for.
const PER_MILLI: u16 = 1 << 12;

/// Gives out ids that sort in the order in which they were given out, also within one millisecond.
#[derive(Debug, Default)]
pub struct JobIdSequence {
    millis: i64,
    number: u16,
}

impl JobIdSequence {
    /// The next id, for a job accepted at `now`; `random` fills the bits that are neither time nor order.
    pub fn next(&mut self, now: Timestamp, random: [u8; 10]) -> JobId {
        let now = now.as_millis();
        if now > self.millis || self.millis - now > CLOCK_SET_BACK_MS {
            (self.millis, self.number) = (now, 0);
        } else if self.number + 1 < PER_MILLI {
            self.number += 1;
        } else {
            (self.millis, self.number) = (self.millis + 1, 0);
        }
        let [high, low] = self.number.to_be_bytes();
        let [_, _, rest @ ..] = random;
        let mut bits = [0; 10];
        for (bit, from) in bits.iter_mut().zip([high, low].into_iter().chain(rest)) {
            *bit = from;
        }
        JobId::new(Timestamp::from_millis(self.millis), bits)
    }
}

/// Whether `id` may name a workflow: 1–64 of `[a-z0-9_-]`.
pub fn is_workflow_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// What the id of a workflow begins with that the gateway made of a graph which came with a job: no other may.
pub const RAW_PREFIX: &str = "raw_";

/// Whether `id` names such a workflow.
pub fn is_raw_workflow_id(id: &str) -> bool {
    id.starts_with(RAW_PREFIX)
}

/// Whether `id` may be taken over from a request as its correlation id: 1–128 of `[A-Za-z0-9._-]`.
pub fn is_correlation_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_give_it_back() {
        let early = JobId::new(Timestamp::from_millis(1_700_000_000_123), [255; 10]);
        let late = JobId::new(Timestamp::from_millis(1_700_000_000_124), [0; 10]);
        assert!(early < late);
        assert_eq!(early.timestamp().as_millis(), 1_700_000_000_123);
        assert!(JobId::floor(late.timestamp()) <= late);
        assert!(JobId::floor(late.timestamp()) > early);
    }

    #[test]
    fn ids_sort_in_the_order_in_which_they_were_given_out() {
        let mut sequence = JobIdSequence::default();
        let mut last = JobId::from_bytes([0; 16]);
        for step in 0..20_000_i64 {
            // Several a millisecond, and a clock that jitters.
            let now = Timestamp::from_millis(1_700_000_000_000 + step / 100 - step % 3);
            let id = sequence.next(now, [(step % 251) as u8; 10]);
            assert!(id > last, "{step}: {id} after {last}");
            assert!((id.timestamp().as_millis() - now.as_millis()).abs() < 10);
            last = id;
        }
        for _ in 0..10_000 {
            let id = sequence.next(last.timestamp(), [0; 10]);
            assert!(id > last);
            last = id;
        }
        let set_back = Timestamp::from_millis(1_600_000_000_000);
        assert_eq!(sequence.next(set_back, [9; 10]).timestamp(), set_back);
        assert_ne!(sequence.next(set_back, [1; 10]).as_bytes()[8..], sequence.next(set_back, [2; 10]).as_bytes()[8..]);
    }

    #[test]
    fn only_the_canonical_form_parses() {
        let id = JobId::new(Timestamp::from_millis(1_700_000_000_000), [7; 10]);
        let text = id.to_string();
        assert_eq!(text.parse::<JobId>(), Ok(id));
        for bad in [
            text.to_uppercase(),
            text.replace('-', ""),
            format!("{{{text}}}"),
            format!("urn:uuid:{text}"),
            String::from("0"),
            String::new(),
            "a".repeat(10_000),
        ] {
            assert_eq!(bad.parse::<JobId>(), Err(IdError), "{bad}");
        }
    }

    #[test]
    fn each_claim_has_its_own_prompt_id_and_it_is_reproducible() {
        let id = JobId::new(Timestamp::from_millis(1), [1; 10]);
        assert_eq!(id.prompt_id(1), id.prompt_id(1));
        assert_ne!(id.prompt_id(1), id.prompt_id(2));
    }

    #[test]
    fn workflow_ids_are_short_lower_case_names() {
        assert!(is_workflow_id("sdxl_realism_v1"));
        for bad in ["", "A", "a b", "../x", "é", &"a".repeat(65)] {
            assert!(!is_workflow_id(bad), "{bad}");
        }
    }
}
