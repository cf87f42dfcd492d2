//! Pixels into files.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use webp::{Encoder, PixelLayout};

use super::{ConvertError, PictureFormat, Pixels};

/// The quality from which a WebP is lossless.
const LOSSLESS: u8 = 100;
/// How hard libwebp tries to make a lossless picture small, of 100.
const LOSSLESS_EFFORT: f32 = 75.0;

/// Writes a file. `quality` is for formats that have one.
pub(super) fn encode(pixels: Pixels, format: PictureFormat, quality: Option<u8>) -> Result<Vec<u8>, ConvertError> {
    let quality = quality.unwrap_or(100);
    let written = match format {
        PictureFormat::Png => png(&pixels),
        PictureFormat::Jpeg => jpeg(pixels, quality),
        PictureFormat::Webp => webp(&pixels, quality),
    };
    written.map_err(|reason| ConvertError::Unwritable { format, reason })
}

fn png(pixels: &Pixels) -> Result<Vec<u8>, String> {
    let colour = if pixels.alpha { ExtendedColorType::Rgba8 } else { ExtendedColorType::Rgb8 };
    let mut file = Vec::new();
    PngEncoder::new(&mut file)
        .write_image(&pixels.data, pixels.width, pixels.height, colour)
        .map_err(|error| error.to_string())?;
    Ok(file)
}

fn jpeg(pixels: Pixels, quality: u8) -> Result<Vec<u8>, String> {
    let data = if pixels.alpha { on_white(&pixels.data) } else { pixels.data };
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, quality)
        .write_image(&data, pixels.width, pixels.height, ExtendedColorType::Rgb8)
        .map_err(|error| error.to_string())?;
    Ok(file)
}

fn webp(pixels: &Pixels, quality: u8) -> Result<Vec<u8>, String> {
    let layout = if pixels.alpha { PixelLayout::Rgba } else { PixelLayout::Rgb };
    let lossless = quality >= LOSSLESS;
    Encoder::new(&pixels.data, layout, pixels.width, pixels.height)
        .encode_simple(lossless, if lossless { LOSSLESS_EFFORT } else { f32::from(quality) })
        .map(|file| file.to_vec())
        .map_err(|error| match error {
            webp::WebPEncodingError::VP8_ENC_ERROR_BAD_DIMENSION => "a side has more than 16383 pixels".to_owned(),
            error => format!("{error:?}"),
        })
}

/// Colours without alpha, as they look on white.
fn on_white(rgba: &[u8]) -> Vec<u8> {
    let (pixels, _none) = rgba.as_chunks::<4>();
    pixels
        .iter()
        .flat_map(|[red, green, blue, alpha]| {
            let alpha = u16::from(*alpha);
            [*red, *green, *blue].map(|colour| {
                let mixed = (u16::from(colour) * alpha + 255 * (255 - alpha) + 127) / 255;
                u8::try_from(mixed).unwrap_or(u8::MAX)
            })
        })
        .collect()
}
