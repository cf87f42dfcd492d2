//! Every class that has no code of its own: what comes in with the right type goes out, the rest is made up.

use image::{GrayImage, Rgba, RgbaImage};
use serde_json::Value;

use super::value::{Datum, Latent, Pictures};
use super::{Job, Made, latents};

/// The edge of made-up pictures.
const EDGE: u32 = 64;

pub(super) fn run(job: &Job) -> Made {
    let values = job.definition.outputs.iter().map(|wanted| value_of(job, wanted)).collect();
    let ui = job.definition.is_output.then(serde_json::Map::new).filter(|_| job.definition.outputs.is_empty());
    Made { values, ui, ..Made::default() }
}

fn value_of(job: &Job, wanted: &str) -> Datum {
    let passed = job.definition.inputs.iter().filter(|input| input.is_named(wanted)).find_map(|input| {
        let datum = job.inputs.get(&input.name)?;
        datum.type_name().is_none_or(|name| name == wanted).then(|| datum.clone())
    });
    passed.unwrap_or_else(|| placeholder(job, wanted))
}

fn placeholder(job: &Job, wanted: &str) -> Datum {
    match wanted {
        "IMAGE" => {
            let frame = RgbaImage::from_pixel(EDGE, EDGE, Rgba([128, 128, 128, 255]));
            Datum::image(Pictures { frames: vec![frame], alpha: false })
        }
        "MASK" => Datum::mask(vec![GrayImage::new(EDGE, EDGE)]),
        "LATENT" => Datum::latent(Latent { width: EDGE, height: EDGE, batch: 1, ..Latent::default() }),
        "CONDITIONING" => Datum::Conditioning("".into()),
        "INT" => Datum::Plain(latents::literal(job).unwrap_or(Value::from(0))),
        "FLOAT" => Datum::Plain(latents::literal(job).unwrap_or(Value::from(0.0))),
        "STRING" => Datum::Plain(latents::literal(job).unwrap_or(Value::from(""))),
        "BOOLEAN" => Datum::Plain(Value::from(false)),
        other => Datum::other(other),
    }
}
