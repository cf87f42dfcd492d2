//! WebP and WAV, which are both RIFF: chunks of metadata become `JUNK` full of zeros, so that the file keeps its length.
//! What follows the end that a WebP announces becomes zeros too.

use super::StripError;
use super::engine::{Fate, Head, Step, TO_THE_END, Walk};
use crate::reader::Reader;

const FILE_HEAD: usize = 12;
const CHUNK_HEAD: usize = 8;
const SKIPPED: &[u8; 4] = b"JUNK";
/// The bits of VP8X that announce XMP and Exif.
const METADATA_BITS: u8 = 0x0c;
/// What a writer that can't seek leaves as a length.
const UNKNOWN: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Webp,
    Wav,
}

#[derive(Debug)]
pub(super) struct Riff {
    form: Form,
    /// Bytes up to the end that the file announces; none before its head.
    left: Option<u64>,
    /// What becomes of the byte that comes next and fills up a chunk of odd length, where that is so.
    filler: Option<Fate>,
}

impl Riff {
    pub(super) const fn webp() -> Self {
        Self { form: Form::Webp, left: None, filler: None }
    }

    pub(super) const fn wav() -> Self {
        Self { form: Form::Wav, left: None, filler: None }
    }

    fn begin(&mut self, head: &[u8]) -> Result<Step, StripError> {
        if head.len() < FILE_HEAD {
            return Ok(Step::Need(FILE_HEAD));
        }
        let mut reader = Reader(head);
        let (riff, length, form) = (reader.array(), reader.u32_le(), reader.array());
        let expected = if self.form == Form::Webp { b"WEBP" } else { b"WAVE" };
        let (Some(b"RIFF"), Some(length), true) = (riff.as_ref(), length, form.as_ref() == Some(expected)) else {
            return Err(self.malformed());
        };
        // Writers of WAV are careless with this number; its chunks tell well enough.
        let length = if self.form == Form::Wav { UNKNOWN } else { length };
        let left = if length == UNKNOWN { TO_THE_END } else { u64::from(length) };
        self.left = Some(if left == TO_THE_END { left } else { left.checked_sub(4).ok_or(self.malformed())? });
        Ok(Step::keep(FILE_HEAD, 0))
    }

    /// Takes a chunk of `length` bytes out of what is left.
    fn claim(&mut self, left: u64, length: u64) -> Result<(), StripError> {
        if left != TO_THE_END {
            self.left = Some(left.checked_sub(length).ok_or(self.malformed())?);
        }
        Ok(())
    }

    /// How much of a chunk of `length` bytes goes as `fate` says in one part: all of it, or for a WAV all but the byte
    /// that fills it up, which writers forget at the end of a file.
    fn body(&mut self, length: u32, fate: Fate) -> u64 {
        if self.form == Form::Wav && length % 2 == 1 {
            self.filler = Some(fate);
            return u64::from(length);
        }
        padded(length)
    }

    fn malformed(&self) -> StripError {
        StripError::Malformed(self.name())
    }
}

impl Walk for Riff {
    fn step(&mut self, head: &[u8]) -> Result<Step, StripError> {
        let Some(left) = self.left else {
            return self.begin(head);
        };
        if let Some(fate) = self.filler.take() {
            return Ok(if fate == Fate::Keep { Step::keep(1, 0) } else { Step::blank(1, vec![0], 0) });
        }
        if left == 0 {
            return Ok(Step::blank(0, Vec::new(), TO_THE_END));
        }
        let mut reader = Reader(head);
        let (Some(kind), Some(length)) = (reader.array::<4>(), reader.u32_le()) else {
            return Ok(Step::Need(CHUNK_HEAD));
        };
        if self.form == Form::Wav && length == UNKNOWN {
            return Ok(Step::keep(CHUNK_HEAD, TO_THE_END));
        }
        let whole = CHUNK_HEAD as u64 + padded(length);
        match (self.form, &kind) {
            (Form::Webp, b"VP8X") if length > 0 => {
                let Some(bits) = reader.byte() else {
                    return Ok(Step::Need(CHUNK_HEAD + 1));
                };
                self.claim(left, whole)?;
                let mut with = head.to_vec();
                with.pop();
                with.push(bits & !METADATA_BITS);
                let rest = padded(length) - 1;
                Ok(Step::Part { head: head.len(), write: Head::Replace(with), body: Fate::Keep, length: rest })
            }
            (Form::Webp, b"EXIF" | b"XMP " | SKIPPED)
            | (Form::Wav, b"LIST" | b"id3 " | b"ID3 " | b"_PMX" | SKIPPED) => {
                self.claim(left, whole)?;
                let with = [SKIPPED.as_slice(), &length.to_le_bytes()].concat();
                Ok(Step::blank(CHUNK_HEAD, with, self.body(length, Fate::Zero)))
            }
            _ => {
                self.claim(left, whole)?;
                Ok(Step::keep(CHUNK_HEAD, self.body(length, Fate::Keep)))
            }
        }
    }

    fn end(&self, head: &[u8]) -> Result<(), StripError> {
        match self.left {
            Some(0) => Ok(()),
            Some(TO_THE_END) if head.is_empty() => Ok(()),
            _ => Err(StripError::Incomplete(self.name())),
        }
    }

    fn name(&self) -> &'static str {
        match self.form {
            Form::Webp => "webp",
            Form::Wav => "wav",
        }
    }
}

/// The length of a chunk of `length` bytes with the byte that fills it up.
fn padded(length: u32) -> u64 {
    u64::from(length) + u64::from(length % 2)
}
