//! Keeps the bytes of one file: pictures are looked at whole before they are stored, films and sounds by their first
//! bytes while they stream through.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gateway_core::{ErrorCode, OutputKind, Owner, UploadId, chain};
use gateway_db::Upload;
use gateway_media::{Facts, InspectLimits, Refusal, inspect, sniff};
use gateway_storage::{ObjectWriter, Stored};

use crate::error::ApiError;
use crate::state::ApiState;

/// Bytes from the beginning that tell what a file is.
const HEAD: usize = 16 * 1024;
/// How long a file is kept in privacy mode that came with a request which was refused after all.
const REFUSED: Duration = Duration::from_secs(600);
/// Largest picture that is taken, in bytes: it is held in memory until it was looked at.
const LARGEST_PICTURE: u64 = 64 << 20;

/// A file on its way in.
pub(crate) struct Incoming<'a> {
    state: &'a ApiState,
    owner: Owner,
    id: UploadId,
    /// What has not been stored yet.
    held: BytesMut,
    /// In bytes, all that came.
    size: u64,
    progress: Progress,
    /// How long it is kept while no job uses it.
    ttl: Duration,
}

enum Progress {
    /// Too little is known.
    Unknown,
    /// A picture, which is held.
    Held,
    /// Being stored.
    Streaming { writer: Box<dyn ObjectWriter>, key: String, facts: Facts },
}

impl<'a> Incoming<'a> {
    pub(super) fn new(state: &'a ApiState, owner: Owner) -> Self {
        let id = UploadId::new(state.parts.database.now(), rand::random());
        let ttl = state.parts.files.upload_ttl;
        Self { state, owner, id, held: BytesMut::new(), size: 0, progress: Progress::Unknown, ttl }
    }

    /// One that comes with a request for a job.
    pub(crate) fn with_job(state: &'a ApiState, owner: Owner) -> Self {
        let incoming = Self::new(state, owner);
        let ttl = if state.parts.access.privacy { incoming.ttl.min(REFUSED) } else { incoming.ttl };
        Self { ttl, ..incoming }
    }

    /// Takes the next bytes of the file.
    pub(super) async fn take(&mut self, bytes: Bytes) -> Result<(), ApiError> {
        self.size += bytes.len() as u64;
        let limit = self.state.parts.files.max_upload_bytes;
        if self.size > limit {
            return Err(too_large(limit));
        }
        if let Progress::Streaming { writer, .. } = &mut self.progress {
            return Ok(writer.write(bytes).await?);
        }
        self.held.extend_from_slice(&bytes);
        if matches!(self.progress, Progress::Unknown) && self.held.len() >= HEAD {
            self.begin().await?;
        }
        if self.size > LARGEST_PICTURE && matches!(self.progress, Progress::Held) {
            let detail = format!("a picture may have at most {LARGEST_PICTURE} bytes");
            return Err(ApiError::new(ErrorCode::PayloadTooLarge, detail).recommend("send a smaller picture"));
        }
        Ok(())
    }

    /// The beginning is there: what is it?
    async fn begin(&mut self) -> Result<(), ApiError> {
        if OutputKind::of_content_type(sniff(&self.held)) == OutputKind::Image {
            self.progress = Progress::Held;
            return Ok(());
        }
        let facts = inspect(&self.held, &InspectLimits::default()).map_err(refuse)?;
        let key = self.key(facts.extension);
        let mut writer = self.state.parts.storage.create(&key).await?;
        writer.write(self.held.split().freeze()).await?;
        self.progress = Progress::Streaming { writer, key, facts };
        Ok(())
    }

    fn key(&self, extension: &str) -> String {
        let day = self.state.parts.database.now().to_string();
        let date = day.split('T').next().unwrap_or_default().replace('-', "/");
        format!("uploads/{date}/{}.{extension}", self.id)
    }

    /// All bytes are there: stores what is left, and keeps the record.
    pub(crate) async fn finish(mut self) -> Result<Upload, ApiError> {
        if matches!(self.progress, Progress::Unknown) {
            self.begin_small().await?;
        }
        let (stored, key, facts) = match std::mem::replace(&mut self.progress, Progress::Unknown) {
            Progress::Streaming { writer, key, facts } => (writer.finish().await?, key, facts),
            Progress::Held | Progress::Unknown => self.store_picture().await?,
        };
        let upload = self.record(stored, key, facts);
        let kept = self.state.parts.database.put_upload(upload.clone()).await;
        if let Err(error) = kept {
            // Nobody would ever find it.
            if let Err(error) = self.state.parts.storage.remove_all(&upload.storage_key).await {
                tracing::warn!(
                    error = %chain(&error),
                    "a file without a record stays in the storage"
                );
            }
            return Err(error.into());
        }
        Ok(upload)
    }

    async fn begin_small(&mut self) -> Result<(), ApiError> {
        if self.held.is_empty() {
            return Err(refuse(Refusal::Empty));
        }
        self.begin().await
    }

    async fn store_picture(&mut self) -> Result<(Stored, String, Facts), ApiError> {
        let bytes = self.held.split().freeze();
        let looked_at = bytes.clone();
        let facts = tokio::task::spawn_blocking(move || inspect(&looked_at, &InspectLimits::default())).await;
        let facts = facts
            .map_err(|error| {
                tracing::error!(%error, "looking at a picture failed");
                ApiError::internal()
            })?
            .map_err(refuse)?;
        let key = self.key(facts.extension);
        let mut writer = self.state.parts.storage.create(&key).await?;
        writer.write(bytes).await?;
        Ok((writer.finish().await?, key, facts))
    }

    fn record(&self, stored: Stored, storage_key: String, facts: Facts) -> Upload {
        let now = self.state.parts.database.now();
        let ttl = i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX);
        Upload {
            id: self.id,
            owner: self.owner.clone(),
            sha256: stored.sha256,
            size: i64::try_from(stored.size).unwrap_or(i64::MAX),
            kind: facts.kind.as_str().to_owned(),
            content_type: facts.content_type.to_owned(),
            width: facts.width.and_then(|width| i32::try_from(width).ok()),
            height: facts.height.and_then(|height| i32::try_from(height).ok()),
            storage_key,
            created_at: now,
            expires_at: now.plus_millis(ttl),
        }
    }
}

pub(super) fn too_large(limit: u64) -> ApiError {
    ApiError::new(ErrorCode::PayloadTooLarge, format!("the file is larger than the {limit} bytes allowed"))
        .recommend("send a smaller file; an operator can raise MAX_UPLOAD_BYTES")
}

/// The sentences of refusals say themselves what they are about.
fn refuse(refusal: Refusal) -> ApiError {
    ApiError { detail: refusal.to_string(), ..ApiError::fault("", refusal.to_string()) }
}
