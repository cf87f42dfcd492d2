//! What an output is: its kind, its name with us, the media types that may be shown in a browser.
//! Bytes and places belong to gateway-storage.

use serde::{Deserialize, Serialize};

use crate::JobId;

/// What an output is for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// A still or animated picture.
    Image,
    /// A film.
    Video,
    /// Sound.
    Audio,
    /// Plain text.
    Text,
    /// Anything else, 3D models among them.
    File,
}

impl OutputKind {
    /// The name in the API and in file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Text => "text",
            Self::File => "file",
        }
    }

    /// Parses what [`OutputKind::as_str`] gives; anything else is a file.
    pub fn parse(text: &str) -> Self {
        match text {
            "image" => Self::Image,
            "video" => Self::Video,
            "audio" => Self::Audio,
            "text" => Self::Text,
            _ => Self::File,
        }
    }

    /// The kind that a media type stands for.
    pub fn of_content_type(content_type: &str) -> Self {
        match content_type.split('/').next() {
            Some("image") => Self::Image,
            Some("video") => Self::Video,
            Some("audio") => Self::Audio,
            Some("text") => Self::Text,
            _ => Self::File,
        }
    }
}

/// Media type and file extension of contents that browsers may show. What is not here is served as an
/// attachment of unknown bytes: SVG, HTML and their like can carry scripts.
pub const SHOWN_TYPES: [(&str, &str); 12] = [
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/webp", "webp"),
    ("image/gif", "gif"),
    ("video/mp4", "mp4"),
    ("video/webm", "webm"),
    ("audio/wav", "wav"),
    ("audio/mpeg", "mp3"),
    ("audio/flac", "flac"),
    ("audio/ogg", "ogg"),
    ("model/gltf-binary", "glb"),
    ("text/plain; charset=utf-8", "txt"),
];

/// The media type of bytes whose kind is not known or not to be shown.
pub const OPAQUE_TYPE: &str = "application/octet-stream";

/// The extension for `content_type`; `bin` for what is not in [`SHOWN_TYPES`].
pub fn extension_of(content_type: &str) -> &'static str {
    SHOWN_TYPES.iter().find(|(shown, _)| *shown == content_type).map_or("bin", |(_, extension)| extension)
}

/// The name under which the `index`th (from 1) output of a job is served. No byte of it is ComfyUI's or a caller's.
pub fn file_name(kind: OutputKind, index: usize, extension: &str) -> String {
    format!("{}_{index:03}.{extension}", kind.as_str())
}

/// What the storage keys of all that one claim of a job has stored begin with: `2026/11/24/7f/{job}.{epoch}.`.
///
/// Each claim has its own, so a worker that comes back from the dead can't touch its successor's files. The folder
/// `7f` is the id's last two digits: a day has 256 of them, so none grows huge and no job costs a folder of its own.
pub fn storage_prefix(job: JobId, epoch: i64) -> String {
    let day = job.timestamp().to_string();
    let date = day.split('T').next().unwrap_or_default().replace('-', "/");
    let shard = job.as_bytes().last().copied().unwrap_or_default();
    format!("{date}/{shard:02x}/{job}.{epoch}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn each_claim_of_a_job_has_keys_of_its_own() {
        let job = JobId::new(Timestamp::from_millis(1_795_478_418_000), [1; 10]);
        assert_eq!(storage_prefix(job, 2), format!("2026/11/24/01/{job}.2."));
        assert!(!storage_prefix(job, 12).starts_with(&storage_prefix(job, 1)));
    }

    #[test]
    fn what_may_not_be_shown_has_no_telling_extension() {
        assert_eq!(extension_of("image/png"), "png");
        assert_eq!(extension_of("image/svg+xml"), "bin");
        assert_eq!(file_name(OutputKind::Image, 3, "png"), "image_003.png");
    }

    #[test]
    fn kinds_parse_back() {
        for (content_type, _) in SHOWN_TYPES {
            let kind = OutputKind::of_content_type(content_type);
            assert_eq!(OutputKind::parse(kind.as_str()), kind);
        }
    }
}
