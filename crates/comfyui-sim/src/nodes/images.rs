//! Nodes that make and change pictures, pixel by pixel.

use image::imageops::{self, FilterType};
use image::{GrayImage, Luma, Rgba, RgbaImage};
use serde_json::Value;

use super::value::{Datum, Pictures};
use super::{Job, Made, NodeError};

pub(super) fn run(job: &Job) -> Result<Made, NodeError> {
    let image = |frames: Vec<RgbaImage>, alpha: bool| Made::one(Datum::image(Pictures { frames, alpha }));
    Ok(match job.definition.class.as_str() {
        "EmptyImage" => {
            let (width, height) = job.fitted(job.size("width"), job.size("height"));
            let [_, red, green, blue] = job.size("color").to_be_bytes();
            let frame = RgbaImage::from_pixel(width, height, Rgba([red, green, blue, 255]));
            image(vec![frame; job.size("batch_size") as usize], false)
        }
        "ImageInvert" => mapped(job, |pixel| {
            let [red, green, blue, alpha] = pixel.0;
            *pixel = Rgba([255 - red, 255 - green, 255 - blue, alpha]);
        })?,
        "ImageQuantize" => {
            let levels = levels(job.size("colors"));
            mapped(job, |pixel| pixel.0.iter_mut().take(3).for_each(|value| *value = quantized(*value, levels)))?
        }
        "ImageBlur" | "ImageSharpen" => {
            let pictures = job.image("image")?;
            image(pictures.frames.iter().map(|frame| filtered(job, frame)).collect(), pictures.alpha)
        }
        "ImageBlend" => {
            let (first, second) = (job.image("image1")?, job.image("image2")?);
            let frames = pairs(&first.frames, &second.frames).map(|(one, other)| blended(job, one, other));
            image(frames.collect(), first.alpha)
        }
        "ImageBatch" => {
            let (first, second) = (job.image("image1")?, job.image("image2")?);
            let size = first.size();
            let rest = second.frames.iter().map(|frame| same_size(frame, size));
            image(first.frames.iter().cloned().chain(rest).collect(), first.alpha && second.alpha)
        }
        "JoinImageWithAlpha" => {
            let (pictures, masks) = (job.image("image")?, job.mask("alpha")?);
            image(pairs(&pictures.frames, masks).map(|(frame, mask)| joined(frame, mask)).collect(), true)
        }
        "SplitImageWithAlpha" => split(job.image("image")?),
        "ImageCompositeMasked" => composite(job)?,
        "ImagePadForOutpaint" => padded(job)?,
        _ => size(job.image("image")?),
    })
}

fn mapped(job: &Job, change: impl Fn(&mut Rgba<u8>)) -> Result<Made, NodeError> {
    let mut pictures = Pictures::clone(job.image("image")?);
    pictures.frames.iter_mut().for_each(|frame| frame.pixels_mut().for_each(&change));
    Ok(Made::one(Datum::image(pictures)))
}

/// Each of the first with one of the second, which starts over when it is shorter.
pub(super) fn pairs<'a, A, B>(first: &'a [A], second: &'a [B]) -> impl Iterator<Item = (&'a A, &'a B)> {
    first.iter().zip(second.iter().cycle())
}

/// Between two bytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "stays between two bytes")]
pub(super) fn lerp(from: u8, to: u8, part: f32) -> u8 {
    (f32::from(from) + (f32::from(to) - f32::from(from)) * part).round() as u8
}

fn same_size(frame: &RgbaImage, size: (u32, u32)) -> RgbaImage {
    if frame.dimensions() == size {
        return frame.clone();
    }
    imageops::resize(frame, size.0, size.1, FilterType::Triangle)
}

/// How many levels a channel may have so that all three together stay below so many colours.
fn levels(colours: u32) -> u32 {
    (2..=6).rev().find(|level| level * level * level <= colours).unwrap_or(2)
}

fn quantized(value: u8, levels: u32) -> u8 {
    let top = levels - 1;
    let level = (u32::from(value) * top + 127) / 255;
    u8::try_from(level * 255 / top).unwrap_or(u8::MAX)
}

