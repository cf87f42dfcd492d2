//! What is told and what is refused.

use gateway_core::OutputKind;
use gateway_media::{InspectLimits, Refusal, Stripper, inspect, sniff, true_type};
use image::ImageFormat;

use crate::synth;

fn padded(head: &[u8]) -> Vec<u8> {
    [head, &[0; 300]].concat()
}

/// Media type, extension, width, height, frames.
type Told = (&'static str, &'static str, Option<u32>, Option<u32>, Option<u32>);

fn facts(file: &[u8]) -> Result<Told, Refusal> {
    inspect(file, &InspectLimits::default())
        .map(|facts| (facts.content_type, facts.extension, facts.width, facts.height, facts.frames))
}

#[test]
fn pictures_are_told_with_size_and_frames() {
    let still =
        |content_type, extension, width, height| Ok((content_type, extension, Some(width), Some(height), Some(1)));
    assert_eq!(facts(&synth::png()), still("image/png", "png", 9, 5));
    assert_eq!(facts(&synth::jpeg()), still("image/jpeg", "jpg", 20, 10));
    assert_eq!(facts(&synth::webp()), still("image/webp", "webp", 9, 5));
    assert_eq!(facts(&synth::gif(1)), still("image/gif", "gif", 2, 2));
    assert_eq!(facts(&synth::gif(3)).unwrap().4, Some(3));
    assert_eq!(facts(&synth::animated_webp(4)), Ok(("image/webp", "webp", Some(9), Some(5), Some(4))));
    let lossy = webp::Encoder::from_rgb(&synth::photo(30, 20), 30, 20).encode(50.0);
    assert_eq!(facts(&lossy), still("image/webp", "webp", 30, 20));
    let animated = synth::png_with(&[synth::png_chunk(b"acTL", &[0, 0, 0, 7, 0, 0, 0, 0])]);
    assert_eq!(facts(&animated).unwrap().4, Some(7));
}

#[test]
fn films_and_sounds_are_told() {
    let film = |content_type, extension| Ok((content_type, extension, None, None, None));
    assert_eq!(facts(&synth::mp4(b"", true)), film("video/mp4", "mp4"));
    assert_eq!(facts(&synth::webm(false)), film("video/webm", "webm"));
    assert_eq!(facts(&synth::wav()), film("audio/wav", "wav"));
    assert_eq!(facts(&synth::mp3()), film("audio/mpeg", "mp3"));
    assert_eq!(facts(&synth::flac()), film("audio/flac", "flac"));
    assert_eq!(facts(&synth::ogg(b"\x01vorbis", b"")), film("audio/ogg", "ogg"));
    assert_eq!(facts(&synth::ogg(b"OpusHead", b"OpusTags")), film("audio/ogg", "ogg"));
    assert_eq!(inspect(&synth::flac(), &InspectLimits::default()).unwrap().kind, OutputKind::Audio);
}

#[test]
fn other_kinds_are_refused_by_name() {
    for (file, word) in [
        (&b"<svg xmlns='http://www.w3.org/2000/svg'>"[..], "svg"),
        (b"<?xml version='1.0'?>\n<svg>", "svg"),
        (b"<!DOCTYPE html><script>", "html"),
        (b"%PDF-1.7", "pdf"),
        (b"\x80\x02ccollections\nOrderedDict", "no type that we know"),
        (b"PK\x03\x04\x14\0\0\0\x08\0", "zip"),
        (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0", "bmp"),
        (b"II*\0\x08\0\0\0", "tiff"),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", "avif"),
        (b"glTF\x02\0\0\0", "gltf"),
        (b"alert(1)", "no type that we know"),
    ] {
        let refusal = inspect(&padded(file), &InspectLimits::default()).unwrap_err().to_string();
        assert!(refusal.contains(word) && refusal.contains("png, jpeg, webp or gif"), "{refusal}");
    }
    assert_eq!(facts(b""), Err(Refusal::Empty));
}

#[test]
fn sniffing_shows_only_what_browsers_may_see() {
    assert_eq!(sniff(&synth::png()), "image/png");
    assert_eq!(sniff(&padded(b"glTF\x02\0\0\0")), "model/gltf-binary");
    assert_eq!(sniff(b"GIF89a"), "image/gif");
    assert_eq!(sniff(&synth::ogg(b"OpusHead", b"OpusTags")), "audio/ogg");
    for head in [&b"<svg>"[..], b"%PDF-1.7", b"BM\x36\0\0\0", b"\0\0\0\x20ftypavif", b""] {
        assert_eq!(sniff(head), "application/octet-stream");
    }
}

#[test]
fn what_is_not_shown_is_told_all_the_same() {
    for (head, content_type) in
        [(&b"\0\0\0\x1cftypM4A \0\0\0\0"[..], "audio/mp4"), (b"\0\0\0\x14ftypqt  \0\0\0\0", "video/quicktime")]
    {
        let file = padded(head);
        assert_eq!((true_type(&file), sniff(&file)), (content_type, "application/octet-stream"));
        assert!(Stripper::knows(content_type));
    }
}

#[test]
fn pictures_are_whole_only_with_their_last_byte() {
    let webp = synth::webp();
    let gif = synth::gif(2);
    let gif = &gif[..gif.len() - synth::CANARY.len()];
    let png = synth::encoded(synth::picture(9, 5), ImageFormat::Png);
    for (file, head) in [(png.as_slice(), 40), (&synth::jpeg(), 700), (&webp, 40), (gif, 40)] {
        assert!(facts(file).is_ok());
        for length in head..file.len() {
            let refusal = facts(&file[..length]).unwrap_err();
            assert!(matches!(refusal, Refusal::Incomplete(_)), "{length} of {}: {refusal}", file.len());
        }
        for length in 1..head {
            assert!(facts(&file[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn broken_heads_are_refused() {
    for file in [
        &b"\x89PNG\r\n\x1a\n\0\0\0\x04IDATabcd"[..],
        b"GIF89a\0\0\0\0\0\0\0",
        b"GIF89a=\x01;\x01alert(1)//",
        b"\xff\xd8\xff\xda\0\x02\xff\xd9",
        b"\xff\xd8\xff\xd9",
        b"RIFF\x04\0\0\0WEBP",
        b"RIFF\x12\0\0\0WEBPVP8 \x06\0\0\0nopic!",
    ] {
        let refusal = facts(file).unwrap_err();
        assert!(matches!(refusal, Refusal::Broken(_)), "{file:?}: {refusal}");
    }
}
