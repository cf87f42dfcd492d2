//! The chain of the audit log: each entry's hash covers the entry and the hash of the one before, so that no entry can be
//! changed, removed or put in between without all later ones telling. Stores nothing.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Timestamp, hex};

/// The hash before the first entry.
pub const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What was done by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its number: 1 for the first.
    pub seq: i64,
    /// When.
    pub time: Timestamp,
    /// By whom.
    pub actor: String,
    /// What kind of thing, such as `workflow.create`.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// Follows the request through every log line.
    pub correlation_id: String,
    /// The client's address.
    pub address: String,
    /// What else there is to say.
    pub detail: String,
}

/// An entry with its hash, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The entry.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// What [`link`] gives for it.
    pub hash: String,
}

/// The hash of `entry` after the one whose hash is `previous`, in hex.
pub fn link(previous: &str, entry: &AuditEntry) -> String {
    let mut digest = Sha256::new();
    let AuditEntry { seq, time, actor, action, target, correlation_id, address, detail } = entry;
    let (seq, time) = (seq.to_string(), time.as_millis().to_string());
    for field in [previous, &seq, &time, actor, action, target, correlation_id, address, detail] {
        // With its length in front, no two lists of fields look the same.
        digest.update((field.len() as u64).to_be_bytes());
        digest.update(field.as_bytes());
    }
    hex::encode(digest.finalize())
}

/// What was kept of an earlier check: how many entries there were, and the hash of the last. Written `SEQ:HASH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptHead {
    seq: i64,
    hash: String,
}

impl FromStr for KeptHead {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seq, hash) = text.split_once(':').ok_or(HEAD)?;
        let seq: i64 = seq.parse().map_err(|_error| HEAD)?;
        let fine = (seq > 0 && hex::decode::<32>(hash).is_some()) || (seq == 0 && hash == FIRST);
        if fine { Ok(Self { seq, hash: hash.to_owned() }) } else { Err(HEAD) }
    }
}

/// How it has to be written.
const HEAD: &str = "must be the number of entries and their head, as audit verify told them: 43:cf8f…";

/// What is wrong with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainFault {
    /// The number of the first entry that is not as it was written, or that is missing.
    Entry(i64),
    /// Every entry follows from the one before, and yet the log does not lead over the head that was kept, of which this is
    /// the number: its end was cut off, or an entry up to there was changed and all after it made anew.
    Head(i64),
}

/// Walks the chain from its beginning.
#[derive(Debug, Clone)]
pub struct ChainCheck {
    seq: i64,
    hash: String,
    kept: Option<KeptHead>,
}

impl Default for ChainCheck {
    fn default() -> Self {
        Self::beside(None)
    }
}

impl ChainCheck {
    /// One that also looks whether the chain still leads over `kept`: nothing else tells that its end was cut off.
    pub fn beside(kept: Option<KeptHead>) -> Self {
        Self { seq: 0, hash: FIRST.to_owned(), kept }
    }

    /// Takes the next entry with its hash.
    ///
    /// # Errors
    /// [`ChainFault`] where it is not what came next.
    pub fn next(&mut self, entry: &AuditEntry, hash: &str) -> Result<(), ChainFault> {
        let expected = self.seq + 1;
        if entry.seq != expected || link(&self.hash, entry) != hash {
            return Err(ChainFault::Entry(expected));
        }
        if self.kept.as_ref().is_some_and(|kept| kept.seq == entry.seq && kept.hash != hash) {
            return Err(ChainFault::Head(entry.seq));
        }
        (self.seq, self.hash) = (entry.seq, hash.to_owned());
        Ok(())
    }

    /// That there are no more entries.
    ///
    /// # Errors
    /// [`ChainFault::Head`] where the head that was kept has not come.
    pub fn end(&self) -> Result<(), ChainFault> {
        match &self.kept {
            Some(kept) if kept.seq > self.seq => Err(ChainFault::Head(kept.seq)),
            _ => Ok(()),
        }
    }

