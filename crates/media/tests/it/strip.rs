//! What becomes of each format.

use bytes::Bytes;
use gateway_media::{StripError, Stripper, true_type};

use crate::synth::{self, CANARY, has_canary};

/// Strips a file that comes in pieces of `piece` bytes.
pub(crate) fn strip(content_type: &str, file: &[u8], piece: usize) -> Result<Vec<u8>, StripError> {
    let mut stripper = Stripper::new(content_type);
    let mut stripped = Vec::new();
    for bytes in file.chunks(piece) {
        stripped.extend(stripper.push(Bytes::copy_from_slice(bytes))?);
    }
    stripped.extend(stripper.finish()?);
    Ok(stripped)
}

fn pixels(file: &[u8]) -> image::RgbaImage {
    image::load_from_memory(file).unwrap().into_rgba8()
}

#[test]
fn a_png_loses_its_texts_and_keeps_its_pixels() {
    let file = synth::png();
    let stripped = strip("image/png", &file, 7).unwrap();
    assert!(has_canary(&file) && !has_canary(&stripped));
    assert_eq!(pixels(&stripped), synth::picture(9, 5));
    assert!(stripped.ends_with(b"IEND\xae\x42\x60\x82"));
}

#[test]
fn of_a_png_only_chunks_stay_that_make_the_picture_or_say_how_it_looks() {
    let with = |kind: &[u8; 4]| synth::png_with(&[synth::png_chunk(kind, CANARY.as_bytes())]);
    for kind in [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"comf", b"prVt", b"prMp", b"gama"] {
        assert_eq!(strip("image/png", &with(kind), 7).unwrap(), synth::png_with(&[]), "{kind:?}");
    }
    for kind in [b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"pHYs", b"acTL", b"fcTL", b"fdAT"] {
        assert_eq!(strip("image/png", &with(kind), 7).unwrap(), with(kind), "{kind:?}");
    }
}

#[test]
fn a_jpeg_loses_exif_xmp_and_comments_and_keeps_its_profile() {
    let file = synth::jpeg();
    let stripped = strip("image/jpeg", &file, 7).unwrap();
    assert!(has_canary(&file) && !has_canary(&stripped));
    assert_eq!(pixels(&stripped), pixels(&file));
    assert!(stripped.windows(11).any(|window| window == b"ICC_PROFILE"));
}

#[test]
fn a_webp_loses_exif_and_xmp_and_keeps_length_and_pixels() {
    let file = synth::webp();
    let stripped = strip("image/webp", &file, 7).unwrap();
    assert!(has_canary(&file) && !has_canary(&stripped));
    assert_eq!(stripped.len(), file.len());
    assert_eq!(pixels(&stripped), synth::picture(9, 5));
    assert_eq!((file[20], stripped[20]), (0x1c, 0x10));
    assert!(!stripped.windows(4).any(|window| window == b"EXIF" || window == b"XMP "));
}

#[test]
fn a_gif_loses_comments_and_xmp_and_keeps_its_frames() {
    let file = synth::gif(3);
    let stripped = strip("image/gif", &file, 7).unwrap();
    assert!(has_canary(&file) && !has_canary(&stripped));
    assert_eq!(pixels(&stripped), pixels(&file));
    assert!(stripped.windows(11).any(|window| window == b"NETSCAPE2.0"));
}

#[test]
fn an_mp4_keeps_every_position_wherever_its_index_stands() {
    let samples = b"moov udta meta \0\0\0\x08udta".repeat(50);
    for index_first in [true, false] {
        let file = synth::mp4(&samples, index_first);
        let stripped = strip("video/mp4", &file, 7).unwrap();
        assert!(has_canary(&file) && !has_canary(&stripped));
        assert_eq!(stripped.len(), file.len());
        let at = |file: &[u8]| file.windows(samples.len()).position(|window| window == samples);
        assert!(at(&file).is_some());
        assert_eq!(at(&stripped), at(&file));
        for kept in [b"mvhd", b"tkhd", b"trak", b"ftyp"] {
            assert!(stripped.windows(4).any(|window| window == kept), "{kept:?}");
        }
        assert!(!stripped.windows(4).any(|window| window == b"uuid"));
    }
}

#[test]
fn an_mp4_whose_boxes_are_larger_than_what_holds_them_is_malformed() {
    for inner in [synth::mp4_box(b"trak", &[0; 90]), synth::mp4_box(b"mvhd", &[0; 90]), vec![0, 0, 0, 3, 1, 2, 3, 4]] {
        let mut file = synth::mp4_box(b"moov", &inner);
        file[3] = 40;
        file.extend([0; 100]);
        assert_eq!(strip("video/mp4", &file, 5), Err(StripError::Malformed("mp4")));
    }
}

