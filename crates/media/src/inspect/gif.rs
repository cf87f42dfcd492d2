//! Walks the blocks of a GIF.

use super::{InspectLimits, Picture, Refusal};
use crate::reader::Reader;

const NAME: &str = "gif";
const SIGNATURE: usize = 6;

pub(super) fn walk(bytes: &[u8], limits: &InspectLimits) -> Result<Picture, Refusal> {
    let mut reader = Reader(bytes.get(SIGNATURE..).unwrap_or_default());
    let (Some(width), Some(height), Some([flags, _, _])) = (reader.u16_le(), reader.u16_le(), reader.array()) else {
        return Err(Refusal::Broken(NAME));
    };
    let (width, height) = (u32::from(width), u32::from(height));
    limits.check_size(NAME, width, height)?;
    let mut frames = 0;
    skip_colours(&mut reader, flags)?;
    loop {
        match reader.byte().ok_or(Refusal::Incomplete(NAME))? {
            0x3b if frames > 0 => return Ok(Picture { width, height, frames }),
            0x21 => {
                reader.byte().ok_or(Refusal::Incomplete(NAME))?;
            }
            0x2c => {
                frames += 1;
                limits.check_frames(frames)?;
                skip_image_head(&mut reader, limits)?;
            }
            _ => return Err(Refusal::Broken(NAME)),
        }
        skip_pieces(&mut reader)?;
    }
}

fn skip_image_head(reader: &mut Reader<'_>, limits: &InspectLimits) -> Result<(), Refusal> {
    let incomplete = Refusal::Incomplete(NAME);
    let (Some(_place), Some(width), Some(height), Some(flags)) =
        (reader.take(4), reader.u16_le(), reader.u16_le(), reader.byte())
    else {
        return Err(incomplete);
    };
    limits.check_size(NAME, width.into(), height.into())?;
    skip_colours(reader, flags)?;
    reader.byte().map(|_code_size| ()).ok_or(incomplete)
}

fn skip_colours(reader: &mut Reader<'_>, flags: u8) -> Result<(), Refusal> {
    let length = if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    reader.take(length).map(|_colours| ()).ok_or(Refusal::Incomplete(NAME))
}

fn skip_pieces(reader: &mut Reader<'_>) -> Result<(), Refusal> {
    loop {
        let length = reader.byte().ok_or(Refusal::Incomplete(NAME))?;
        if length == 0 {
            return Ok(());
        }
        reader.take(length.into()).ok_or(Refusal::Incomplete(NAME))?;
    }
}
