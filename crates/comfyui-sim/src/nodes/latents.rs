//! Latents: empty ones, sampling, encoding and decoding, and the small nodes around them.
//! A sampler paints nothing; it notes what decoding will paint.

use std::sync::Arc;

use image::imageops::{self, FilterType};
use image::{Rgba, RgbaImage};
use serde_json::Value;

use super::value::{Datum, Latent, Pictures, Sampled};
use super::{Job, Made, NodeError};
use crate::picture::{self, Scene};

/// What a sampler is about to do.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    pub(crate) steps: u32,
    seed: u64,
    text: Arc<str>,
    width: u32,
    height: u32,
}

/// The steps of a sampler. None for every other class.
pub(crate) fn sampling(job: &Job) -> Option<Sampling> {
    let sampled = sampled(job)?;
    let latent = job.latent("latent_image").ok()?;
    Some(Sampling {
        steps: sampled.steps,
        seed: sampled.seed,
        text: sampled.text,
        width: latent.width,
        height: latent.height,
    })
}

/// The picture that a preview of a step shows, at most `edge` pixels wide and high.
pub(crate) fn preview_scene(sampling: &Sampling, step: u32, edge: u32) -> Scene<'_> {
    let longest = sampling.width.max(sampling.height).max(1);
    let scaled = |length: u32| (length * edge / longest).clamp(1, edge);
    Scene {
        width: scaled(sampling.width),
        height: scaled(sampling.height),
        seed: sampling.seed,
        steps: step,
        text: &sampling.text,
        index: 0,
    }
}

/// None: not one of these classes.
pub(super) fn run(job: &Job) -> Result<Option<Made>, NodeError> {
    let class = job.definition.class.as_str();
    let made = match class {
        "CLIPTextEncode" => Made::one(Datum::Conditioning(job.text("text").into())),
        "ConditioningCombine" => Made::one(combine(job)),
        "BasicGuider" => Made::one(Datum::Guider(conditioning(job, "conditioning"))),
        "RandomNoise" => Made::one(Datum::Noise(job.unsigned("noise_seed"))),
        "BasicScheduler" => Made::one(Datum::Sigmas { steps: job.size("steps"), denoise: job.float32("denoise") }),
        "EmptyLatentImage" | "EmptySD3LatentImage" => Made::one(Datum::latent(Latent {
            width: job.size("width"),
            height: job.size("height"),
            batch: job.size("batch_size"),
            ..Latent::default()
        })),
        "KSampler" | "KSamplerAdvanced" | "SamplerCustomAdvanced" => sample(job)?,
        "VAEDecode" | "VAEDecodeTiled" => {
            let latent = job.latent("samples")?;
            job.allocate(latent.pixels())?;
            Made::one(Datum::image(decode(job, latent)))
        }
        "VAEEncode" => Made::one(encode(job, "pixels", None)?),
        "VAEEncodeForInpaint" => Made::one(encode(job, "pixels", Some(job.mask("mask")?.clone()))?),
        "SetLatentNoiseMask" => {
            let mask = Some(job.mask("mask")?.clone());
            Made::one(changed(job, |latent| Latent { mask, ..latent })?)
        }
        "LatentUpscale" => Made::one(upscale(job)?),
        "LatentUpscaleBy" => Made::one(upscale_by(job)?),
        "RepeatLatentBatch" => {
            let amount = job.size("amount").max(1);
            Made::one(changed(job, |latent| Latent { batch: latent.batch.saturating_mul(amount), ..latent })?)
        }
        "LatentFromBatch" => {
            let length = job.size("length").max(1);
            Made::one(changed(job, |latent| Latent { batch: latent.batch.min(length), ..latent })?)
        }
        _ => return Ok(None),
    };
    Ok(Some(made))
}

fn conditioning(job: &Job, name: &str) -> Arc<str> {
    match job.inputs.get(name) {
        Some(Datum::Conditioning(text) | Datum::Guider(text)) => text.clone(),
        _ => Arc::from(""),
    }
}

fn combine(job: &Job) -> Datum {
    let (first, second) = (conditioning(job, "conditioning_1"), conditioning(job, "conditioning_2"));
    Datum::Conditioning(format!("{first}, {second}").into())
}

fn changed(job: &Job, change: impl FnOnce(Latent) -> Latent) -> Result<Datum, NodeError> {
    Ok(Datum::latent(change(Latent::clone(job.latent("samples")?))))
}

fn upscale(job: &Job) -> Result<Datum, NodeError> {
    let old = job.latent("samples")?.clone();
    let (width, height) = match (job.size("width"), job.size("height")) {
        (0, 0) => (old.width, old.height),
        (0, height) => (scaled(old.width, f64::from(height) / f64::from(old.height.max(1))), height),
        (width, 0) => (width, scaled(old.height, f64::from(width) / f64::from(old.width.max(1)))),
        both => both,
    };
    job.allocate(u64::from(width) * u64::from(height) * u64::from(old.batch))?;
    changed(job, |latent| Latent { width, height, ..latent })
}

fn upscale_by(job: &Job) -> Result<Datum, NodeError> {
    let old = job.latent("samples")?;
    let factor = job.float("scale_by");
    let (width, height) = (scaled(old.width, factor), scaled(old.height, factor));
    job.allocate(u64::from(width) * u64::from(height) * u64::from(old.batch))?;
    changed(job, |latent| Latent { width, height, ..latent })
}

