//! What the node classes do: from inputs to outputs, without delays, events or interrupts.
//! Blocks while it computes; the caller decides on which thread.

mod fault;
mod images;
mod latents;
mod load;
mod masks;
mod pass;
mod save;
mod scale;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::config::Profile;
use crate::definitions::Definition;
use crate::files::FileStore;
use crate::switches::Switches;
use image::GrayImage;

pub(crate) use fault::NodeError;
pub(crate) use latents::{Sampling, preview_scene, sampling};
pub(crate) use load::annotated_key;
pub(crate) use value::{Datum, Latent, Pictures};

/// What all nodes of one run share.
pub(crate) struct Workshop {
    pub(crate) files: Arc<FileStore>,
    pub(crate) switches: Arc<Switches>,
    pub(crate) profile: Profile,
    pub(crate) prompt: Arc<Value>,
    pub(crate) extra: Arc<Value>,
    /// Decides the names of temporary files.
    pub(crate) seed: u64,
}

/// One node with its inputs.
pub(crate) struct Job {
    pub(crate) definition: Arc<Definition>,
    pub(crate) inputs: HashMap<String, Datum>,
    pub(crate) shop: Arc<Workshop>,
}

/// What a node made.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) values: Vec<Datum>,
    /// The `output` of `executed`; None for a node without one.
    pub(crate) ui: Option<Map<String, Value>>,
    /// PNG pictures that go out as preview frames.
    pub(crate) frames: Vec<Bytes>,
    /// A text that goes out as a text frame.
    pub(crate) text: Option<String>,
}

impl Made {
    fn values(values: Vec<Datum>) -> Self {
        Self { values, ..Self::default() }
    }

    fn one(value: Datum) -> Self {
        Self::values(vec![value])
    }
}

/// Runs a node.
pub(crate) fn run(job: &Job) -> Result<Made, NodeError> {
    let class = job.definition.class.as_str();
    if let Some(fault) = job.shop.switches.fail_node.as_ref().filter(|fault| fault.class_type == class) {
        return Err(NodeError::new(&fault.exception_type, &fault.message));
    }
    match class {
        "LoadImage" | "LoadImageMask" | "LoadImageOutput" => load::run(job),
        "SaveImage" | "PreviewImage" | "SaveImageWebsocket" | "SaveAnimatedWEBP" | "SaveAnimatedPNG" | "PreviewAny"
        | "SaveWEBM" | "SaveVideo" | "SaveAudio" | "SaveAudioMP3" | "PreviewAudio" | "SaveGLB" => save::run(job),
        "ImageScale" | "ImageScaleBy" | "ImageScaleToTotalPixels" | "ImageUpscaleWithModel" | "ImageCrop" => {
            scale::run(job)
        }
        "EmptyImage"
        | "ImageInvert"
        | "ImageBlur"
        | "ImageSharpen"
        | "ImageBlend"
        | "ImageBatch"
        | "ImageQuantize"
        | "JoinImageWithAlpha"
        | "SplitImageWithAlpha"
        | "ImageCompositeMasked"
        | "ImagePadForOutpaint"
        | "GetImageSize" => images::run(job),
        "ImageToMask" | "ImageColorToMask" | "MaskToImage" | "InvertMask" | "GrowMask" | "FeatherMask"
        | "ThresholdMask" | "SolidMask" | "MaskComposite" => masks::run(job),
        _ => match latents::run(job)? {
            Some(made) => Ok(made),
            None => Ok(pass::run(job)),
        },
    }
}

impl Job {
    /// Whether running it takes long enough to leave the async threads.
    pub(crate) fn is_heavy(&self) -> bool {
        const INLINE_PIXELS: u64 = 96 * 96;
        if matches!(self.definition.class.as_str(), "LoadImage" | "LoadImageMask" | "LoadImageOutput") {
            return true;
        }
        let literal = |name: &str| self.inputs.get(name).and_then(|datum| plain(datum)?.as_u64()).unwrap_or(1);
        let made = literal("width").saturating_mul(literal("height")).saturating_mul(literal("batch_size"));
        let given = self.inputs.values().map(|datum| match datum {
            Datum::Image(pictures) => pictures.pixels(),
            Datum::Latent(latent) => latent.pixels(),
            Datum::Mask(masks) => masks.iter().map(|mask| mask.len() as u64).sum(),
            _ => 0,
        });
        given.sum::<u64>().max(made) > INLINE_PIXELS
    }

    fn datum(&self, name: &str) -> Result<&Datum, NodeError> {
        let missing = || NodeError::new("TypeError", &format!("missing 1 required positional argument: '{name}'"));
        self.inputs.get(name).ok_or_else(missing)
    }

    fn plain(&self, name: &str) -> Option<&Value> {
        plain(self.inputs.get(name)?)
    }

    fn float(&self, name: &str) -> f64 {
        self.plain(name).and_then(Value::as_f64).unwrap_or(0.0)
    }

    #[expect(clippy::cast_possible_truncation, reason = "pixels and intensities")]
    fn float32(&self, name: &str) -> f32 {
        self.float(name) as f32
    }

    fn int(&self, name: &str) -> i64 {
        self.plain(name).and_then(Value::as_i64).unwrap_or(0)
    }

    fn unsigned(&self, name: &str) -> u64 {
        self.plain(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A size, a count or an offset.
    fn size(&self, name: &str) -> u32 {
        u32::try_from(self.unsigned(name)).unwrap_or(u32::MAX)
    }

    fn text(&self, name: &str) -> &str {
        self.plain(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn image(&self, name: &str) -> Result<&Arc<Pictures>, NodeError> {
        match self.datum(name)? {
            Datum::Image(pictures) => Ok(pictures),
            other => Err(wrong_type(name, "IMAGE", other)),
        }
    }

    fn mask(&self, name: &str) -> Result<&Arc<Vec<GrayImage>>, NodeError> {
        match self.datum(name)? {
            Datum::Mask(masks) => Ok(masks),
            other => Err(wrong_type(name, "MASK", other)),
        }
    }

    fn latent(&self, name: &str) -> Result<&Arc<Latent>, NodeError> {
        match self.datum(name)? {
            Datum::Latent(latent) => Ok(latent),
            other => Err(wrong_type(name, "LATENT", other)),
        }
    }

    /// The size that generated pictures get: a tiny one in the fast mode.
    fn fitted(&self, width: u32, height: u32) -> (u32, u32) {
        if self.shop.switches.fast_render {
            (width.min(crate::picture::TINY), height.min(crate::picture::TINY))
        } else {
            (width, height)
        }
    }

    /// Fails when so many pixels do not fit into the memory of the device.
    fn allocate(&self, pixels: u64) -> Result<(), NodeError> {
        match self.shop.switches.memory_limit_pixels {
            Some(limit) if pixels > limit => Err(NodeError::out_of_memory(self.shop.switches.oom_style, pixels)),
            _ => Ok(()),
        }
    }
}

fn plain(datum: &Datum) -> Option<&Value> {
    match datum {
        Datum::Plain(value) => Some(value),
        _ => None,
    }
}

fn wrong_type(name: &str, wanted: &str, given: &Datum) -> NodeError {
    let given = given.type_name().unwrap_or("a literal");
    NodeError::new("AttributeError", &format!("input {name} should be {wanted} and is {given}"))
}
