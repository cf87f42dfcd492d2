//! What a storage does, whichever engine carries it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

/// An object could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such object.
    #[error("there is no object {key}")]
    NotFound {
        /// Its key.
        key: String,
    },
    /// The key is not one that the gateway makes.
    #[error("not a storage key")]
    BadKey,
    /// The object is larger than allowed.
    #[error("the object is larger than the {limit} bytes allowed (MAX_OUTPUT_BYTES)")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The engine failed.
    #[error("storage failed to {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The bucket can't be used as it is configured.
    #[error("the bucket {bucket} can't be used: {advice}")]
    Bucket {
        /// Its name.
        bucket: String,
        /// What the operator should do.
        advice: String,
        /// Whether no answer came from the server at all.
        unreachable: bool,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// What a finished object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// In bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// A part of an object: `length` bytes from `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// How many.
    pub length: u64,
}

/// An object to be read.
pub struct ObjectReader {
    /// Size of the whole object in bytes.
    pub size: u64,
    /// The bytes asked for.
    pub stream: BoxStream<'static, Result<Bytes, StorageError>>,
}

/// An object that is being written. Dropped unfinished, it leaves nothing visible.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Adds bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StorageError>;

    /// Makes the object visible, whole and durable.
    async fn finish(self: Box<Self>) -> Result<Stored, StorageError>;
}

/// Keeps objects.
#[async_trait]
pub trait Storage: Send + Sync {
    /// The name of the engine, as `/capabilities` shows it.
    fn name(&self) -> &'static str;

    /// Begins to write the object `key`; one that is there is replaced when the new one is finished.
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StorageError>;

    /// Opens the object `key`, or a part of it, which must lie within it.
    async fn open(&self, key: &str, range: Option<ByteRange>) -> Result<ObjectReader, StorageError>;

    /// Removes all objects whose keys begin with `prefix`. It is no error if there are none.
    async fn remove_all(&self, prefix: &str) -> Result<(), StorageError>;

    /// A URL that reads the object `key` without credentials until it `expires`; `None` where the engine has none.
    /// Whether there is such an object is not looked up.
    async fn presign(&self, key: &str, expires: Duration) -> Result<Option<String>, StorageError>;

    /// Where the object lies, for a person who looks for it; `None` where that has no answer.
    fn locate(&self, key: &str) -> Option<String>;
}
