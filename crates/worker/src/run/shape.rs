//! The form in which outputs are stored: converted where their owner asked for a format, and without what ComfyUI wrote
//! into them of prompt and workflow where the operator wants that.

use bytes::Bytes;
use gateway_core::OutputKind;
use gateway_core::event::LogLevel;
use gateway_media::{Conversion, ConvertError, Converted, InspectLimits, Stripper, convert, inspect};

use super::Run;
use super::collect::CollectError;
use super::sniff::Sniffed;

/// Largest picture that is converted, in bytes: it is held in memory meanwhile.
pub(super) const LARGEST: usize = 64 << 20;

/// Takes bytes as they came and gives them as they are stored.
pub(super) enum Sieve {
    /// As they came.
    Open,
    /// Without metadata.
    Strip(Box<Stripper>),
}

impl Sieve {
    pub(super) fn push(&mut self, bytes: Bytes) -> Result<Bytes, CollectError> {
        match self {
            Self::Open => Ok(bytes),
            Self::Strip(stripper) => stripper.push(bytes).map_err(CollectError::Strip),
        }
    }

    pub(super) fn finish(self) -> Result<Bytes, CollectError> {
        match self {
            Self::Open => Ok(Bytes::new()),
            Self::Strip(stripper) => stripper.finish().map_err(CollectError::Strip),
        }
    }
}

impl Run {
    /// What goes through it is stored.
    pub(super) fn sieve(&self, sniffed: &Sniffed) -> Sieve {
        let strip = self.context.parts.files.strip_metadata && Stripper::knows(sniffed.true_type);
        if strip { Sieve::Strip(Box::new(Stripper::new(sniffed.true_type))) } else { Sieve::Open }
    }

    /// What the owner wants this output to be converted to.
    pub(super) fn conversion(&self, sniffed: &Sniffed) -> Option<Conversion> {
        let options = &self.job.options;
        let format = options.format.as_deref();
        if sniffed.kind != OutputKind::Image || (format.is_none() && options.quality.is_none()) {
            return None;
        }
        Conversion::new(format, options.quality, None, None).ok().filter(|conversion| !conversion.is_nothing())
    }

    /// The picture in `bytes`, converted. `None` where it is to stay as it is: it moves, or can't be converted.
    pub(super) async fn converted(&mut self, bytes: Bytes, conversion: Conversion) -> Option<Converted> {
        let context = std::sync::Arc::clone(&self.context);
        let _turn = context.conversions.acquire().await;
        let work = move || {
            let facts = inspect(&bytes, &InspectLimits::default()).map_err(ConvertError::Refused)?;
            if facts.frames.is_some_and(|frames| frames > 1) {
                return Ok(None);
            }
            convert(&bytes, &conversion).map(Some)
        };
        let problem = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(Some(converted))) => return Some(converted),
            Ok(Ok(None)) => String::from("it moves"),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.log(LogLevel::Warn, "not_converted", format!("an output stays as ComfyUI made it: {problem}"));
        None
    }
}
