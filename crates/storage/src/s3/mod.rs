//! Objects in a bucket of an S3 server. An object becomes visible with its one PUT, or when its parts are put
//! together: it is there whole, or not at all.

mod client;
mod download;
mod failure;
mod probe;
mod remove;
mod upload;

use std::time::Duration;

use async_trait::async_trait;
use gateway_config::S3Settings;

use self::client::{Client, Patience};
use self::upload::Writer;
use crate::{ByteRange, ObjectReader, ObjectWriter, Storage, StorageError, key};

/// What a bucket's owner sees of an object, which the gateway serves with its own media type.
const CONTENT_TYPE: &str = "application/octet-stream";

/// A storage in a bucket.
#[derive(Clone)]
pub struct S3Storage {
    client: Client,
    prefix: String,
    limit: u64,
}

impl S3Storage {
    /// A storage in the configured bucket, of objects of `limit` bytes at most.
    ///
    /// # Errors
    /// [`StorageError::Bucket`] that says what to do where a small object can't be written, read and removed there.
    pub async fn open(settings: &S3Settings, limit: u64) -> Result<Self, StorageError> {
        Self::open_with(settings, limit, Patience::DEFAULT).await
    }

    /// The same, where each call has `patience` and none is tried again.
    pub(crate) async fn open_once(settings: &S3Settings, limit: u64, patience: Duration) -> Result<Self, StorageError> {
        Self::open_with(settings, limit, Patience::once(patience)).await
    }

    /// The URL of the configured server.
    pub fn server(settings: &S3Settings) -> String {
        client::endpoint(settings)
    }

    async fn open_with(settings: &S3Settings, limit: u64, patience: Patience) -> Result<Self, StorageError> {
        let client = Client::new(settings, patience).map_err(|failure| StorageError::Bucket {
            bucket: settings.bucket.clone(),
            advice: String::from("S3_ENDPOINT, S3_REGION and S3_PATH_STYLE make no URL together: correct them"),
            unreachable: false,
            source: std::io::Error::other(failure),
        })?;
        let prefix = match settings.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        probe::probe(&client, &prefix).await?;
        Ok(Self { client, prefix, limit })
    }

    /// The key in the bucket.
    fn full(&self, key: &str) -> Result<String, StorageError> {
        Ok(format!("{}{}", self.prefix, key::check(key)?))
    }
}

#[async_trait]
impl Storage for S3Storage {
    fn name(&self) -> &'static str {
        "s3"
    }

    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StorageError> {
        Ok(Box::new(Writer::new(self.client.clone(), self.full(key)?, self.limit)))
    }

    async fn open(&self, key: &str, range: Option<ByteRange>) -> Result<ObjectReader, StorageError> {
        download::open(&self.client, self.full(key)?, range).await.map_err(|failure| {
            if failure.is_no_object() {
                StorageError::NotFound { key: key.to_owned() }
            } else {
                self.client.error("open an object", failure)
            }
        })
    }

    async fn remove_all(&self, prefix: &str) -> Result<(), StorageError> {
        let prefix = self.full(prefix)?;
        remove::objects(&self.client, &prefix).await.map_err(|failure| self.client.error("remove objects", failure))?;
        remove::uploads(&self.client, &prefix)
            .await
            .map_err(|failure| self.client.error("end unfinished uploads", failure))
    }

    async fn presign(&self, key: &str, expires: Duration) -> Result<Option<String>, StorageError> {
        let seconds = u32::try_from(expires.as_secs().max(1)).unwrap_or(u32::MAX);
        let signed = self.client.bucket.presign_get(self.full(key)?, seconds, None).await;
        signed.map(Some).map_err(|error| self.client.error("sign a URL", error.into()))
    }

    fn locate(&self, key: &str) -> Option<String> {
        self.full(key).ok().map(|key| format!("s3://{}/{key}", self.client.bucket.name))
    }
}

#[cfg(test)]
mod tests;
