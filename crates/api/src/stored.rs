//! Whole objects of the storage, for whoever needs no stream.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use gateway_storage::{ByteRange, Storage, StorageError};

use crate::error::ApiError;

/// How many bytes the object has; `None` where there is none.
pub(crate) async fn size_of(storage: &dyn Storage, key: &str) -> Result<Option<u64>, ApiError> {
    match storage.open(key, Some(ByteRange { start: 0, length: 0 })).await {
        Ok(reader) => Ok(Some(reader.size)),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All of the object, which is in memory then.
pub(crate) async fn read_all(storage: &dyn Storage, key: &str) -> Result<Vec<u8>, ApiError> {
    let reader = storage.open(key, None).await?;
    let chunks: Vec<Bytes> = reader.stream.try_collect().await?;
    Ok(chunks.concat())
}
