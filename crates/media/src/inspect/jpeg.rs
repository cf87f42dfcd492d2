//! Walks the markers of a JPEG.

use super::{InspectLimits, Picture, Refusal};
use crate::reader::Reader;

const NAME: &str = "jpeg";

pub(super) fn walk(bytes: &[u8], limits: &InspectLimits) -> Result<Picture, Refusal> {
    let mut reader = Reader(bytes.get(2..).unwrap_or_default());
    let mut size = None;
    let mut has_scan = false;
    loop {
        let marker = marker(&mut reader, has_scan)?;
        match marker {
            0xd9 => break,
            // Markers that stand alone.
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let length = reader.u16_be().ok_or(Refusal::Incomplete(NAME))?;
        let length = usize::from(length).checked_sub(2).ok_or(Refusal::Broken(NAME))?;
        let data = reader.take(length).ok_or(Refusal::Incomplete(NAME))?;
        match marker {
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let mut data = Reader(data);
                let (Some(_bits), Some(height), Some(width), None) = (data.byte(), data.u16_be(), data.u16_be(), size)
                else {
                    return Err(Refusal::Broken(NAME));
                };
                limits.check_size(NAME, width.into(), height.into())?;
                size = Some((u32::from(width), u32::from(height)));
            }
            0xda if size.is_none() => return Err(Refusal::Broken(NAME)),
            0xda => has_scan = true,
            _ => {}
        }
    }
    match size {
        Some((width, height)) if has_scan => Ok(Picture { width, height, frames: 1 }),
        _ => Err(Refusal::Broken(NAME)),
    }
}

/// The next marker; the data of scans before it are skipped.
fn marker(reader: &mut Reader<'_>, in_scan: bool) -> Result<u8, Refusal> {
    loop {
        match reader.byte().ok_or(Refusal::Incomplete(NAME))? {
            0xff => {}
            _ if in_scan => continue,
            _ => return Err(Refusal::Broken(NAME)),
        }
        let marker = loop {
            match reader.byte().ok_or(Refusal::Incomplete(NAME))? {
                0xff => {}
                marker => break marker,
            }
        };
        // A byte of data that looks like a marker is followed by a zero.
        match marker {
            0 if in_scan => {}
            0 => return Err(Refusal::Broken(NAME)),
            marker => return Ok(marker),
        }
    }
}
