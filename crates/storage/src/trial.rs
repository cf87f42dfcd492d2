//! One small object from its writing to its end: proves that a storage does what it is for. A bucket is proved by
//! opening it.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use crate::{Storage, StorageError};

const CONTENT: &[u8] = b"comfyui-gateway was here\n";

/// Writes, reads and removes a small object. It is removed whatever becomes of the reading.
///
/// # Errors
/// [`StorageError`] of what failed first.
pub(crate) async fn try_out(storage: &dyn Storage) -> Result<(), StorageError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let key = format!("probe-{}-{now}", std::process::id());
    let written = write(storage, &key).await;
    let read = match &written {
        Ok(()) => read(storage, &key).await,
        Err(_) => Ok(()),
    };
    let removed = storage.remove_all(&key).await;
    written.and(read).and(removed)
}

async fn write(storage: &dyn Storage, key: &str) -> Result<(), StorageError> {
    let mut writer = storage.create(key).await?;
    writer.write(Bytes::from_static(CONTENT)).await?;
    writer.finish().await.map(drop)
}

async fn read(storage: &dyn Storage, key: &str) -> Result<(), StorageError> {
    let reader = storage.open(key, None).await?;
    let parts: Vec<Bytes> = reader.stream.try_collect().await?;
    if parts.concat() == CONTENT {
        return Ok(());
    }
    let other = std::io::Error::other("what was written there is not what is read there");
    Err(StorageError::Io { action: "read an object", source: other })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalStorage;

    #[tokio::test]
    async fn a_storage_that_works_is_left_as_it_was_and_one_that_does_not_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("outputs");
        let storage = LocalStorage::open(&root, 1_000).unwrap();
        std::fs::write(root.join("mine"), "mine").unwrap();
        try_out(&storage).await.unwrap();
        let names: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["mine"]);
        let tight = LocalStorage::open(&root, 1).unwrap();
        assert!(matches!(try_out(&tight).await, Err(StorageError::TooLarge { limit: 1 })));
    }
}
