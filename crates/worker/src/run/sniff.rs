//! What bytes are, by their content: never by a name or a header that somebody else wrote. Pure.

use gateway_core::OutputKind;

/// Bytes from the beginning that are enough to tell.
pub(super) const HEAD: usize = 16 * 1024;

/// What an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sniffed {
    /// What it is.
    pub(super) true_type: &'static str,
    /// What it is served as.
    pub(super) content_type: &'static str,
    pub(super) kind: OutputKind,
    /// Pixels, for pictures.
    pub(super) size: Option<(i32, i32)>,
}

impl Sniffed {
    /// What is known to be of this type.
    pub(super) fn of(content_type: &'static str) -> Self {
        let kind = OutputKind::of_content_type(content_type);
        Self { true_type: content_type, content_type, kind, size: None }
    }
}

/// Looks at the first bytes of a file.
pub(super) fn sniff(head: &[u8]) -> Sniffed {
    let content_type = gateway_media::sniff(head);
    let kind = OutputKind::of_content_type(content_type);
    let size = (kind == OutputKind::Image).then(|| imagesize::blob_size(head).ok()).flatten();
    Sniffed {
        true_type: gateway_media::true_type(head),
        content_type,
        kind,
        size: size.and_then(|size| Some((i32::try_from(size.width).ok()?, i32::try_from(size.height).ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::output::OPAQUE_TYPE;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\0\0\0\x01\0\x08\x06\0\0\0";

    #[test]
    fn contents_are_told_by_their_magic() {
        for (head, content_type, kind) in [
            (PNG, "image/png", OutputKind::Image),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg", OutputKind::Image),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp", OutputKind::Image),
            (b"GIF89a\x01\0\x01\0", "image/gif", OutputKind::Image),
            (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav", OutputKind::Audio),
            (b"fLaC\0\0\0\x22", "audio/flac", OutputKind::Audio),
            (b"\0\0\0\x18ftypmp42\0\0\0\0", "video/mp4", OutputKind::Video),
            (
                b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm",
                "video/webm",
                OutputKind::Video,
            ),
            (b"glTF\x02\0\0\0", "model/gltf-binary", OutputKind::File),
        ] {
            // Some formats are told only in a file of some length.
            let file = [head, &[0; 300]].concat();
            let sniffed = sniff(&file);
            assert_eq!((sniffed.content_type, sniffed.kind), (content_type, kind), "{content_type}");
        }
        assert_eq!(sniff(PNG).size, Some((512, 256)));
    }

    #[test]
    fn what_a_browser_could_run_is_bytes_of_no_kind() {
        for head in [
            &b"<svg xmlns='http://www.w3.org/2000/svg'>"[..],
            b"<?xml version='1.0'?><svg>",
            b"<!DOCTYPE html><script>",
            b"<html>",
            b"%PDF-1.7",
            b"alert(1)",
            b"",
        ] {
            let sniffed = sniff(head);
            assert_eq!(sniffed.content_type, OPAQUE_TYPE, "{head:?}");
            assert_eq!(sniffed.kind, OutputKind::File);
        }
    }
}
