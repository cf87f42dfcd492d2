//! Walks the chunks of a WebP.

use super::{InspectLimits, Picture, Refusal};
use crate::reader::Reader;

const NAME: &str = "webp";
/// Bytes before the first chunk, and how many of them the announced length does not count.
const FILE_HEAD: usize = 12;
const NOT_COUNTED: usize = 8;

pub(super) fn walk(bytes: &[u8], limits: &InspectLimits) -> Result<Picture, Refusal> {
    let mut head = Reader(bytes.get(4..).unwrap_or_default());
    let Some(Ok(length)) = head.u32_le().map(usize::try_from) else {
        return Err(Refusal::Broken(NAME));
    };
    let announced = bytes.get(FILE_HEAD..length.saturating_add(NOT_COUNTED));
    // The size is told from what there is, so that a bomb is called so even where it is cut short.
    let mut reader = Reader(announced.unwrap_or(bytes.get(FILE_HEAD..).unwrap_or_default()));
    let mut canvas = None;
    let mut frames = 0;
    let mut has_picture = false;
    while !reader.0.is_empty() {
        let (Some(kind), Some(Ok(length))) = (reader.array::<4>(), reader.u32_le().map(usize::try_from)) else {
            break;
        };
        let whole = reader.take(length);
        let data = Reader(whole.unwrap_or(reader.0));
        let size = match &kind {
            b"VP8X" => extended(data),
            b"VP8 " => lossy(data),
            b"VP8L" => lossless(data),
            b"ANMF" => frame(data),
            _ => Some((1, 1)),
        };
        let (width, height) =
            size.ok_or(if whole.is_some() { Refusal::Broken(NAME) } else { Refusal::Incomplete(NAME) })?;
        limits.check_size(NAME, width, height)?;
        match &kind {
            b"VP8X" => canvas = canvas.or(Some((width, height))),
            b"VP8 " | b"VP8L" => {
                canvas = canvas.or(Some((width, height)));
                has_picture = true;
            }
            b"ANMF" => {
                frames += 1;
                limits.check_frames(frames)?;
                has_picture = true;
            }
            _ => {}
        }
        let padded = whole.is_some() && (length % 2 == 0 || reader.0.is_empty() || reader.byte().is_some());
        if !padded {
            return Err(Refusal::Incomplete(NAME));
        }
    }
    if announced.is_none() || !reader.0.is_empty() {
        return Err(Refusal::Incomplete(NAME));
    }
    match canvas {
        Some((width, height)) if has_picture => Ok(Picture { width, height, frames: frames.max(1) }),
        _ => Err(Refusal::Broken(NAME)),
    }
}

/// The canvas, from the header of the extended format.
fn extended(mut data: Reader<'_>) -> Option<(u32, u32)> {
    data.take(4)?;
    Some((data.u24_le()? + 1, data.u24_le()? + 1))
}

/// The size of a frame of an animation.
fn frame(mut data: Reader<'_>) -> Option<(u32, u32)> {
    data.take(6)?;
    Some((data.u24_le()? + 1, data.u24_le()? + 1))
}

fn lossy(mut data: Reader<'_>) -> Option<(u32, u32)> {
    data.take(3)?;
    let [0x9d, 0x01, 0x2a] = data.array()? else {
        return None;
    };
    // The two highest bits say how to scale for display.
    Some((u32::from(data.u16_le()? & 0x3fff), u32::from(data.u16_le()? & 0x3fff)))
}

fn lossless(mut data: Reader<'_>) -> Option<(u32, u32)> {
    let 0x2f = data.byte()? else {
        return None;
    };
    let bits = data.u32_le()?;
    Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
}
