//! WebM and Matroska: tags become void elements of the same length, so that every position stays true.
//!
//! Segments and clusters of unknown length are read child by child; those of a known length that hold samples pass
//! through. Titles, chapters and attachments stay.

use super::StripError;
use super::engine::{Fate, Head, Step, Walk};
use crate::reader::Reader;

const NAME: &str = "webm";
const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const TAGS: u32 = 0x1254_c367;
const TAGS_ID: usize = 4;
const VOID: u8 = 0xec;

#[derive(Debug, Default)]
pub(super) struct Webm {
    begun: bool,
}

/// The head of an element.
struct Element {
    id: u32,
    head: usize,
    /// Bytes of its body, where it says.
    body: Option<u64>,
}

impl Walk for Webm {
    fn step(&mut self, head: &[u8]) -> Result<Step, StripError> {
        let element = match element(head)? {
            Ok(element) => element,
            Err(needed) => return Ok(Step::Need(needed)),
        };
        if !self.begun && element.id != EBML {
            return Err(StripError::Malformed(NAME));
        }
        self.begun = true;
        match (element.id, element.body) {
            (SEGMENT, _) | (CLUSTER, None) => Ok(Step::keep(element.head, 0)),
            (TAGS, Some(body)) => {
                let with = void(element.head, body).ok_or(StripError::Malformed(NAME))?;
                Ok(Step::Part { head: element.head, write: Head::Replace(with), body: Fate::Zero, length: body })
            }
            (_, Some(body)) => Ok(Step::keep(element.head, body)),
            (_, None) => Err(StripError::Malformed(NAME)),
        }
    }

    fn end(&self, head: &[u8]) -> Result<(), StripError> {
        if self.begun && head.is_empty() { Ok(()) } else { Err(StripError::Incomplete(NAME)) }
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

/// The element that begins with `head`, or how many bytes of it must be seen.
fn element(head: &[u8]) -> Result<Result<Element, usize>, StripError> {
    let mut reader = Reader(head);
    let Some(first) = reader.byte() else {
        return Ok(Err(1));
    };
    let id_length = first.leading_zeros() as usize + 1;
    if id_length > TAGS_ID {
        return Err(StripError::Malformed(NAME));
    }
    let Some(id) = Reader(head).take(id_length) else {
        return Ok(Err(id_length));
    };
    let id = id.iter().fold(0, |id, byte| (id << 8) | u32::from(*byte));
    reader = Reader(head.get(id_length..).unwrap_or_default());
    let Some(first) = reader.byte() else {
        return Ok(Err(id_length + 1));
    };
    let rest = first.leading_zeros() as usize;
    if rest > 7 {
        return Err(StripError::Malformed(NAME));
    }
    let Some(rest_bytes) = reader.take(rest) else {
        return Ok(Err(id_length + 1 + rest));
    };
    let mask = 0x7f_u8 >> rest;
    let body = rest_bytes.iter().fold(u64::from(first & mask), |size, byte| (size << 8) | u64::from(*byte));
    let unknown = (1_u64 << (7 * (rest + 1))) - 1;
    Ok(Ok(Element { id, head: id_length + 1 + rest, body: (body != unknown).then_some(body) }))
}

/// The head, `head` bytes long, of a void element that ends where one of `body` bytes after `head` did.
fn void(head: usize, body: u64) -> Option<Vec<u8>> {
    let size_length = (head - 1).min(8);
    let spare = head - 1 - size_length;
    let size = body.checked_add(spare as u64)?;
    let limit = 1_u64 << (7 * size_length);
    if size >= limit - 1 {
        return None;
    }
    let size = (size | limit).to_be_bytes();
    let mut with = vec![VOID];
    with.extend_from_slice(size.get(8 - size_length..)?);
    with.resize(head, 0);
    Some(with)
}