/// A length times a factor, in whole cells of eight pixels.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lengths of pictures")]
fn scaled(length: u32, factor: f64) -> u32 {
    let cells = (f64::from(length) * factor / 8.0).round();
    (cells.clamp(1.0, 8192.0) as u32) * 8
}

fn sampled(job: &Job) -> Option<Sampled> {
    let sampled = match job.definition.class.as_str() {
        "KSampler" => Sampled {
            seed: job.unsigned("seed"),
            steps: job.size("steps"),
            text: conditioning(job, "positive"),
            denoise: job.float32("denoise"),
        },
        "KSamplerAdvanced" => {
            let steps = job.size("steps");
            let start = job.size("start_at_step").min(steps);
            let done = job.size("end_at_step").min(steps).saturating_sub(start);
            let text = conditioning(job, "positive");
            Sampled { seed: job.unsigned("noise_seed"), steps: done, text, denoise: share(done, steps) }
        }
        "SamplerCustomAdvanced" => {
            let seed = if let Some(Datum::Noise(seed)) = job.inputs.get("noise") { *seed } else { 0 };
            let (steps, denoise) = match job.inputs.get("sigmas") {
                Some(Datum::Sigmas { steps, denoise }) => (*steps, *denoise),
                _ => (20, 1.0),
            };
            Sampled { seed, steps, text: conditioning(job, "guider"), denoise }
        }
        _ => return None,
    };
    Some(sampled)
}

#[expect(clippy::cast_precision_loss, reason = "numbers of steps")]
fn share(part: u32, whole: u32) -> f32 {
    part as f32 / whole.max(1) as f32
}

fn sample(job: &Job) -> Result<Made, NodeError> {
    let old = job.latent("latent_image")?;
    job.allocate(old.pixels())?;
    let mut latent = Latent::clone(old);
    // What an earlier sampler painted is the base of this one.
    if latent.sampled.is_some() {
        latent.base = Some(Arc::new(decode(job, old)));
    }
    latent.sampled = sampled(job);
    let latent = Datum::latent(latent);
    Ok(Made::values(vec![latent.clone(), latent]))
}

fn encode(job: &Job, name: &str, mask: Option<Arc<Vec<image::GrayImage>>>) -> Result<Datum, NodeError> {
    let pictures = job.image(name)?;
    let (width, height) = pictures.size();
    let batch = u32::try_from(pictures.frames.len()).unwrap_or(u32::MAX);
    job.allocate(pictures.pixels())?;
    Ok(Datum::latent(Latent { width, height, batch, sampled: None, base: Some(pictures.clone()), mask }))
}

fn decode(job: &Job, latent: &Latent) -> Pictures {
    let (width, height) = job.fitted(latent.width.max(1), latent.height.max(1));
    let frames = (0..latent.batch.max(1)).map(|index| decode_one(job, latent, index, (width, height)));
    Pictures { frames: frames.collect(), alpha: false }
}

fn decode_one(job: &Job, latent: &Latent, index: u32, size: (u32, u32)) -> RgbaImage {
    let (width, height) = size;
    let base = latent.base.as_ref().and_then(|base| {
        let place = (index as usize).checked_rem(base.frames.len())?;
        let frame = base.frames.get(place)?;
        Some(if frame.dimensions() == size {
            frame.clone()
        } else {
            imageops::resize(frame, width, height, FilterType::Triangle)
        })
    });
    let Some(sampled) = &latent.sampled else {
        return base.unwrap_or_else(|| RgbaImage::from_pixel(width, height, Rgba([127, 127, 127, 255])));
    };
    let scene = Scene { width, height, seed: sampled.seed, steps: sampled.steps, text: &sampled.text, index };
    let painted = if job.shop.switches.fast_render { picture::tiny(&scene) } else { picture::paint(&scene) };
    match base {
        Some(base) => blend(base, &painted, sampled.denoise, latent.mask.as_deref()),
        None => painted,
    }
}

/// Paints over a base: as much as `denoise` says, and only where the mask is bright.
fn blend(mut base: RgbaImage, painted: &RgbaImage, denoise: f32, mask: Option<&Vec<image::GrayImage>>) -> RgbaImage {
    let (width, height) = base.dimensions();
    let mask = mask.and_then(|masks| masks.first()).map(|mask| {
        if mask.dimensions() == (width, height) {
            mask.clone()
        } else {
            imageops::resize(mask, width, height, FilterType::Triangle)
        }
    });
    for (x, y, pixel) in base.enumerate_pixels_mut() {
        let bright = mask.as_ref().map_or(1.0, |mask| f32::from(mask.get_pixel(x, y).0[0]) / 255.0);
        let part = (denoise * bright).clamp(0.0, 1.0);
        for (old, new) in pixel.0.iter_mut().zip(painted.get_pixel(x, y).0) {
            *old = super::images::lerp(*old, new, part);
        }
    }
    base
}

/// The literal that a primitive node holds.
pub(super) fn literal(job: &Job) -> Option<Value> {
    job.plain("value").cloned()
}
