//! What holds for every format.

use bytes::Bytes;
use gateway_media::{InspectLimits, Share, Stripper, convert, inspect};
use proptest::prelude::*;

use crate::strip::strip;
use crate::synth::{self, has_canary};

const TYPES: [&str; 10] = [
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "video/mp4",
    "video/webm",
    "audio/flac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
];

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("image/png", synth::png()),
        ("image/jpeg", synth::jpeg()),
        ("image/webp", synth::webp()),
        ("image/gif", synth::gif(2)),
        ("video/mp4", synth::mp4(b"some samples", true)),
        ("video/mp4", synth::mp4(b"some samples", false)),
        ("video/webm", synth::webm(true)),
        ("video/webm", synth::webm(false)),
        ("audio/flac", synth::flac()),
        ("audio/mpeg", synth::mp3()),
        ("audio/ogg", synth::ogg(b"\x01vorbis", b"\x03vorbis")),
        ("audio/ogg", synth::ogg(b"OpusHead", b"OpusTags")),
        ("audio/wav", synth::wav()),
        ("audio/wav", synth::wav_of(301)),
    ]
}

/// A file cut at `cuts`, in order.
fn pieces<'a>(file: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (file.len() + 1)).chain([0, file.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &file[pair[0]..pair[1]]).collect()
}

#[test]
fn stripping_what_is_stripped_changes_nothing() {
    for (content_type, file) in samples() {
        let stripped = strip(content_type, &file, file.len()).unwrap();
        assert!(!has_canary(&stripped), "{content_type}");
        assert_eq!(strip(content_type, &stripped, 11).unwrap(), stripped, "{content_type}");
        assert_eq!(strip(content_type, &file, 1).unwrap(), stripped, "{content_type}");
    }
}

#[test]
fn a_cut_file_is_told_or_has_no_canary() {
    for (content_type, file) in samples() {
        for length in 0..file.len() {
            let stripped = strip(content_type, &file[..length], 64);
            assert!(!has_canary(&stripped.unwrap_or_default()), "{content_type}, {length} bytes");
        }
    }
}

#[test]
fn samples_pass_at_once_however_many_they_are() {
    let piece = Bytes::from(vec![7; 64 * 1024]);
    let head = |kind: &[u8]| Bytes::copy_from_slice(&[&(64 * 1024 * 1024 + 8_u32).to_be_bytes()[..], kind].concat());
    for (kind, zero) in [(b"mdat", false), (b"uuid", true)] {
        let mut stripper = Stripper::new("video/mp4");
        stripper.push(head(kind)).unwrap();
        for _ in 0..1024 {
            let written = stripper.push(piece.clone()).unwrap();
            assert_eq!(written.len(), piece.len());
            // The same memory: nothing was copied.
            assert_eq!(written.as_ptr() == piece.as_ptr(), !zero);
        }
        assert!(stripper.finish().unwrap().is_empty());
    }
}

#[test]
fn many_small_parts_are_as_good_as_a_large_one() {
    // Palettes that a viewer may choose from, each with a name of its own and one colour.
    let palette = |number: u32| [number.to_string().as_bytes(), b"\0\x08\x01\x02\x03\xff\0\x01"].concat();
    let chunks: Vec<_> = (0..100_000).map(|number| synth::png_chunk(b"sPLT", &palette(number))).collect();
    let file = synth::png_with(&chunks);
    assert_eq!(strip("image/png", &file, file.len()).unwrap(), file);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_not_matter_how_a_file_is_cut(cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        for (content_type, file) in samples() {
            let mut stripper = Stripper::new(content_type);
            let mut stripped = Vec::new();
            for piece in pieces(&file, &cuts) {
                stripped.extend(stripper.push(Bytes::copy_from_slice(piece)).unwrap());
            }
            stripped.extend(stripper.finish().unwrap());
            prop_assert_eq!(stripped, strip(content_type, &file, file.len()).unwrap());
        }
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
        for content_type in TYPES {
            let _ = strip(content_type, &bytes, piece);
        }
        let _ = inspect(&bytes, &InspectLimits::default());
        let _ = convert(&bytes, &Default::default(), Share::Less);
    }

    #[test]
    fn damaged_files_do_no_harm(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        for (content_type, mut file) in samples() {
            for (at, byte) in &damage {
                let at = at.index(file.len());
                file[at] = *byte;
            }
            if cut {
                file.truncate(end.index(file.len()));
            }
            let whole = strip(content_type, &file, file.len().max(1));
            prop_assert_eq!(&strip(content_type, &file, 3), &whole);
            if let Ok(stripped) = whole {
                prop_assert_eq!(strip(content_type, &stripped, 64), Ok(stripped));
            }
            let _ = inspect(&file, &InspectLimits::default());
            let _ = convert(&file, &Default::default(), Share::Less);
        }
    }
}
