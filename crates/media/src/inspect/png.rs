//! Walks the chunks of a PNG.

use super::{InspectLimits, Picture, Refusal};
use crate::reader::Reader;

const NAME: &str = "png";
const SIGNATURE: usize = 8;
const CHECKSUM: usize = 4;
/// Bytes that a chunk of packed data beside the picture may have.
const MAX_PACKED: usize = 1024 * 1024;

pub(super) fn walk(bytes: &[u8], limits: &InspectLimits) -> Result<Picture, Refusal> {
    let mut reader = Reader(bytes.get(SIGNATURE..).unwrap_or_default());
    let (width, height) = size(reader).ok_or(Refusal::Broken(NAME))?;
    limits.check_size(NAME, width, height)?;
    let mut announced = 1;
    let mut controls = 0;
    let mut has_data = false;
    loop {
        let Some(Ok(length)) = reader.u32_be().map(usize::try_from) else {
            return Err(Refusal::Incomplete(NAME));
        };
        let kind = reader.array::<4>().ok_or(Refusal::Incomplete(NAME))?;
        check_packed(kind, length)?;
        let data = reader.take(length).ok_or(Refusal::Incomplete(NAME))?;
        reader.take(CHECKSUM).ok_or(Refusal::Incomplete(NAME))?;
        match &kind {
            b"acTL" => announced = Reader(data).u32_be().ok_or(Refusal::Broken(NAME))?,
            b"fcTL" => {
                controls += 1;
                let mut data = Reader(data.get(4..).unwrap_or_default());
                let (Some(width), Some(height)) = (data.u32_be(), data.u32_be()) else {
                    return Err(Refusal::Broken(NAME));
                };
                limits.check_size(NAME, width, height)?;
            }
            b"IDAT" => has_data = true,
            b"IEND" if has_data => break,
            b"IEND" => return Err(Refusal::Broken(NAME)),
            _ => {}
        }
        limits.check_frames(announced.max(controls))?;
    }
    Ok(Picture { width, height, frames: announced.max(controls).max(1) })
}

/// Width and height, from the chunk that must be first.
fn size(mut reader: Reader<'_>) -> Option<(u32, u32)> {
    let (13, b"IHDR") = (reader.u32_be()?, &reader.array::<4>()?) else {
        return None;
    };
    Some((reader.u32_be()?, reader.u32_be()?))
}

fn check_packed(kind: [u8; 4], length: usize) -> Result<(), Refusal> {
    let packed = match &kind {
        b"iCCP" => "iCCP",
        b"zTXt" => "zTXt",
        b"iTXt" => "iTXt",
        _ => return Ok(()),
    };
    if length > MAX_PACKED { Err(Refusal::LargeChunk(packed)) } else { Ok(()) }
}
