//! MP4 and QuickTime: boxes of metadata become `free` full of zeros, so that every size and offset stays true.
//!
//! `udta` and `meta` of the file, of `moov`, `moof` and their tracks; `uuid` of the file. Samples pass through.

use super::StripError;
use super::engine::{Step, TO_THE_END, Walk};
use crate::reader::Reader;

const NAME: &str = "mp4";
const BOX_HEAD: usize = 8;
const LONG_HEAD: usize = 16;
/// More boxes inside each other than any real file has.
const MAX_DEPTH: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Mp4 {
    begun: bool,
    /// Bytes that are left in each box that we are in, the innermost last.
    open: Vec<u64>,
}

impl Mp4 {
    /// Leaves the boxes that are at their end.
    fn close(&mut self) {
        while self.open.last() == Some(&0) {
            self.open.pop();
        }
    }

    /// Takes `length` bytes out of all boxes that we are in.
    fn claim(&mut self, length: u64) -> Result<(), StripError> {
        for left in &mut self.open {
            if *left != TO_THE_END {
                *left = left.checked_sub(length).ok_or(StripError::Malformed(NAME))?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, head: usize, body: u64) -> Result<Step, StripError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(StripError::Malformed(NAME));
        }
        let whole = (head as u64).saturating_add(body);
        if self.open.last().is_some_and(|left| *left < whole) {
            return Err(StripError::Malformed(NAME));
        }
        self.claim(head as u64)?;
        self.open.push(body);
        Ok(Step::keep(head, 0))
    }
}

impl Walk for Mp4 {
    fn step(&mut self, head: &[u8]) -> Result<Step, StripError> {
        self.close();
        // QuickTime may end a list of boxes with a zero.
        if let Some(left) = self.open.last().copied().filter(|left| *left < BOX_HEAD as u64) {
            self.claim(left)?;
            return Ok(Step::keep(0, left));
        }
        let mut reader = Reader(head);
        let (Some(size), Some(kind)) = (reader.u32_be(), reader.array::<4>()) else {
            return Ok(Step::Need(BOX_HEAD));
        };
        let top = self.open.is_empty();
        let (length, body) = match size {
            0 if top => (BOX_HEAD, TO_THE_END),
            1 => match reader.u64_be() {
                Some(size) => (LONG_HEAD, size.checked_sub(LONG_HEAD as u64).ok_or(StripError::Malformed(NAME))?),
                None => return Ok(Step::Need(LONG_HEAD)),
            },
            size => (BOX_HEAD, u64::from(size).checked_sub(BOX_HEAD as u64).ok_or(StripError::Malformed(NAME))?),
        };
        self.begun = true;
        match &kind {
            b"moov" | b"moof" | b"trak" | b"traf" => return self.enter(length, body),
            _ => self.claim((length as u64).saturating_add(body))?,
        }
        Ok(match &kind {
            b"udta" | b"meta" | b"free" => Step::blank(length, freed(head, length), body),
            b"uuid" if top => Step::blank(length, freed(head, length), body),
            _ => Step::keep(length, body),
        })
    }

    fn end(&self, head: &[u8]) -> Result<(), StripError> {
        let inside = self.open.iter().any(|left| *left != 0 && *left != TO_THE_END);
        if self.begun && head.is_empty() && !inside { Ok(()) } else { Err(StripError::Incomplete(NAME)) }
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

/// The head, `length` bytes of `head`, of a box of the same size that holds nothing.
fn freed(head: &[u8], length: usize) -> Vec<u8> {
    head.iter()
        .take(length)
        .copied()
        .enumerate()
        .map(|(at, byte)| *b"free".get(at.wrapping_sub(4)).unwrap_or(&byte))
        .collect()
}
