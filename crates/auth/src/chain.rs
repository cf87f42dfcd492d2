//! The chain of the audit log. Each entry is kept with a hash over itself and the hash before it, so that one that was
//! changed, taken out, put in or moved is found. Pure: it neither stores entries nor makes their numbers.
//!
//! Whoever can write the whole log can also make all its hashes anew, and whoever cuts off its end leaves a chain that
//! is whole. Both show only against a [`Head`] that was noted down elsewhere.

use sha2::{Digest, Sha256};

use crate::hex;

/// What the first entry is linked to.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Sets these hashes apart from all others, and one form of them from the next.
const DOMAIN: &[u8] = b"comfyui-gateway audit entry 1";

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number: the first is 1, and none is left out.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// In which request.
    pub correlation_id: String,
    /// From which address.
    pub address: String,
    /// What else there is to say, as the text that is kept.
    pub detail: String,
}

/// The hash of `entry` after the hash `previous`, as 64 hexadecimal digits.
///
/// It is the SHA-256 over the domain, `previous`, `seq`, `time_ms` and the texts in the order of [`Entry`]. Numbers are
/// 8 bytes, highest first; each text comes after its length in bytes as such a number, so that no two entries are
/// written alike.
pub fn link(previous: &str, entry: &Entry) -> String {
    let mut hash = Sha256::new();
    let mut text = |part: &[u8]| {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    };
    text(DOMAIN);
    text(previous.as_bytes());
    text(&entry.seq.to_be_bytes());
    text(&entry.time_ms.to_be_bytes());
    for part in [&entry.actor, &entry.action, &entry.target, &entry.correlation_id, &entry.address, &entry.detail] {
        text(part.as_bytes());
    }
    hex::encode(&hash.finalize())
}

/// How far a chain is known to be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry; 0 before the first.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Head {
    /// Before the first entry.
    pub fn start() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned() }
    }

    /// The head after `entry`, or `None` where `entry` with `hash` is not the next.
    pub fn next(&self, entry: &Entry, hash: &str) -> Option<Self> {
        let follows = self.seq.checked_add(1) == Some(entry.seq);
        (follows && link(&self.hash, entry) == hash).then(|| Self { seq: entry.seq, hash: hash.to_owned() })
    }
}

/// The head after all `entries` that follow `head`, or the number of the first that does not.
pub fn verify(head: Head, entries: impl IntoIterator<Item = (Entry, String)>) -> Result<Head, u64> {
    entries.into_iter().try_fold(head, |head, (entry, hash)| head.next(&entry, &hash).ok_or(entry.seq))
}

/// The number of the first entry of a whole log that does not follow the one before it.
pub fn first_bad(entries: impl IntoIterator<Item = (Entry, String)>) -> Option<u64> {
    verify(Head::start(), entries).err()
}

#[cfg(test)]
mod tests;
