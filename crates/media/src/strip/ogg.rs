//! Ogg with Vorbis, Opus, Speex or FLAC: the packet of comments becomes one without any, of the same length, so that
//! pages and their numbers stay.
//!
//! A page of such a packet is held back as a whole (64 KiB at most): its checksum stands in front.

use super::StripError;
use super::engine::{Fate, Head, Step, Walk};

const NAME: &str = "ogg";
const PAGE_HEAD: usize = 27;
const CHECKSUM_AT: usize = 22;
const BEGINS_STREAM: u8 = 2;
/// More streams beside and after each other than any real file of sound has.
const MAX_STREAMS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Ogg {
    /// Streams whose comments have not passed yet.
    waiting: Vec<Stream>,
    begun: bool,
}

#[derive(Debug)]
struct Stream {
    serial: u32,
    /// Bytes of the packet of comments that have passed.
    passed: usize,
    /// How many of its bytes stay: what they are tells what packet it is. The others become zeros: no vendor's name, no
    /// comments, and padding.
    magic: usize,
    /// Which of its bytes must be one: Vorbis ends its comments so.
    mark: Option<usize>,
}

/// The parts of a page's head.
struct Page<'a> {
    flags: u8,
    serial: u32,
    lacing: &'a [u8],
    head: usize,
    body: usize,
}

impl Walk for Ogg {
    fn step(&mut self, head: &[u8]) -> Result<Step, StripError> {
        let page = match page(head)? {
            Ok(page) => page,
            Err(needed) => return Ok(Step::Need(needed)),
        };
        self.begun = true;
        let waits = self.waiting.iter().position(|stream| stream.serial == page.serial);
        if page.flags & BEGINS_STREAM == 0 && waits.is_none() {
            return Ok(Step::keep(page.head, page.body as u64));
        }
        let whole = page.head + page.body;
        if head.len() < whole {
            return Ok(Step::Need(whole));
        }
        let body = head.get(page.head..whole).unwrap_or_default();
        let Some(stream) = waits else {
            self.begin(&page, body)?;
            return Ok(Step::keep(whole, 0));
        };
        let with = self.without_comments(stream, &page, head);
        Ok(Step::Part { head: whole, write: Head::Replace(with), body: Fate::Keep, length: 0 })
    }

    fn end(&self, head: &[u8]) -> Result<(), StripError> {
        let whole = self.begun && head.is_empty() && self.waiting.is_empty();
        if whole { Ok(()) } else { Err(StripError::Incomplete(NAME)) }
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

impl Ogg {
    /// Remembers a stream that has comments to come.
    fn begin(&mut self, page: &Page<'_>, body: &[u8]) -> Result<(), StripError> {
        let (magic, mark) = if body.starts_with(b"\x01vorbis") {
            (7, Some(7 + 8))
        } else if body.starts_with(b"OpusHead") {
            (8, None)
        } else if body.starts_with(b"Speex   ") {
            (0, None)
        } else if body.starts_with(b"\x7fFLAC") {
            (4, None)
        } else {
            return Ok(());
        };
        if self.waiting.len() >= MAX_STREAMS {
            return Err(StripError::Malformed(NAME));
        }
        self.waiting.push(Stream { serial: page.serial, passed: 0, magic, mark });
        Ok(())
    }

    /// The page `whole` with its first packet, which is comments, made empty.
    fn without_comments(&mut self, at: usize, page: &Page<'_>, whole: &[u8]) -> Vec<u8> {
        let mut with = whole.to_vec();
        let ends = page.lacing.iter().position(|length| *length < 255);
        let packet: usize =
            page.lacing.iter().take(ends.map_or(255, |at| at + 1)).map(|length| usize::from(*length)).sum();
        if let Some(stream) = self.waiting.get_mut(at) {
            for (byte, at) in with.iter_mut().skip(page.head).take(packet).zip(stream.passed..) {
                if at >= stream.magic {
                    *byte = u8::from(stream.mark == Some(at));
                }
            }
            stream.passed = stream.passed.saturating_add(packet);
        }
        if ends.is_some() {
            self.waiting.swap_remove(at);
        }
        seal(&mut with);
        with
    }
}

/// The page that begins with `head`, or how many bytes of it must be seen.
fn page(head: &[u8]) -> Result<Result<Page<'_>, usize>, StripError> {
    let Some((fixed, rest)) = head.split_first_chunk::<PAGE_HEAD>() else {
        return Ok(Err(PAGE_HEAD));
    };
    let [b'O', b'g', b'g', b'S', 0, flags, _, _, _, _, _, _, _, _, a, b, c, d, .., segments] = *fixed else {
        return Err(StripError::Malformed(NAME));
    };
    let length = PAGE_HEAD + usize::from(segments);
    let Some(lacing) = rest.get(..usize::from(segments)) else {
        return Ok(Err(length));
    };
    let body = lacing.iter().map(|length| usize::from(*length)).sum();
    Ok(Ok(Page { flags, serial: u32::from_le_bytes([a, b, c, d]), lacing, head: length, body }))
}

/// Writes a page's checksum.
pub(super) fn seal(page: &mut [u8]) {
    for byte in page.iter_mut().skip(CHECKSUM_AT).take(4) {
        *byte = 0;
    }
    let sum = page.iter().fold(0_u32, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| {
            if sum & 0x8000_0000 == 0 { sum << 1 } else { (sum << 1) ^ 0x04c1_1db7 }
        })
    });
    for (byte, of_sum) in page.iter_mut().skip(CHECKSUM_AT).zip(sum.to_le_bytes()) {
        *byte = of_sum;
    }
}
