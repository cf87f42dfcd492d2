//! PNG: chunks stay that make the picture, or say how it looks. All others go, whatever their name: ComfyUI writes
//! prompts into texts, and into animations as chunks of its own. So does whatever follows the last chunk.

use super::StripError;
use super::engine::{Step, TO_THE_END, Walk};
use crate::reader::Reader;

const NAME: &str = "png";
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const CHUNK_HEAD: usize = 8;
const CHECKSUM: u64 = 4;
/// Chunks beside the picture that say how it looks: colours, measures, frames.
const LOOKS: [[u8; 4]; 16] = [
    *b"tRNS", *b"cHRM", *b"gAMA", *b"iCCP", *b"sBIT", *b"sRGB", *b"cICP", *b"mDCV", *b"cLLI", *b"bKGD", *b"hIST",
    *b"pHYs", *b"sPLT", *b"acTL", *b"fcTL", *b"fdAT",
];

#[derive(Debug, Default)]
pub(super) struct Png {
    begun: bool,
    ended: bool,
}

impl Walk for Png {
    fn step(&mut self, head: &[u8]) -> Result<Step, StripError> {
        if self.ended {
            return Ok(Step::drop(0, TO_THE_END));
        }
        let mut reader = Reader(head);
        let (Some(length), Some(kind)) = (reader.u32_be(), reader.array::<4>()) else {
            return Ok(Step::Need(CHUNK_HEAD));
        };
        if !self.begun {
            self.begun = true;
            return if head == SIGNATURE { Ok(Step::keep(CHUNK_HEAD, 0)) } else { Err(StripError::Malformed(NAME)) };
        }
        if length > i32::MAX as u32 || !kind.iter().all(u8::is_ascii_alphabetic) {
            return Err(StripError::Malformed(NAME));
        }
        self.ended = kind == *b"IEND";
        let rest = u64::from(length) + CHECKSUM;
        let stays = is_critical(kind) || LOOKS.contains(&kind);
        Ok(if stays { Step::keep(CHUNK_HEAD, rest) } else { Step::drop(CHUNK_HEAD, rest) })
    }

    fn end(&self, _head: &[u8]) -> Result<(), StripError> {
        if self.ended { Ok(()) } else { Err(StripError::Incomplete(NAME)) }
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

/// Whether no picture can be shown without chunks of this kind.
fn is_critical([first, ..]: [u8; 4]) -> bool {
    first.is_ascii_uppercase()
}
