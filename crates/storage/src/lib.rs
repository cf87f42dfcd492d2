#![doc = include_str!("../README.md")]

mod interface;
mod key;
mod local;

pub use interface::{ByteRange, ObjectReader, ObjectWriter, Storage, StorageError, Stored};
pub use local::LocalStorage;
