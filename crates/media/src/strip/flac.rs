//! FLAC: the block of comments becomes padding of the same length.

use super::StripError;
use super::engine::{Step, TO_THE_END, Walk};

const NAME: &str = "flac";
const MAGIC: &[u8] = b"fLaC";
const BLOCK_HEAD: usize = 4;
const LAST: u8 = 0x80;
const PADDING: u8 = 1;
const COMMENTS: u8 = 4;

#[derive(Debug, Default)]
pub(super) struct Flac {
    begun: bool,
    sound: bool,
}

impl Walk for Flac {
    fn step(&mut self, head: &[u8]) -> Result<Step, StripError> {
        if self.sound {
            return Ok(Step::keep(0, TO_THE_END));
        }
        let [flags, a, b, c] = *head else {
            return Ok(Step::Need(BLOCK_HEAD));
        };
        if !self.begun {
            self.begun = true;
            return if head == MAGIC { Ok(Step::keep(BLOCK_HEAD, 0)) } else { Err(StripError::Malformed(NAME)) };
        }
        self.sound = flags & LAST != 0;
        let length = u64::from(u32::from_be_bytes([0, a, b, c]));
        Ok(match flags & !LAST {
            COMMENTS | PADDING => Step::blank(BLOCK_HEAD, vec![(flags & LAST) | PADDING, a, b, c], length),
            _ => Step::keep(BLOCK_HEAD, length),
        })
    }

    fn end(&self, _head: &[u8]) -> Result<(), StripError> {
        if self.sound { Ok(()) } else { Err(StripError::Incomplete(NAME)) }
    }

    fn name(&self) -> &'static str {
        NAME
    }
}
