//! The bytes of a file in a few parts, so that padding shared by many files is held once.

use std::ops::Range;

use bytes::Bytes;

/// Immutable bytes in parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blob {
    parts: Vec<Bytes>,
    shared: usize,
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self { parts: vec![bytes.into()], shared: 0 }
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self { parts: vec![bytes], shared: 0 }
    }
}

impl Blob {
    /// `head`, padding that others hold too, `tail`.
    pub(crate) fn padded(head: Bytes, padding: Bytes, tail: Bytes) -> Self {
        let shared = padding.len();
        Self { parts: vec![head, padding, tail], shared }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// What holding this costs.
    pub(crate) fn own_len(&self) -> usize {
        self.len().saturating_sub(self.shared)
    }

    pub(crate) fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The parts of a range; what lies outside is left out.
    pub(crate) fn slice(&self, range: Range<usize>) -> Vec<Bytes> {
        let mut start = 0;
        let mut found = Vec::new();
        for part in &self.parts {
            let from = range.start.saturating_sub(start).min(part.len());
            let to = range.end.saturating_sub(start).min(part.len());
            if from < to {
                found.push(part.slice(from..to));
            }
            start += part.len();
        }
        found
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        match self.parts.as_slice() {
            [only] => only.clone(),
            parts => parts.concat().into(),
        }
    }

    pub(crate) fn same_content(&self, other: &Self) -> bool {
        self.len() == other.len() && self.to_bytes() == other.to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_may_span_parts() {
        let blob = Blob::padded(Bytes::from_static(b"abc"), Bytes::from_static(b"---"), Bytes::from_static(b"xyz"));
        assert_eq!(blob.slice(2..8).concat(), b"c---xy");
        assert_eq!(blob.slice(7..99).concat(), b"yz");
        assert_eq!((blob.len(), blob.own_len()), (9, 6));
    }
}