#[test]
fn a_webm_has_void_where_its_tags_were() {
    for live in [true, false] {
        let file = synth::webm(live);
        let stripped = strip("video/webm", &file, 7).unwrap();
        assert!(has_canary(&file) && !has_canary(&stripped));
        assert_eq!(stripped.len(), file.len());
        assert!(!stripped.windows(4).any(|window| window == [0x12, 0x54, 0xc3, 0x67]));
        // The stripped file has the same elements, void for tags.
        assert_eq!(strip("video/webm", &stripped, 1), Ok(stripped));
    }
}

#[test]
fn sounds_lose_their_tags() {
    for (content_type, file, kept) in
        [("audio/flac", synth::flac(), true), ("audio/wav", synth::wav(), true), ("audio/mpeg", synth::mp3(), false)]
    {
        let stripped = strip(content_type, &file, 7).unwrap();
        assert!(has_canary(&file) && !has_canary(&stripped), "{content_type}");
        assert_eq!(stripped.len() == file.len(), kept, "{content_type}");
    }
    let flac = strip("audio/flac", &synth::flac(), 7).unwrap();
    assert_eq!(flac[42], 0x81);
    assert!(flac.ends_with(&[0xff, 0xf8, 1, 2, 3]));
    assert_eq!(strip("audio/mpeg", &synth::mp3(), 7).unwrap(), [0xff, 0xfb, 0x90, 0x64, 0, 1, 2]);
}

#[test]
fn a_wav_may_lack_the_byte_that_fills_up_its_last_chunk() {
    let file = synth::wav_of(301);
    let (cut, whole) = (&file[..file.len() - 1], strip("audio/wav", &file, 7).unwrap());
    for piece in [1, 7, cut.len()] {
        assert_eq!(strip("audio/wav", cut, piece).unwrap(), whole[..cut.len()], "pieces of {piece} bytes");
    }
    assert_eq!(strip("audio/wav", &cut[..cut.len() - 1], 7), Err(StripError::Incomplete("wav")));
}

#[test]
fn an_m4a_loses_its_tags_like_any_mp4() {
    for index_first in [true, false] {
        let mut file = synth::mp4(b"some samples", index_first);
        file[8..12].copy_from_slice(b"M4A ");
        let told = true_type(&file);
        assert!(Stripper::knows(told), "{told}");
        assert!(has_canary(&file) && !has_canary(&strip(told, &file, 7).unwrap()));
    }
}

#[test]
fn the_comments_of_an_ogg_are_empty_and_its_checksums_true() {
    for (first, magic, empty) in [
        (&b"\x01vorbis head"[..], &b"\x03vorbis"[..], &b"\x03vorbis\0\0\0\0\0\0\0\0\x01\0"[..]),
        (b"OpusHead head", b"OpusTags", b"OpusTags\0\0\0\0\0\0\0\0\0"),
        (b"\x7fFLAC head", b"\x84\0\x02\x54", b"\x84\0\x02\x54\0\0\0\0\0\0\0\0\0"),
        (b"Speex   head", b"", b"\0\0\0\0\0\0\0\0\0"),
    ] {
        let file = synth::ogg(first, magic);
        let stripped = strip("audio/ogg", &file, 7).unwrap();
        assert!(has_canary(&file) && !has_canary(&stripped));
        assert_eq!(stripped.len(), file.len());
        let second = 28 + first.len();
        assert!(stripped[second + 28..].starts_with(empty));
        let mut page = stripped[second..second + 28 + 255].to_vec();
        let sum: [u8; 4] = page[22..26].try_into().unwrap();
        page[22..26].fill(0);
        assert_eq!(synth::ogg_sum(&page).to_le_bytes(), sum);
        assert!(stripped.windows(5).any(|window| window == b"setup"));
        let last = 27 + 1 + 9;
        assert_eq!(stripped[stripped.len() - last..], file[file.len() - last..]);
    }
}

#[test]
fn what_is_not_known_passes_unchanged() {
    for content_type in ["text/plain; charset=utf-8", "model/gltf-binary", "application/octet-stream", ""] {
        assert!(!Stripper::knows(content_type));
        assert_eq!(strip(content_type, CANARY.as_bytes(), 3).unwrap(), CANARY.as_bytes());
    }
    assert!(Stripper::knows("image/png") && Stripper::knows("audio/ogg"));
}

#[test]
fn a_failed_file_stays_failed() {
    let mut stripper = Stripper::new("image/png");
    assert_eq!(stripper.push(Bytes::from_static(b"not a png")), Err(StripError::Malformed("png")));
    assert_eq!(stripper.push(Bytes::from_static(b"\x89PNG\r\n\x1a\n")), Err(StripError::Malformed("png")));
    assert_eq!(stripper.finish(), Err(StripError::Malformed("png")));
}
