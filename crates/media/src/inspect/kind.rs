//! Tells formats by their first bytes. Owns the list of what is taken.

use gateway_core::output::{OPAQUE_TYPE, SHOWN_TYPES};

use super::Refusal;

const ACCEPTED: [&str; 10] = [
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "video/mp4",
    "video/webm",
    "audio/wav",
    "audio/mpeg",
    "audio/flac",
    "audio/ogg",
];

/// The media type of a file that begins with `head`, if it is one that browsers may show: `application/octet-stream`
/// for everything else. The first 16 KiB are enough.
pub fn sniff(head: &[u8]) -> &'static str {
    let found = magic(head).unwrap_or(OPAQUE_TYPE);
    SHOWN_TYPES.iter().map(|(shown, _)| *shown).find(|shown| *shown == found).unwrap_or(OPAQUE_TYPE)
}

/// The media type of a file that begins with `head`, whether browsers may show it or not.
pub fn true_type(head: &[u8]) -> &'static str {
    magic(head).unwrap_or(OPAQUE_TYPE)
}

/// The media type of `bytes`, where we take files of it.
pub(super) fn accepted(bytes: &[u8]) -> Result<&'static str, Refusal> {
    let found = magic(bytes);
    match ACCEPTED.into_iter().find(|accepted| Some(*accepted) == found) {
        Some(accepted) => Ok(accepted),
        None => Err(Refusal::NotAccepted(described(bytes, found))),
    }
}

/// The media type by the first bytes, whether we take it or not.
fn magic(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"glTF") {
        return Some("model/gltf-binary");
    }
    Some(match infer::get(head)?.mime_type() {
        "audio/x-wav" => "audio/wav",
        "audio/x-flac" => "audio/flac",
        "audio/m4a" => "audio/mp4",
        // Opus stands in Ogg like any other sound there.
        "audio/opus" => "audio/ogg",
        "video/x-m4v" => "video/mp4",
        found => found,
    })
}

/// Words for what we don't take; `found` is the media type, where magic tells of it.
fn described(bytes: &[u8], found: Option<&'static str>) -> String {
    let head: Vec<u8> = bytes.iter().take(512).map(u8::to_ascii_lowercase).collect();
    let has = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
    match found {
        Some("text/xml" | "text/html") | None if has(b"<svg") => "an svg drawing".to_owned(),
        None if has(b"<!doctype html") || has(b"<html") => "a page of html".to_owned(),
        Some(found) => format!("of the type {found}"),
        None => "of no type that we know".to_owned(),
    }
}
