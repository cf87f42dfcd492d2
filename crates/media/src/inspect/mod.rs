//! What bytes are and whether we take them, from their structure alone: nothing is decoded or inflated here.
//!
//! Names and headers that somebody else wrote are never believed. Of films and sounds only the kind is told.

mod gif;
mod jpeg;
mod kind;
mod png;
mod refusal;
mod webp;

use gateway_core::OutputKind;
use gateway_core::output::extension_of;

pub use kind::{sniff, true_type};
pub use refusal::Refusal;

/// What bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What they are for a person.
    pub kind: OutputKind,
    /// Their media type.
    pub content_type: &'static str,
    /// The extension that goes with it.
    pub extension: &'static str,
    /// Pixels from left to right, for pictures.
    pub width: Option<u32>,
    /// Pixels from top to bottom, for pictures.
    pub height: Option<u32>,
    /// Pictures in a picture; 1 unless it is animated.
    pub frames: Option<u32>,
}

/// The largest picture that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InspectLimits {
    /// Pixels of one frame.
    pub max_pixels: u64,
    /// Pixels of a side.
    pub max_side: u32,
    /// Frames of an animated picture.
    pub max_frames: u32,
}

impl Default for InspectLimits {
    fn default() -> Self {
        Self { max_pixels: 64 * 1024 * 1024, max_side: 16_384, max_frames: 50 }
    }
}

/// What `bytes` are, or why we don't take them.
pub fn inspect(bytes: &[u8], limits: &InspectLimits) -> Result<Facts, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    let content_type = kind::accepted(bytes)?;
    let picture = match content_type {
        "image/png" => Some(png::walk(bytes, limits)?),
        "image/jpeg" => Some(jpeg::walk(bytes, limits)?),
        "image/webp" => Some(webp::walk(bytes, limits)?),
        "image/gif" => Some(gif::walk(bytes, limits)?),
        _ => None,
    };
    Ok(Facts {
        kind: OutputKind::of_content_type(content_type),
        content_type,
        extension: extension_of(content_type),
        width: picture.map(|picture| picture.width),
        height: picture.map(|picture| picture.height),
        frames: picture.map(|picture| picture.frames),
    })
}

/// What a picture says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Picture {
    width: u32,
    height: u32,
    frames: u32,
}

impl InspectLimits {
    /// Refuses a picture, or one of its frames, that is too large. One without pixels has a broken header.
    fn check_size(&self, format: &'static str, width: u32, height: u32) -> Result<(), Refusal> {
        if width == 0 || height == 0 {
            return Err(Refusal::Broken(format));
        }
        if width > self.max_side || height > self.max_side {
            return Err(Refusal::TooWide { width, height, limit: self.max_side });
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(Refusal::TooManyPixels { width, height, limit: self.max_pixels });
        }
        Ok(())
    }

    fn check_frames(&self, frames: u32) -> Result<(), Refusal> {
        if frames > self.max_frames { Err(Refusal::TooManyFrames { limit: self.max_frames }) } else { Ok(()) }
    }
}
