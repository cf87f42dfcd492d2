//! MP3: ID3v2 tags at the beginning go. Tags at the end (ID3v1, APE) stay: nothing tells of them in time.

use super::StripError;
use super::engine::{Step, TO_THE_END, Walk};

const NAME: &str = "mp3";
const MAGIC: &[u8] = b"ID3";
const TAG_HEAD: usize = 10;
const HAS_FOOTER: u8 = 0x10;

#[derive(Debug, Default)]
pub(super) struct Mp3 {
    sound: bool,
}

impl Walk for Mp3 {
    fn step(&mut self, head: &[u8]) -> Result<Step, StripError> {
        if self.sound || !head.iter().zip(MAGIC).all(|(byte, magic)| byte == magic) {
            self.sound = true;
            return Ok(Step::keep(0, TO_THE_END));
        }
        let [_, _, _, _, _, flags, length @ ..] = head else {
            return Ok(Step::Need(TAG_HEAD));
        };
        let Ok(length) = <[u8; 4]>::try_from(length) else {
            return Ok(Step::Need(TAG_HEAD));
        };
        if length.iter().any(|byte| byte & 0x80 != 0) {
            return Err(StripError::Malformed(NAME));
        }
        // Seven bits a byte, so that no length looks like the beginning of sound.
        let length = length.iter().fold(0, |length, byte| (length << 7) | u64::from(*byte));
        let footer = if flags & HAS_FOOTER != 0 { TAG_HEAD as u64 } else { 0 };
        Ok(Step::drop(TAG_HEAD, length + footer))
    }

    fn end(&self, head: &[u8]) -> Result<(), StripError> {
        if self.sound && head.is_empty() { Ok(()) } else { Err(StripError::Incomplete(NAME)) }
    }

    fn name(&self) -> &'static str {
        NAME
    }
}
