//! Files that callers hand in: by upload, by URL, as Base64, or as an output of an earlier job. What a file is, its
//! content tells; a name that somebody gave it is never used.

mod inputs;
mod keep;
mod part;
mod upload;

pub(crate) use inputs::{settle, take_in};
pub(crate) use keep::Incoming;
pub(crate) use part::PartReader;
pub(crate) use upload::{WHOLE, check_form, create_upload, late};
