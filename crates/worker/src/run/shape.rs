//! The form in which outputs are stored: converted where their owner asked for a format, and without what ComfyUI wrote
//! into them of prompt and workflow where the operator wants that. In privacy mode what can't be freed of it is not stored.

use std::sync::Arc;

use bytes::Bytes;
use gateway_core::OutputKind;
use gateway_core::event::LogLevel;
use gateway_media::{Conversion, ConvertError, Converted, InspectLimits, Share, Stripper, convert, inspect};

use super::Run;
use super::collect::{CollectError, TEXT};
use super::sniff::Sniffed;

/// Largest picture that is converted, in bytes: it is held in memory meanwhile.
pub(super) const LARGEST: usize = 64 << 20;

/// What stands in every prompt, however ComfyUI writes it into a file.
const SIGN: &[u8] = b"class_type";

/// Takes bytes as they came and gives them as they are stored.
pub(super) enum Sieve {
    /// As they came.
    Open,
    /// Without metadata.
    Strip(Box<Stripper>),
    /// As they came, unless they hold a prompt.
    Watch(Watcher),
}

/// Looks for a prompt in bytes that pass.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    /// The last bytes that came: the sign may be cut in two.
    tail: Vec<u8>,
}

impl Watcher {
    /// Whether the next `bytes` complete the sign.
    fn finds(&mut self, bytes: &[u8]) -> bool {
        let reach = SIGN.len() - 1;
        let mut seam = std::mem::take(&mut self.tail);
        seam.extend(bytes.iter().take(reach));
        let last = if bytes.len() < reach { seam.as_slice() } else { bytes };
        self.tail = last.iter().skip(last.len().saturating_sub(reach)).copied().collect();
        [seam.as_slice(), bytes].iter().any(|part| part.windows(SIGN.len()).any(|window| window == SIGN))
    }
}

impl Sieve {
    pub(super) fn push(&mut self, bytes: Bytes) -> Result<Bytes, CollectError> {
        match self {
            Self::Open => Ok(bytes),
            Self::Strip(stripper) => stripper.push(bytes).map_err(CollectError::Strip),
            Self::Watch(watcher) => {
                if watcher.finds(&bytes) {
                    Err(CollectError::Telling)
                } else {
                    Ok(bytes)
                }
            }
        }
    }

    pub(super) fn finish(self) -> Result<Bytes, CollectError> {
        match self {
            Self::Open | Self::Watch(_) => Ok(Bytes::new()),
            Self::Strip(stripper) => stripper.finish().map_err(CollectError::Strip),
        }
    }
}

impl Run {
    /// What goes through it is stored.
    pub(super) fn sieve(&self, sniffed: &Sniffed) -> Sieve {
        let parts = &self.context.parts;
        if parts.files.strip_metadata && Stripper::knows(sniffed.true_type) {
            Sieve::Strip(Box::new(Stripper::new(sniffed.true_type)))
        } else if parts.privacy && sniffed.true_type != TEXT {
            Sieve::Watch(Watcher::default())
        } else {
            Sieve::Open
        }
    }

    /// What the owner wants this output to be converted to.
    pub(super) fn conversion(&self, sniffed: &Sniffed) -> Option<Conversion> {
        if sniffed.kind != OutputKind::Image {
            return None;
        }
        let options = &self.job.options;
        // They were checked when the job was accepted.
        let wanted = Conversion::new(options.format.as_deref(), options.quality, None, None).ok()?;
        (!wanted.is_nothing()).then_some(wanted)
    }

    /// The picture in `bytes`, converted. `None` where it is to stay as it is: it moves, or can't be converted.
    pub(super) async fn converted(&mut self, bytes: Bytes, conversion: Conversion) -> Option<Converted> {
        let turn = Arc::clone(&self.context.conversions).acquire_owned().await;
        let work = move || {
            // A run that is given up does not end this thread: its turn goes on as long.
            let _turn = turn;
            let facts = inspect(&bytes, &InspectLimits::default()).map_err(ConvertError::Refused)?;
            if facts.frames.is_some_and(|frames| frames > 1) {
                return Ok(None);
            }
            // The job ends only with it, also beside a ComfyUI that never rests.
            convert(&bytes, &conversion, Share::Less).map(Some)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_found_wherever_it_is_cut() {
        let with: Vec<u8> = [&[0_u8; 40][..], br#"{\"4\": {\"class_type\": \"KSampler\"}}"#, &[1; 40]].concat();
        let without = [&[0_u8; 40][..], b"class types and class_typ", &[1; 40]].concat();
        for length in [1, 2, 3, 9, 10, 11, 64, 200] {
            let finds = |file: &[u8]| {
                let mut watcher = Watcher::default();
                file.chunks(length).any(|chunk| watcher.finds(chunk))
            };
            assert!(finds(&with), "{length}");
            assert!(!finds(&without), "{length}");
        }
    }
}
