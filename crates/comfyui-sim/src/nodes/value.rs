//! What flows between nodes. A model is only its name here; pictures and masks are real.

use std::sync::Arc;

use image::{GrayImage, RgbaImage};
use serde_json::Value;

/// Pictures of one batch, all of one size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pictures {
    pub(crate) frames: Vec<RgbaImage>,
    /// Whether there is an alpha channel; without one every pixel is opaque.
    pub(crate) alpha: bool,
}

impl Pictures {
    pub(crate) fn size(&self) -> (u32, u32) {
        self.frames.first().map_or((0, 0), RgbaImage::dimensions)
    }

    pub(crate) fn pixels(&self) -> u64 {
        let (width, height) = self.size();
        u64::from(width) * u64::from(height) * self.frames.len() as u64
    }
}

/// What will be painted when it is decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latent {
    /// In pixels of the decoded picture.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) batch: u32,
    pub(crate) sampled: Option<Sampled>,
    /// The picture it was encoded from.
    pub(crate) base: Option<Arc<Pictures>>,
    /// Limits sampling to where it is bright.
    pub(crate) mask: Option<Arc<Vec<GrayImage>>>,
}

impl Latent {
    pub(crate) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * u64::from(self.batch)
    }
}

/// What a sampler did to a latent.
#[derive(Debug, Clone)]
pub(crate) struct Sampled {
    pub(crate) seed: u64,
    pub(crate) steps: u32,
    pub(crate) text: Arc<str>,
    /// How much of the base is painted over, 0 to 1.
    pub(crate) denoise: f32,
}

/// One value on a link.
#[derive(Debug, Clone)]
pub(crate) enum Datum {
    Conditioning(Arc<str>),
    Guider(Arc<str>),
    Noise(u64),
    Sigmas {
        steps: u32,
        denoise: f32,
    },
    Latent(Arc<Latent>),
    Image(Arc<Pictures>),
    Mask(Arc<Vec<GrayImage>>),
    /// A literal of the prompt or a computed number or text.
    Plain(Value),
    /// Anything else, by its type.
    Other(Arc<str>),
}

impl Datum {
    /// The type that `object_info` calls this. None for literals, which have several.
    pub(crate) fn type_name(&self) -> Option<&str> {
        Some(match self {
            Self::Conditioning(_) => "CONDITIONING",
            Self::Guider(_) => "GUIDER",
            Self::Noise(_) => "NOISE",
            Self::Sigmas { .. } => "SIGMAS",
            Self::Latent(_) => "LATENT",
            Self::Image(_) => "IMAGE",
            Self::Mask(_) => "MASK",
            Self::Plain(_) => return None,
            Self::Other(name) => name,
        })
    }

    pub(crate) fn other(name: &str) -> Self {
        Self::Other(name.into())
    }

    pub(crate) fn image(pictures: Pictures) -> Self {
        Self::Image(Arc::new(pictures))
    }

    pub(crate) fn mask(masks: Vec<GrayImage>) -> Self {
        Self::Mask(Arc::new(masks))
    }

    pub(crate) fn latent(latent: Latent) -> Self {
        Self::Latent(Arc::new(latent))
    }
}
