//! JPEG: Exif, XMP, Photoshop's segments and comments before the first scan go. The scans, and what stands between and
//! after them, pass through.

use super::StripError;
use super::engine::{Step, TO_THE_END, Walk};

const NAME: &str = "jpeg";
const SEGMENT_HEAD: usize = 4;

const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
const EXIF_OR_XMP: u8 = 0xe1;
const PHOTOSHOP: u8 = 0xed;
const COMMENT: u8 = 0xfe;

#[derive(Debug, Default)]
pub(super) struct Jpeg {
    begun: bool,
    scan: bool,
}

impl Walk for Jpeg {
    fn step(&mut self, head: &[u8]) -> Result<Step, StripError> {
        if self.scan {
            return Ok(Step::keep(0, TO_THE_END));
        }
        match *head {
            [_] => Ok(Step::Need(2)),
            [0xff, START] if !self.begun => {
                self.begun = true;
                Ok(Step::keep(2, 0))
            }
            _ if !self.begun => Err(StripError::Malformed(NAME)),
            // Markers may be filled up in front.
            [0xff, 0xff, ..] => Ok(Step::keep(1, 0)),
            [0xff, 0 | START | END, ..] => Err(StripError::Malformed(NAME)),
            [0xff, _] | [0xff, _, _] => Ok(Step::Need(SEGMENT_HEAD)),
            [0xff, marker, high, low, ..] => {
                let length = u64::from(u16::from_be_bytes([high, low]));
                let rest = length.checked_sub(2).ok_or(StripError::Malformed(NAME))?;
                self.scan = marker == SCAN;
                Ok(match marker {
                    EXIF_OR_XMP | PHOTOSHOP | COMMENT => Step::drop(SEGMENT_HEAD, rest),
                    _ => Step::keep(SEGMENT_HEAD, rest),
                })
            }
            _ => Err(StripError::Malformed(NAME)),
        }
    }

    fn end(&self, _head: &[u8]) -> Result<(), StripError> {
        if self.scan { Ok(()) } else { Err(StripError::Incomplete(NAME)) }
    }

    fn name(&self) -> &'static str {
        NAME
    }
}
