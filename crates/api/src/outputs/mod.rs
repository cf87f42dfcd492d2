//! Outputs: what jobs made. A file an operation.

mod convert;
mod download;
mod list;
mod range;
mod whole;

pub(crate) use convert::Conversions;
pub(crate) use download::{deliver, download_output, find_output};
pub(crate) use list::list_outputs;
pub(crate) use whole::read_output;
