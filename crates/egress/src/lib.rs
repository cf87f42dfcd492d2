#![doc = include_str!("../README.md")]

mod address;
mod client;
mod error;
mod exchange;
mod lookup;
mod resolver;
mod url;

pub use address::is_public;
pub use client::{BuildError, Client};
pub use error::{CheckError, SendError};
pub use exchange::{Answer, Download};
pub use lookup::{Lookup, SystemLookup};
pub use url::{CheckedUrl, Policy, UrlRefusal, check_url};
