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

/// Writes, reads and removes a small object in the configured storage, for somebody who looks what is wrong with it: each
/// call to a bucket has `patience`, and none is tried again. A folder that is not there is made.
///
/// # Errors
/// [`StorageError`] that says what to do where it can't be used.
pub async fn try_out(settings: &StorageSettings, patience: Duration) -> Result<(), StorageError> {
    let limit = settings.max_output_bytes;
    match &settings.backend {
        StorageBackend::Local { root } => trial::try_out(&LocalStorage::open(root, limit)?).await,
        // Whoever opens a bucket tries it out.
        StorageBackend::S3(bucket) => S3Storage::open_once(bucket, limit, patience).await.map(drop),
    }
}
