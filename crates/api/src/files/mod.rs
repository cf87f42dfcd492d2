//! Files that callers hand in: by upload, by URL, as Base64, or as an output of an earlier job. What a file is, its
//! content tells; a name that somebody gave it is never used.

mod inputs;
mod keep;
mod upload;

pub(crate) use inputs::{settle, take_in};
pub(crate) use upload::create_upload;
