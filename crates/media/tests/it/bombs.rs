//! Files that are small and would be large.

use gateway_media::{Conversion, InspectLimits, Refusal, Share, convert, inspect};

use crate::synth;

fn refusal(file: &[u8]) -> Refusal {
    inspect(file, &InspectLimits::default()).unwrap_err()
}

fn png_of(width: u32, height: u32) -> Vec<u8> {
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    let chunks = [(b"IHDR", head), (b"IDAT", vec![0; 10]), (b"IEND", vec![])];
    let chunks = chunks.map(|(kind, data)| synth::png_chunk(kind, &data)).concat();
    [b"\x89PNG\r\n\x1a\n", &chunks[..]].concat()
}

#[test]
fn pictures_of_many_pixels_are_refused_by_their_head() {
    let limit = 16_384;
    assert_eq!(refusal(&png_of(50_000, 50_000)), Refusal::TooWide { width: 50_000, height: 50_000, limit });
    assert!(matches!(refusal(&png_of(16_384, 16_384)), Refusal::TooManyPixels { .. }));
    assert!(inspect(&png_of(8192, 8192), &InspectLimits::default()).is_ok());
    assert!(matches!(refusal(&png_of(50_000, 50_000)[..60]), Refusal::TooWide { .. }));
    assert!(matches!(refusal(b"GIF89a\xff\xff\xff\xff\0\0\0"), Refusal::TooWide { .. }));
    let jpeg = b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\x01\x03\x11\x01";
    assert!(matches!(refusal(jpeg), Refusal::TooWide { .. }));
    let webp = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff";
    assert!(matches!(refusal(webp), Refusal::TooWide { .. }));
    assert!(convert(&png_of(50_000, 50_000), &Conversion::default(), Share::Less).is_err());
}

#[test]
fn a_small_canvas_hides_no_large_frame() {
    let mut gif = synth::gif(1);
    let at = gif.windows(2).position(|window| window == [0x2c, 0]).unwrap();
    gif[at + 5..at + 9].fill(0xff);
    assert!(matches!(refusal(&gif), Refusal::TooWide { .. }));
    let mut webp = synth::animated_webp(1);
    let at = webp.windows(4).position(|window| window == b"ANMF").unwrap();
    webp[at + 14..at + 20].fill(0xff);
    assert!(matches!(refusal(&webp), Refusal::TooWide { .. }));
}

#[test]
fn pictures_of_many_frames_are_refused() {
    let limit = 50;
    assert_eq!(refusal(&synth::gif(10_000)), Refusal::TooManyFrames { limit });
    assert_eq!(refusal(&synth::animated_webp(51)), Refusal::TooManyFrames { limit });
    let announced = synth::png_with(&[synth::png_chunk(b"acTL", &[0, 0, 0, 51, 0, 0, 0, 0])]);
    assert_eq!(refusal(&announced), Refusal::TooManyFrames { limit });
    let frame = synth::png_chunk(b"fcTL", &[&[0; 7][..], &[9, 0, 0, 0, 5], &[0; 14]].concat());
    assert_eq!(refusal(&synth::png_with(&vec![frame; 51])), Refusal::TooManyFrames { limit });
    assert!(inspect(&synth::gif(50), &InspectLimits::default()).is_ok());
}

#[test]
fn much_packed_data_beside_a_png_is_refused() {
    for (kind, name) in [(b"iCCP", "iCCP"), (b"zTXt", "zTXt"), (b"iTXt", "iTXt")] {
        let large = synth::png_with(&[synth::png_chunk(kind, &vec![0; 1024 * 1024 + 1])]);
        assert_eq!(refusal(&large), Refusal::LargeChunk(name));
    }
    let plain = synth::png_with(&[synth::png_chunk(b"tEXt", &vec![b'a'; 1024 * 1024 + 1])]);
    assert!(inspect(&plain, &InspectLimits::default()).is_ok());
}
