//! What pictures become.

use gateway_media::{Conversion, ConvertError, Converted, Share, convert};
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};

use crate::synth::{self, CANARY, encoded, has_canary, photo, picture};

fn to(format: Option<&str>, quality: Option<u32>, width: Option<u32>, height: Option<u32>) -> Conversion {
    Conversion::new(format, quality, width, height).unwrap()
}

fn read(converted: &Converted) -> DynamicImage {
    let image = image::load_from_memory(&converted.bytes).unwrap();
    assert_eq!((image.width(), image.height()), (converted.width, converted.height));
    image
}

#[test]
fn alpha_stays_in_png_and_webp_and_is_white_in_jpeg() {
    let clear = encoded(RgbaImage::from_pixel(16, 16, Rgba([0, 0, 0, 0])), ImageFormat::Png);
    for format in ["png", "webp"] {
        let converted = convert(&clear, &to(Some(format), None, None, None), Share::Less).unwrap();
        assert_eq!(read(&converted).into_rgba8().get_pixel(3, 3)[3], 0, "{format}");
    }
    let converted = convert(&clear, &to(Some("jpeg"), None, None, None), Share::Less).unwrap();
    assert_eq!(converted.content_type, "image/jpeg");
    assert!(read(&converted).into_rgb8().pixels().all(|pixel| pixel.0.iter().all(|colour| *colour > 250)));
}

#[test]
fn lossless_targets_keep_every_pixel() {
    let opaque = DynamicImage::from(photo(33, 21));
    let source = encoded(opaque.clone(), ImageFormat::Png);
    for conversion in
        [to(Some("png"), None, None, None), to(Some("webp"), Some(100), None, None), Conversion::default()]
    {
        assert_eq!(
            read(&convert(&source, &conversion, Share::Less).unwrap()).into_rgb8(),
            opaque.to_rgb8(),
            "{conversion:?}"
        );
    }
}

#[test]
fn pictures_shrink_into_the_box_and_never_grow() {
    let source = encoded(photo(400, 200), ImageFormat::Png);
    for (width, height, size) in
        [(Some(100), Some(100), (100, 50)), (None, Some(20), (40, 20)), (Some(1000), Some(1000), (400, 200))]
    {
        let converted = convert(&source, &to(Some("webp"), None, width, height), Share::Less).unwrap();
        assert_eq!((converted.width, converted.height), size);
        read(&converted);
    }
}

#[test]
fn quality_counts_where_the_format_has_one() {
    let source = encoded(picture(200, 200), ImageFormat::Png);
    for format in ["jpeg", "webp"] {
        let length =
            |quality| convert(&source, &to(Some(format), quality, None, None), Share::Less).unwrap().bytes.len();
        assert!(length(Some(10)) < length(None) && length(None) < length(Some(99)), "{format}");
    }
}

#[test]
fn without_a_format_pictures_keep_their_own() {
    for (file, content_type) in [
        (synth::png(), "image/png"),
        (synth::jpeg(), "image/jpeg"),
        (synth::webp(), "image/webp"),
        (synth::gif(2), "image/png"),
    ] {
        let converted = convert(&file, &Conversion::default(), Share::Less).unwrap();
        assert_eq!(converted.content_type, content_type);
        assert!(!has_canary(&converted.bytes));
        read(&converted);
    }
}

#[test]
fn the_orientation_that_exif_tells_of_is_applied() {
    // One entry: orientation, "turn a quarter to the right".
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let plain = encoded(photo(40, 20), ImageFormat::Jpeg);
    let file = [&plain[..2], &synth::jpeg_segment(0xe1, exif), &plain[2..]].concat();
    let converted = convert(&file, &to(Some("png"), None, None, Some(20)), Share::Less).unwrap();
    assert_eq!((converted.width, converted.height), (10, 20));
    let image = read(&converted).into_rgb8();
    // Red grows from left to right in the file, so from the top down as it is seen.
    assert!(image.get_pixel(5, 18)[0] > 180 && image.get_pixel(5, 1)[0] < 70);
}

#[test]
fn pictures_of_16_bits_and_of_grey_are_fine() {
    let deep = image::ImageBuffer::from_fn(8, 8, |x, y| image::Rgba([x as u16 * 8000, y as u16 * 8000, 0, 65_535]));
    let grey = image::GrayImage::from_fn(8, 8, |x, _| image::Luma([x as u8 * 30]));
    for file in [encoded(DynamicImage::ImageRgba16(deep), ImageFormat::Png), encoded(grey, ImageFormat::Png)] {
        for format in ["png", "jpeg", "webp"] {
            read(&convert(&file, &to(Some(format), None, Some(4), None), Share::Less).unwrap());
        }
    }
}

#[test]
fn an_animated_picture_gives_its_first_frame() {
    let frame = |red: u8| image::Frame::new(RgbaImage::from_pixel(6, 6, Rgba([red, 0, 0, 255])));
    let mut file = Vec::new();
    image::codecs::gif::GifEncoder::new(&mut file).encode_frames([frame(255), frame(0)]).unwrap();
    let converted = convert(&file, &to(Some("png"), None, None, None), Share::Less).unwrap();
    assert_eq!(read(&converted).into_rgba8().get_pixel(2, 2).0, [255, 0, 0, 255]);
}

#[test]
fn what_can_t_be_converted_is_told() {
    assert!(matches!(convert(CANARY.as_bytes(), &Conversion::default(), Share::Less), Err(ConvertError::Refused(_))));
    assert!(matches!(convert(&synth::flac(), &Conversion::default(), Share::Less), Err(ConvertError::NotAPicture)));
    let long = encoded(image::GrayImage::new(16_384, 1), ImageFormat::Png);
    let error = convert(&long, &to(Some("webp"), None, None, None), Share::Less).unwrap_err();
    assert!(error.to_string().contains("16383"), "{error}");
    let mut broken = synth::encoded(picture(50, 50), ImageFormat::Png);
    broken[60..90].fill(0xff);
    assert!(matches!(convert(&broken, &Conversion::default(), Share::Less), Err(ConvertError::Unreadable(_))));
}
