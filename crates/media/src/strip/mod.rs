//! Takes out of files what ComfyUI writes of prompt and workflow into them, while they pass.
//!
//! A file is never read as a whole: a walker per format reads the heads of its parts and says what becomes of each.
//! What is held back is such a head, and for Ogg a page (64 KiB). Pictures, films and sounds themselves are not decoded
//! and not changed.

mod engine;
mod flac;
mod gif;
mod jpeg;
mod mp3;
mod mp4;
mod ogg;
mod png;
mod riff;
mod webm;

use bytes::Bytes;

use engine::{Engine, Walk};

/// Why a file can't be stripped. What was written of it so far is without metadata but not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StripError {
    /// The bytes don't follow their format.
    #[error("the {0} file is malformed")]
    Malformed(&'static str),
    /// The file ends before its end.
    #[error("the {0} file is incomplete")]
    Incomplete(&'static str),
}

/// Strips one file; its bytes go through [`Stripper::push`] in order, and [`Stripper::finish`] gives the rest.
#[derive(Debug)]
pub struct Stripper {
    engine: Option<Engine>,
}

impl Stripper {
    /// For a file of this media type, parameters left out. Types that are not known pass through unchanged.
    pub fn new(content_type: &str) -> Self {
        Self { engine: walker(content_type).map(Engine::new) }
    }

    /// Whether files of this media type are stripped.
    pub fn knows(content_type: &str) -> bool {
        walker(content_type).is_some()
    }

    /// What may be written after the file's next bytes have come. Fails where they don't follow the format, and from
    /// then on always.
    pub fn push(&mut self, bytes: Bytes) -> Result<Bytes, StripError> {
        match &mut self.engine {
            Some(engine) => engine.push(bytes),
            None => Ok(bytes),
        }
    }

    /// What is left to write after the file's last byte. Fails where the file is not whole.
    pub fn finish(self) -> Result<Bytes, StripError> {
        self.engine.map_or(Ok(Bytes::new()), Engine::finish)
    }
}

fn walker(content_type: &str) -> Option<Box<dyn Walk>> {
    Some(match content_type {
        "image/png" => Box::<png::Png>::default(),
        "image/jpeg" => Box::<jpeg::Jpeg>::default(),
        "image/webp" => Box::new(riff::Riff::webp()),
        "image/gif" => Box::<gif::Gif>::default(),
        "video/mp4" | "video/quicktime" | "audio/mp4" => Box::<mp4::Mp4>::default(),
        "video/webm" | "video/x-matroska" => Box::<webm::Webm>::default(),
        "audio/flac" => Box::<flac::Flac>::default(),
        "audio/mpeg" => Box::<mp3::Mp3>::default(),
        "audio/ogg" => Box::<ogg::Ogg>::default(),
        "audio/wav" => Box::new(riff::Riff::wav()),
        _ => return None,
    })
}