    /// How many entries were found good, and the hash of the last.
    pub fn head(&self) -> (i64, &str) {
        (self.seq, &self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Chain = Vec<(AuditEntry, String)>;

    fn chain(length: i64) -> Chain {
        let mut previous = FIRST.to_owned();
        (1..=length)
            .map(|seq| {
                let entry = AuditEntry {
                    seq,
                    time: Timestamp::from_millis(seq * 10),
                    actor: format!("key:{seq}"),
                    action: String::from("workflow.create"),
                    target: String::from("w"),
                    correlation_id: String::from("c"),
                    address: String::from("127.0.0.1"),
                    detail: String::new(),
                };
                previous = link(&previous, &entry);
                (entry, previous.clone())
            })
            .collect()
    }

    fn first_bad(chain: &[(AuditEntry, String)]) -> Option<i64> {
        let mut check = ChainCheck::default();
        match chain.iter().find_map(|(entry, hash)| check.next(entry, hash).err())? {
            ChainFault::Entry(seq) => Some(seq),
            ChainFault::Head(seq) => panic!("no head was kept, and {seq} is said to differ"),
        }
    }

    #[test]
    fn an_end_that_was_cut_off_or_made_anew_is_told_by_the_head_that_was_kept() {
        let good = chain(9);
        let kept: KeptHead = format!("7:{}", good[6].1).parse().unwrap();
        let walk = |chain: &[(AuditEntry, String)]| {
            let mut check = ChainCheck::beside(Some(kept.clone()));
            chain.iter().try_for_each(|(entry, hash)| check.next(entry, hash)).and_then(|()| check.end())
        };
        assert_eq!((walk(&good), walk(&good[..7])), (Ok(()), Ok(())));
        assert_eq!(walk(&good[..6]), Err(ChainFault::Head(7)));
        let mut anew = good[..6].to_vec();
        let entry = AuditEntry { target: String::from("other"), ..good[6].0.clone() };
        anew.push((entry.clone(), link(&good[5].1, &entry)));
        assert_eq!(
            (first_bad(&anew), walk(&anew)),
            (None, Err(ChainFault::Head(7))),
            "a chain that is whole in itself"
        );
        assert!(format!("0:{FIRST}").parse::<KeptHead>().is_ok());
        for wrong in
            [&format!("0:{}", good[0].1), "", "7", "7:", "x:00", "-1:00", "7:abc", &format!("7:{}0", good[6].1)]
        {
            assert!(wrong.parse::<KeptHead>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_untouched_chain_is_good() {
        assert_eq!(first_bad(&chain(50)), None);
    }

    #[test]
    fn the_first_bad_entry_is_named_whatever_was_done_to_it() {
        let good = chain(9);
        let with = |change: &dyn Fn(&mut Chain)| {
            let mut changed = good.clone();
            change(&mut changed);
            first_bad(&changed)
        };
        assert_eq!(with(&|chain| chain[4].0.actor.push('x')), Some(5));
        assert_eq!(with(&|chain| chain[4].0.time = Timestamp::from_millis(1)), Some(5));
        assert_eq!(with(&|chain| chain[4].1 = chain[3].1.clone()), Some(5));
        assert_eq!(with(&|chain| drop(chain.remove(4))), Some(5));
        assert_eq!(with(&|chain| drop(chain.remove(0))), Some(1));
        assert_eq!(with(&|chain| chain.swap(3, 4)), Some(4));
        assert_eq!(with(&|chain| chain.insert(4, chain[4].clone())), Some(6));
        // One who rewrites an entry with a hash that fits is found out at the next.
        let rewrite = |chain: &mut Chain| {
            chain[4].0.actor.push('x');
            chain[4].1 = link(&chain[3].1, &chain[4].0);
        };
        assert_eq!(with(&rewrite), Some(6));
    }

    #[test]
    fn no_two_lists_of_fields_have_one_hash() {
        let [(entry, _)] = chain(1).try_into().unwrap();
        let moved =
            AuditEntry { actor: String::from("key:1w"), action: String::from("orkflow.create"), ..entry.clone() };
        assert_ne!(link(FIRST, &entry), link(FIRST, &moved));
    }
}