fn filtered(job: &Job, frame: &RgbaImage) -> RgbaImage {
    let sigma = job.float32("sigma").max(0.1);
    let soft = imageops::fast_blur(frame, sigma);
    if job.definition.class == "ImageBlur" {
        return soft;
    }
    let strength = job.float32("alpha");
    let mut sharp = frame.clone();
    for (pixel, soft) in sharp.pixels_mut().zip(soft.pixels()) {
        for (value, soft) in pixel.0.iter_mut().zip(soft.0).take(3) {
            *value = byte(f32::from(*value) + (f32::from(*value) - f32::from(soft)) * strength);
        }
    }
    sharp
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
fn byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

fn blended(job: &Job, one: &RgbaImage, other: &RgbaImage) -> RgbaImage {
    let factor = job.float32("blend_factor");
    let other = same_size(other, one.dimensions());
    let mut out = one.clone();
    for (pixel, other) in out.pixels_mut().zip(other.pixels()) {
        for (value, other) in pixel.0.iter_mut().zip(other.0).take(3) {
            let mixed = blend_mode(job.text("blend_mode"), f32::from(*value) / 255.0, f32::from(other) / 255.0);
            *value = lerp(*value, byte(mixed * 255.0), factor);
        }
    }
    out
}

fn blend_mode(mode: &str, one: f32, other: f32) -> f32 {
    match mode {
        "multiply" => one * other,
        "screen" => 1.0 - (1.0 - one) * (1.0 - other),
        "overlay" if one <= 0.5 => 2.0 * one * other,
        "overlay" => 1.0 - 2.0 * (1.0 - one) * (1.0 - other),
        "soft_light" if other <= 0.5 => one - (1.0 - 2.0 * other) * one * (1.0 - one),
        "soft_light" => one + (2.0 * other - 1.0) * (one.sqrt() - one),
        "difference" => (one - other).abs(),
        _ => other,
    }
}

/// A mask is bright where the picture is to be transparent.
fn joined(frame: &RgbaImage, mask: &GrayImage) -> RgbaImage {
    let mask = super::masks::same_size(mask, frame.dimensions());
    let mut out = frame.clone();
    for (pixel, mask) in out.pixels_mut().zip(mask.pixels()) {
        pixel.0[3] = 255 - mask.0[0];
    }
    out
}

fn split(pictures: &Pictures) -> Made {
    let mut frames = pictures.frames.clone();
    let mut masks = Vec::with_capacity(frames.len());
    for frame in &mut frames {
        let mut mask = GrayImage::new(frame.width(), frame.height());
        for (mask, pixel) in mask.pixels_mut().zip(frame.pixels_mut()) {
            *mask = Luma([255 - pixel.0[3]]);
            pixel.0[3] = 255;
        }
        masks.push(mask);
    }
    Made::values(vec![Datum::image(Pictures { frames, alpha: false }), Datum::mask(masks)])
}

fn composite(job: &Job) -> Result<Made, NodeError> {
    let (below, above) = (job.image("destination")?, job.image("source")?);
    let masks = job.mask("mask").ok();
    let mut frames = below.frames.clone();
    for (place, frame) in frames.iter_mut().enumerate() {
        let Some(source) = above.frames.get(place.checked_rem(above.frames.len()).unwrap_or(0)) else { continue };
        let stretch = job.plain("resize_source").and_then(Value::as_bool).unwrap_or(false);
        let source = if stretch { same_size(source, frame.dimensions()) } else { source.clone() };
        let mask = masks.and_then(|masks| masks.get(place.checked_rem(masks.len())?));
        let mask = mask.map(|mask| super::masks::same_size(mask, source.dimensions()));
        for (x, y, pixel) in source.enumerate_pixels() {
            let part = mask.as_ref().map_or(1.0, |mask| f32::from(mask.get_pixel(x, y).0[0]) / 255.0);
            if let Some(target) = frame.get_pixel_mut_checked(x + job.size("x"), y + job.size("y")) {
                for (old, new) in target.0.iter_mut().zip(pixel.0) {
                    *old = lerp(*old, new, part);
                }
            }
        }
    }
    Ok(Made::one(Datum::image(Pictures { frames, alpha: below.alpha })))
}

fn padded(job: &Job) -> Result<Made, NodeError> {
    let pictures = job.image("image")?;
    let (width, height) = pictures.size();
    let (left, top) = (job.size("left"), job.size("top"));
    let wide = width.saturating_add(left).saturating_add(job.size("right"));
    let high = height.saturating_add(top).saturating_add(job.size("bottom"));
    job.allocate(u64::from(wide) * u64::from(high))?;
    let mut frames = Vec::with_capacity(pictures.frames.len());
    for frame in &pictures.frames {
        let mut out = RgbaImage::from_pixel(wide, high, Rgba([127, 127, 127, 255]));
        imageops::replace(&mut out, frame, i64::from(left), i64::from(top));
        frames.push(out);
    }
    let mut mask = GrayImage::from_pixel(wide, high, Luma([255]));
    imageops::replace(&mut mask, &GrayImage::new(width, height), i64::from(left), i64::from(top));
    Ok(Made::values(vec![Datum::image(Pictures { frames, alpha: pictures.alpha }), Datum::mask(vec![mask])]))
}

fn size(pictures: &Pictures) -> Made {
    let (width, height) = pictures.size();
    let batch = pictures.frames.len();
    let values = [Value::from(width), Value::from(height), Value::from(batch)].map(Datum::Plain).to_vec();
    let text = format!("width: {width}, height: {height}\n batch size: {batch}");
    Made { values, text: Some(text), ..Made::default() }
}
