//! Pictures into other formats and smaller sizes.
//!
//! Of a picture only what is seen stays: metadata and colour profiles go, the orientation that Exif tells of is applied,
//! and colours have 8 bits. Of an animated picture the first frame is converted.

mod aside;
mod conversion;
mod encode;

use std::io::Cursor;

use fast_image_resize::images::Image;
use fast_image_resize::{PixelType, ResizeOptions, Resizer};
use gateway_core::OutputKind;
use image::codecs::{gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{DynamicImage, ImageDecoder, ImageResult, Limits};

pub use self::aside::Share;
use self::aside::aside;
use crate::inspect::{InspectLimits, Refusal, inspect};
pub use conversion::{Conversion, PictureFormat};

/// Bytes that a decoder may use.
const MAX_DECODED: u64 = 512 * 1024 * 1024;

/// A picture that was converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub content_type: &'static str,
    /// The extension that goes with it.
    pub extension: &'static str,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// Why a picture can't be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It is not whole, too large, or of no known kind.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A film or a sound.
    #[error("the file is no picture; only pictures can be converted")]
    NotAPicture,
    /// Its data are broken, of a kind that is not supported, or need too much memory.
    #[error("the picture can't be read: {0}")]
    Unreadable(String),
    /// The target format can't hold it.
    #[error("the picture can't be written as {}: {reason}", format.as_str())]
    Unwritable {
        /// The target.
        format: PictureFormat,
        /// What the encoder says.
        reason: String,
    },
}

/// Pixels of one picture: three bytes each, or four with alpha, from the top left.
struct Pixels {
    data: Vec<u8>,
    alpha: bool,
    width: u32,
    height: u32,
}

/// Converts the picture in `bytes`.
///
/// A picture of the most pixels takes many seconds and about 1 GiB of memory, and 3 GiB where it stays as large and becomes
/// a WebP; time and memory go with the pixels. Callers bound how many run at once. The work is done on a thread of its own,
/// which yields to others as `share` says, and waited for.
pub fn convert(bytes: &[u8], conversion: &Conversion, share: Share) -> Result<Converted, ConvertError> {
    aside(share, &|| convert_here(bytes, conversion))
}

fn convert_here(bytes: &[u8], conversion: &Conversion) -> Result<Converted, ConvertError> {
    let facts = inspect(bytes, &InspectLimits { max_frames: u32::MAX, ..InspectLimits::default() })?;
    if facts.kind != OutputKind::Image {
        return Err(ConvertError::NotAPicture);
    }
    let format = conversion.format_for(facts.content_type);
    let pixels = decode(bytes, facts.content_type).map_err(|error| ConvertError::Unreadable(error.to_string()))?;
    let pixels = shrink(pixels, conversion)?;
    let (width, height) = (pixels.width, pixels.height);
    let bytes = encode::encode(pixels, format, conversion.quality_for(format))?;
    Ok(Converted { bytes, content_type: format.content_type(), extension: format.extension(), width, height })
}

fn decode(bytes: &[u8], content_type: &str) -> ImageResult<Pixels> {
    let bytes = Cursor::new(bytes);
    match content_type {
        "image/png" => pixels(PngDecoder::with_limits(bytes, limits())?),
        "image/jpeg" => pixels(JpegDecoder::new(bytes)?),
        "image/webp" => pixels(WebPDecoder::new(bytes)?),
        _ => pixels(GifDecoder::new(bytes)?),
    }
}

fn limits() -> Limits {
    let side = InspectLimits::default().max_side;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(side);
    limits.max_image_height = Some(side);
    limits.max_alloc = Some(MAX_DECODED);
    limits
}

fn pixels(mut decoder: impl ImageDecoder) -> ImageResult<Pixels> {
    let mut limits = limits();
    limits.check_dimensions(decoder.dimensions().0, decoder.dimensions().1)?;
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    // Exif that can't be read says nothing.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let (alpha, width, height) = (image.color().has_alpha(), image.width(), image.height());
    let data = if alpha { image.into_rgba8().into_raw() } else { image.into_rgb8().into_raw() };
    Ok(Pixels { data, alpha, width, height })
}

/// Makes a picture fit; one that fits stays as it is.
fn shrink(pixels: Pixels, conversion: &Conversion) -> Result<Pixels, ConvertError> {
    let (width, height) = conversion.size_for(pixels.width, pixels.height);
    if (width, height) == (pixels.width, pixels.height) {
        return Ok(pixels);
    }
    let unreadable = |error: &dyn std::fmt::Display| ConvertError::Unreadable(error.to_string());
    let kind = if pixels.alpha { PixelType::U8x4 } else { PixelType::U8x3 };
    let source =
        Image::from_vec_u8(pixels.width, pixels.height, pixels.data, kind).map_err(|error| unreadable(&error))?;
    let mut target = Image::new(width, height, kind);
    Resizer::new()
        .resize(&source, &mut target, &ResizeOptions::new().use_alpha(pixels.alpha))
        .map_err(|error| unreadable(&error))?;
    Ok(Pixels { data: target.into_vec(), alpha: pixels.alpha, width, height })
}
