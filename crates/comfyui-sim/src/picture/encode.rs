//! PNG with the chunks of text that ComfyUI writes, and the formats of previews.
//! Padding is an ancillary chunk of zeros that every file of one size shares.

use std::io::Cursor;
use std::sync::Mutex;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, RgbaImage};
use png::chunk::ChunkType;

use crate::blob::Blob;
use crate::sync::lock;

/// The end of every PNG: the chunk `IEND`.
const END_LEN: usize = 12;
/// What a chunk takes besides its data.
const CHUNK_OVERHEAD: usize = 12;

/// What a PNG carries besides its picture.
#[derive(Debug, Clone, Default)]
pub(crate) struct PngExtras {
    /// Key and ASCII text of each text.
    pub(crate) texts: Vec<(String, String)>,
    /// Whether the texts are in chunks `comf` after the picture, as in animations, in place of text chunks before it.
    pub(crate) own_chunks: bool,
    /// The file is padded to at least so many bytes.
    pub(crate) at_least: usize,
}

/// Encodes a PNG, with an alpha channel if `alpha`.
pub(crate) fn png(picture: &RgbaImage, alpha: bool, extras: &PngExtras) -> Result<Blob, png::EncodingError> {
    let mut bytes = Vec::with_capacity(1024);
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(if alpha { png::ColorType::Rgba } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fastest);
    if !extras.own_chunks {
        for (key, text) in &extras.texts {
            encoder.add_text_chunk(key.clone(), text.clone())?;
        }
    }
    let mut writer = encoder.write_header()?;
    if alpha {
        writer.write_image_data(picture.as_raw())?;
    } else {
        writer.write_image_data(&without_alpha(picture))?;
    }
    if extras.own_chunks {
        for (key, text) in &extras.texts {
            writer.write_chunk(ChunkType(*b"comf"), format!("{key}\0{text}").as_bytes())?;
        }
    }
    writer.finish()?;
    if bytes.len() >= extras.at_least {
        return Ok(bytes.into());
    }
    let padding = padding((extras.at_least - bytes.len()).saturating_sub(CHUNK_OVERHEAD))?;
    let head = Bytes::from(bytes);
    let end = head.len().saturating_sub(END_LEN);
    Ok(Blob::padded(head.slice(..end), padding, head.slice(end..)))
}

fn without_alpha(picture: &RgbaImage) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(picture.as_raw().len() / 4 * 3);
    for pixel in picture.pixels() {
        let [red, green, blue, _] = pixel.0;
        bytes.extend_from_slice(&[red, green, blue]);
    }
    bytes
}

/// A chunk with so many zeros, from a cache: files of one size usually follow each other.
fn padding(zeros: usize) -> Result<Bytes, png::EncodingError> {
    static LAST: Mutex<Option<(usize, Bytes)>> = Mutex::new(None);
    // Lengths differ by a few bytes from file to file; rounding up makes them share one chunk.
    let zeros = zeros.next_multiple_of(4096);
    if let Some((_, bytes)) = lock(&LAST).as_ref().filter(|(cached, _)| *cached == zeros) {
        return Ok(bytes.clone());
    }
    let mut bytes = Vec::with_capacity(zeros + 64);
    let mut writer = png::Encoder::new(&mut bytes, 1, 1).write_header()?;
    writer.write_chunk(ChunkType(*b"siMp"), &vec![0; zeros])?;
    drop(writer);
    // The signature and the header come before the chunk, whatever the encoder adds comes after it.
    let chunk = Bytes::from(bytes).slice(33..33 + zeros + CHUNK_OVERHEAD);
    *lock(&LAST) = Some((zeros, chunk.clone()));
    Ok(chunk)
}

/// Encodes a JPEG of the given quality, 1 to 100.
pub(crate) fn jpeg(picture: &RgbaImage, quality: u8) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let picture = DynamicImage::ImageRgba8(picture.clone()).to_rgb8();
    JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100)).encode_image(&picture)?;
    Ok(bytes)
}

/// Encodes a WebP.
pub(crate) fn webp(picture: &DynamicImage) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_with_encoder(WebPEncoder::new_lossless(&mut bytes))?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_png_has_the_wanted_size_and_still_decodes() {
        let picture = RgbaImage::from_pixel(5, 4, image::Rgba([1, 2, 3, 255]));
        let extras = PngExtras { texts: vec![("prompt".into(), "{}".into())], at_least: 100_000, ..Default::default() };
        for _ in 0..2 {
            let file = png(&picture, false, &extras).unwrap();
            assert!(file.len() >= 100_000 && file.own_len() < 1000, "{} {}", file.len(), file.own_len());
            let read = image::load_from_memory(&file.to_bytes()).unwrap();
            assert_eq!(read.to_rgba8(), picture);
        }
    }
}
