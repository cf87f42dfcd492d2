#![doc = include_str!("../README.md")]

mod interface;
mod key;
mod local;
mod s3;
mod trial;

#[cfg(test)]
mod suite;

use std::sync::Arc;
use std::time::Duration;

use gateway_config::{StorageBackend, StorageSettings};

pub use interface::{ByteRange, ObjectReader, ObjectWriter, Storage, StorageError, Stored};
pub use local::LocalStorage;
pub use s3::S3Storage;
pub use trial::try_out;

/// Opens the configured storage, and proves that it can be used.
///
/// # Errors
/// [`StorageError`] that says what to do where it can't.
pub async fn open(settings: &StorageSettings) -> Result<Arc<dyn Storage>, StorageError> {
    let limit = settings.max_output_bytes;
    match &settings.backend {
        StorageBackend::Local { root } => Ok(Arc::new(LocalStorage::open(root, limit)?)),
        StorageBackend::S3(bucket) => Ok(Arc::new(S3Storage::open(bucket, limit).await?)),
    }
}

/// The same for somebody who looks what is wrong: each call has `patience`, and none is tried again.
///
/// # Errors
/// [`StorageError`] that says what to do where it can't be used.
pub async fn open_once(settings: &StorageSettings, patience: Duration) -> Result<Arc<dyn Storage>, StorageError> {
    match &settings.backend {
        StorageBackend::Local { .. } => open(settings).await,
        StorageBackend::S3(bucket) => {
            Ok(Arc::new(S3Storage::open_once(bucket, settings.max_output_bytes, patience).await?))
        }
    }
}
