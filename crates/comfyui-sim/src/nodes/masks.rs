//! Nodes that make and change masks: one byte a pixel, bright means selected.

use image::imageops::{self, FilterType};
use image::{GrayImage, Luma, Rgba, RgbaImage};

use super::images::pairs;
use super::value::{Datum, Pictures};
use super::{Job, Made, NodeError};

pub(super) fn run(job: &Job) -> Result<Made, NodeError> {
    let class = job.definition.class.as_str();
    let masks = match class {
        "ImageToMask" => {
            let place = ["red", "green", "blue", "alpha"].iter().position(|name| *name == job.text("channel"));
            let place = place.unwrap_or(0);
            from_pictures(job, |pixel| pixel.0.get(place).copied().unwrap_or_default())?
        }
        "ImageColorToMask" => {
            let [_, red, green, blue] = job.size("color").to_be_bytes();
            from_pictures(job, |pixel| {
                let [pixel_red, pixel_green, pixel_blue, _] = pixel.0;
                if [pixel_red, pixel_green, pixel_blue] == [red, green, blue] { 255 } else { 0 }
            })?
        }
        "MaskToImage" => {
            let frames = job.mask("mask")?.iter().map(to_picture).collect();
            return Ok(Made::one(Datum::image(Pictures { frames, alpha: false })));
        }
        "InvertMask" => changed(job, |value| 255 - value)?,
        "ThresholdMask" => {
            let limit = job.float32("value");
            changed(job, |value| if f32::from(value) / 255.0 > limit { 255 } else { 0 })?
        }
        "GrowMask" => job.mask("mask")?.iter().map(|mask| grown(mask, job.int("expand"))).collect(),
        "FeatherMask" => job.mask("mask")?.iter().map(|mask| feathered(job, mask)).collect(),
        "MaskComposite" => {
            let (below, above) = (job.mask("destination")?, job.mask("source")?);
            pairs(below, above).map(|(one, other)| composite(job, one, other)).collect()
        }
        _ => {
            let (width, height) = job.fitted(job.size("width"), job.size("height"));
            vec![GrayImage::from_pixel(width, height, Luma([level(job.float("value"))]))]
        }
    };
    Ok(Made::one(Datum::mask(masks)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
fn level(value: f64) -> u8 {
    (value * 255.0).round().clamp(0.0, 255.0) as u8
}

pub(super) fn same_size(mask: &GrayImage, size: (u32, u32)) -> GrayImage {
    if mask.dimensions() == size {
        return mask.clone();
    }
    imageops::resize(mask, size.0, size.1, FilterType::Triangle)
}

fn from_pictures(job: &Job, value: impl Fn(&Rgba<u8>) -> u8) -> Result<Vec<GrayImage>, NodeError> {
    let of_frame = |frame: &RgbaImage| {
        let mut mask = GrayImage::new(frame.width(), frame.height());
        for (mask, pixel) in mask.pixels_mut().zip(frame.pixels()) {
            *mask = Luma([value(pixel)]);
        }
        mask
    };
    Ok(job.image("image")?.frames.iter().map(of_frame).collect())
}

fn to_picture(mask: &GrayImage) -> RgbaImage {
    let mut picture = RgbaImage::new(mask.width(), mask.height());
    for (pixel, Luma([value])) in picture.pixels_mut().zip(mask.pixels()) {
        *pixel = Rgba([*value, *value, *value, 255]);
    }
    picture
}

fn changed(job: &Job, change: impl Fn(u8) -> u8) -> Result<Vec<GrayImage>, NodeError> {
    let mut masks = Vec::clone(job.mask("mask")?);
    masks.iter_mut().for_each(|mask| mask.pixels_mut().for_each(|pixel| pixel.0[0] = change(pixel.0[0])));
    Ok(masks)
}

/// Grows the bright part by so many pixels, or shrinks it by a negative number, one pixel at a time.
fn grown(mask: &GrayImage, by: i64) -> GrayImage {
    let mut mask = mask.clone();
    for _ in 0..by.unsigned_abs().min(256) {
        let old = mask.clone();
        for (x, y, pixel) in mask.enumerate_pixels_mut() {
            let around = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
            let around = around.into_iter().filter_map(|(x, y)| old.get_pixel_checked(x, y)).map(|pixel| pixel.0[0]);
            let extreme = if by > 0 { around.max() } else { around.min() };
            let here = pixel.0[0];
            let extreme = extreme.unwrap_or(here);
            pixel.0[0] = if by > 0 { here.max(extreme) } else { here.min(extreme) };
        }
    }
    mask
}

/// Fades towards each edge over so many pixels.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a byte")]
fn feathered(job: &Job, mask: &GrayImage) -> GrayImage {
    let (width, height) = mask.dimensions();
    let fade = |distance: u32, over: u32| {
        if distance < over { f64::from(distance + 1) / f64::from(over) } else { 1.0 }
    };
    let (left, right) = (job.size("left"), job.size("right"));
    let (top, bottom) = (job.size("top"), job.size("bottom"));
    let mut out = mask.clone();
    for (x, y, pixel) in out.enumerate_pixels_mut() {
        let across = fade(x, left) * fade(width - 1 - x, right);
        let down = fade(y, top) * fade(height - 1 - y, bottom);
        pixel.0[0] = (f64::from(pixel.0[0]) * across * down) as u8;
    }
    out
}

fn composite(job: &Job, below: &GrayImage, above: &GrayImage) -> GrayImage {
    let mut out = below.clone();
    for (x, y, Luma([source])) in above.enumerate_pixels() {
        if let Some(target) = out.get_pixel_mut_checked(x + job.size("x"), y + job.size("y")) {
            target.0[0] = combined(job.text("operation"), target.0[0], *source);
        }
    }
    out
}

fn combined(operation: &str, below: u8, above: u8) -> u8 {
    let bit = |value: bool| if value { 255 } else { 0 };
    let (one, other) = (below > 127, above > 127);
    match operation {
        "multiply" => u8::try_from(u16::from(below) * u16::from(above) / 255).unwrap_or(u8::MAX),
        "add" => below.saturating_add(above),
        "subtract" => below.saturating_sub(above),
        "and" => bit(one && other),
        "or" => bit(one || other),
        _ => bit(one != other),
    }
}
