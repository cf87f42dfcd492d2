//! Nodes that change the size of pictures.

use image::RgbaImage;
use image::imageops::{self, FilterType};

use super::value::{Datum, Pictures};
use super::{Job, Made, NodeError};

pub(super) fn run(job: &Job) -> Result<Made, NodeError> {
    let pictures = job.image("image")?.clone();
    let (width, height) = pictures.size();
    let class = job.definition.class.as_str();
    if class == "ImageCrop" {
        return Ok(Made::one(Datum::image(crop(job, &pictures))));
    }
    let (to_width, to_height) = match class {
        "ImageScale" => wanted_size(job, (width, height)),
        "ImageScaleBy" => by(job.float("scale_by"), width, height),
        "ImageUpscaleWithModel" => by(4.0, width, height),
        _ => {
            let pixels = f64::from(width) * f64::from(height);
            by((job.float("megapixels") * 1_048_576.0 / pixels.max(1.0)).sqrt(), width, height)
        }
    };
    job.allocate(u64::from(to_width) * u64::from(to_height) * pictures.frames.len() as u64)?;
    let size = job.fitted(to_width, to_height);
    let centred = job.text("crop") == "center";
    let filter = filter(job.text("upscale_method"));
    let frames = pictures.frames.iter().map(|frame| resized(frame, size, centred, filter)).collect();
    Ok(Made::one(Datum::image(Pictures { frames, alpha: pictures.alpha })))
}

fn filter(method: &str) -> FilterType {
    match method {
        "nearest-exact" => FilterType::Nearest,
        "lanczos" => FilterType::Lanczos3,
        "bicubic" => FilterType::CatmullRom,
        _ => FilterType::Triangle,
    }
}

/// The size that `ImageScale` asks for; 0 keeps the shape.
fn wanted_size(job: &Job, old: (u32, u32)) -> (u32, u32) {
    let (width, height) = old;
    match (job.size("width"), job.size("height")) {
        (0, 0) => old,
        (0, to_height) => (by(f64::from(to_height) / f64::from(height.max(1)), width, 1).0, to_height),
        (to_width, 0) => (to_width, by(f64::from(to_width) / f64::from(width.max(1)), height, 1).0),
        both => both,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to lengths of pictures")]
fn by(factor: f64, width: u32, height: u32) -> (u32, u32) {
    let scaled = |length: u32| (f64::from(length) * factor).round().clamp(1.0, 65_536.0) as u32;
    (scaled(width), scaled(height))
}

fn resized(frame: &RgbaImage, size: (u32, u32), centred: bool, filter: FilterType) -> RgbaImage {
    let (width, height) = size;
    if frame.dimensions() == size {
        return frame.clone();
    }
    if !centred {
        return imageops::resize(frame, width, height, filter);
    }
    let (old_width, old_height) = frame.dimensions();
    let (wide, high) = (u64::from(old_width) * u64::from(height), u64::from(old_height) * u64::from(width));
    let (keep_width, keep_height) = if wide > high {
        (u32::try_from(high / u64::from(height.max(1))).unwrap_or(old_width).max(1), old_height)
    } else {
        (old_width, u32::try_from(wide / u64::from(width.max(1))).unwrap_or(old_height).max(1))
    };
    let (left, top) = ((old_width - keep_width) / 2, (old_height - keep_height) / 2);
    let kept = imageops::crop_imm(frame, left, top, keep_width, keep_height).to_image();
    imageops::resize(&kept, width, height, filter)
}

fn crop(job: &Job, pictures: &Pictures) -> Pictures {
    let (width, height) = pictures.size();
    let left = job.size("x").min(width.saturating_sub(1));
    let top = job.size("y").min(height.saturating_sub(1));
    let (to_width, to_height) = (job.size("width").clamp(1, width - left), job.size("height").clamp(1, height - top));
    let cut = |frame: &RgbaImage| imageops::crop_imm(frame, left, top, to_width, to_height).to_image();
    Pictures { frames: pictures.frames.iter().map(cut).collect(), alpha: pictures.alpha }
}
