#![doc = include_str!("../README.md")]

mod convert;
mod inspect;
mod reader;
mod strip;

pub use convert::{Conversion, ConvertError, Converted, PictureFormat, Share, convert};
pub use inspect::{Facts, InspectLimits, Refusal, inspect, sniff, true_type};
pub use strip::{StripError, Stripper};
