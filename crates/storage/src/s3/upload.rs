//! Objects on their way up: gathered to parts of 8 MiB, of which one is held at a time.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use gateway_core::hex;
use s3::command::{Command, Multipart};
use s3::request::Request as _;
use s3::request::tokio_backend::ReqwestRequest;
use s3::serde_types::Part;
use sha2::{Digest as _, Sha256};

use super::client::Client;
use super::failure::Failure;
use super::{CONTENT_TYPE, download};
use crate::{ObjectWriter, StorageError, Stored};

/// Bytes of each part but the last; some servers want all of one size.
pub(super) const PART: usize = 8 << 20;
/// Parts that one object may have.
const MOST_PARTS: usize = 10_000;

/// An object that is being written.
pub(super) struct Writer {
    client: Client,
    key: Arc<str>,
    limit: u64,
    size: u64,
    hash: Sha256,
    part: Vec<u8>,
    upload: Option<Upload>,
    /// A write failed or was given up half way: what is here is not what was to be written.
    broken: bool,
}

impl Writer {
    pub(super) fn new(client: Client, key: String, limit: u64) -> Self {
        let (hash, part) = (Sha256::new(), Vec::new());
        Self { client, key: Arc::from(key), limit, size: 0, hash, part, upload: None, broken: false }
    }

    async fn take(&mut self, mut bytes: Bytes) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PART.saturating_sub(self.part.len())));
            self.hash.update(&piece);
            self.part.extend_from_slice(&piece);
            if self.part.len() >= PART {
                self.send().await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Failure> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(Upload::begin(&self.client, &self.key).await?),
        };
        upload.send(&self.part).await?;
        self.part.clear();
        Ok(())
    }

    async fn publish(&mut self) -> Result<Stored, Failure> {
        if self.upload.is_some() && !self.part.is_empty() {
            self.send().await?;
        }
        let hash = std::mem::take(&mut self.hash).finalize();
        let stored = Stored { size: self.size, sha256: hex::encode(hash) };
        match self.upload.take() {
            Some(upload) => upload.complete(&stored).await?,
            None => {
                let put = || self.client.bucket.put_object_with_content_type(&*self.key, &self.part, CONTENT_TYPE);
                self.client.call(self.client.patience.slow, put).await?;
            }
        }
        Ok(stored)
    }
}

#[async_trait]
impl ObjectWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        self.size += bytes.len() as u64;
        // Also where this call is dropped before it ends.
        let broken = std::mem::replace(&mut self.broken, true);
        if self.size > self.limit {
            return Err(StorageError::TooLarge { limit: self.limit });
        }
        if broken {
            return Err(self.client.error("write an object", Failure::nonsense("an earlier write failed")));
        }
        self.take(bytes).await.map_err(|failure| self.client.error("write an object", failure))?;
        self.broken = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Stored, StorageError> {
        if self.broken {
            return Err(self.client.error("write an object", Failure::nonsense("an earlier write failed")));
        }
        let published = self.publish().await;
        published.map_err(|failure| self.client.error("publish an object", failure))
    }
}

/// A multipart upload under way. Ends it at the server when dropped unfinished.
struct Upload {
    client: Client,
    key: Arc<str>,
    /// As it goes into a URL.
    id: String,
    parts: Vec<Part>,
    done: bool,
}

impl Upload {
    async fn begin(client: &Client, key: &Arc<str>) -> Result<Self, Failure> {
        let begun = client.quick(|| client.bucket.initiate_multipart_upload(key, CONTENT_TYPE)).await?;
        let (client, key, id) = (client.clone(), Arc::clone(key), encode(&begun.upload_id));
        Ok(Self { client, key, id, parts: Vec::new(), done: false })
    }

    async fn send(&mut self, content: &[u8]) -> Result<(), Failure> {
        if self.parts.len() >= MOST_PARTS {
            return Err(Failure::nonsense(format!("an object may have {MOST_PARTS} parts at most")));
        }
        let part_number = u32::try_from(self.parts.len() + 1).unwrap_or(u32::MAX);
        let put = || async {
            let multipart = Some(Multipart::new(part_number, &self.id));
            let command = Command::PutObject { content, content_type: CONTENT_TYPE, custom_headers: None, multipart };
            ReqwestRequest::new(&self.client.bucket, &self.key, command).await?.response_data(true).await
        };
        let answer = self.client.call(self.client.patience.slow, put).await?;
        match answer.as_str() {
            Ok(tag) if !tag.is_empty() => self.parts.push(Part { part_number, etag: tag.to_owned() }),
            _ => return Err(Failure::nonsense("the server took a part and did not answer its ETag")),
        }
        Ok(())
    }

    async fn complete(mut self, stored: &Stored) -> Result<(), Failure> {
        let bucket = &self.client.bucket;
        let complete = || bucket.complete_multipart_upload(&self.key, &self.id, self.parts.clone());
        let completed = self.client.call(self.client.patience.slow, complete).await;
        match completed {
            Ok(_) => {}
            // The answer to an earlier try may have been lost: then the object is there.
            Err(failure) if failure.is_no_upload() && self.is_there(stored).await => {}
            Err(failure) => return Err(failure),
        }
        self.done = true;
        Ok(())
    }

    /// Whether the object is there with this very content.
    async fn is_there(&self, stored: &Stored) -> bool {
        let Ok(reader) = download::open(&self.client, self.key.to_string(), None).await else { return false };
        if reader.size != stored.size {
            return false;
        }
        let hash = reader.stream.try_fold(Sha256::new(), |hash, bytes| async move { Ok(hash.chain_update(bytes)) });
        hash.await.is_ok_and(|hash| hex::encode(hash.finalize()) == stored.sha256)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // Without a runtime the process ends: what is left is swept with the attempt, or by the bucket's own rule.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (client, key, id) = (self.client.clone(), Arc::clone(&self.key), std::mem::take(&mut self.id));
        runtime.spawn(async move {
            if let Err(failure) = abort(&client, &key, &id).await {
                tracing::warn!(error = failure.short(), "an unfinished upload could not be ended at the S3 server");
            }
        });
    }
}

/// Ends the upload `id` (as it goes into a URL). It is no error if there is none.
pub(super) async fn abort(client: &Client, key: &str, id: &str) -> Result<(), Failure> {
    match client.quick(|| client.bucket.abort_upload(key, id)).await {
        Err(failure) if !failure.is_no_upload() => Err(failure),
        _ => Ok(()),
    }
}

/// The id of an upload as it goes into a URL, where the library puts it as it is.
pub(super) fn encode(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect()
}
