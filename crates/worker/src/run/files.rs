//! Hands the files of a job to its ComfyUI: under names made of their content, so that each is sent once a server.

use comfyui_client::{CallError, FolderKind, Upload, UploadBody};
use futures_util::StreamExt as _;
use gateway_core::output::extension_of;
use gateway_core::{ErrorCode, JobError, JobId, Scope, UploadId};
use gateway_storage::{ObjectReader, StorageError};
use serde_json::{Map, Value};

use super::{Run, Setback};
use crate::failure;

/// The folder in ComfyUI's input folder.
const FOLDER: &str = "gateway";
/// Digits of a content's hash that tell it from all others.
const DIGITS: usize = 32;

impl Run {
    /// Sees to it that ComfyUI has the job's files.
    pub(super) async fn hand_over(&mut self) -> Result<(), Setback> {
        let workflow = std::sync::Arc::clone(&self.workflow);
        for (input, _) in workflow.file_inputs() {
            let Some(Value::Object(record)) = self.job.resolved.get(input) else { continue };
            let name = name(record);
            self.backend.files.give(&name, self.send(record, &name)).await?;
        }
        Ok(())
    }

    /// Where the storage has the file of `record`.
    async fn storage_key(&self, record: &Map<String, Value>) -> Result<String, Setback> {
        let text = |field: &str| text(record, field);
        let database = &self.context.parts.database;
        let found = if let Ok(id) = text("uploadId").parse::<UploadId>() {
            let upload = database.find_upload(id, Scope::All).await.map_err(unavailable)?;
            upload.map(|upload| upload.storage_key)
        } else if let Ok(id) = text("jobId").parse::<JobId>() {
            let outputs = database.outputs_of(id).await.map_err(unavailable)?;
            let output = outputs.into_iter().find(|output| output.file == text("file") && output.removed_at.is_none());
            output.map(|output| output.storage_key)
        } else {
            None
        };
        found.ok_or_else(gone)
    }

    /// Sends the file of `record` to ComfyUI, as `name`.
    async fn send(&self, record: &Map<String, Value>, name: &str) -> Result<(), Setback> {
        let storage_key = self.storage_key(record).await?;
        let reader = self.context.parts.storage.open(&storage_key, None).await;
        let ObjectReader { size, stream } = match reader {
            Ok(reader) => reader,
            Err(StorageError::NotFound { .. }) => return Err(gone()),
            Err(error) => return Err(Setback::Failed(Box::new(failure::storage(&error)))),
        };
        let body = UploadBody::Stream {
            length: size,
            stream: Box::pin(stream.map(|chunk| chunk.map_err(std::io::Error::other))),
        };
        let upload = Upload {
            file_name: name.to_owned(),
            subfolder: FOLDER.to_owned(),
            kind: FolderKind::Input,
            overwrite: true,
            body,
        };
        let sent = self.backend.client.upload_image(upload).await.map_err(not_taken)?;
        let expected = (FOLDER, name);
        if (sent.subfolder.as_str(), sent.name.as_str()) == expected {
            return Ok(());
        }
        let error =
            JobError::new(ErrorCode::ComfyuiRejected, "ComfyUI keeps an input file under another name than asked")
                .recommend("look at the ComfyUI server: something changes the names of uploads");
        Err(Setback::Failed(Box::new(error)))
    }
}

/// The name of a file in ComfyUI, made of its content.
fn name(record: &Map<String, Value>) -> String {
    let digits: String = text(record, "sha256").chars().filter(char::is_ascii_hexdigit).take(DIGITS).collect();
    format!("{digits}.{}", extension_of(text(record, "contentType")))
}

/// What a loader node is given for a file.
pub(super) fn place(record: &Map<String, Value>) -> String {
    format!("{FOLDER}/{}", name(record))
}

fn text<'a>(record: &'a Map<String, Value>, field: &str) -> &'a str {
    record.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn unavailable(error: gateway_db::DbError) -> Setback {
    tracing::warn!(%error, "a job's files can't be looked up; it is queued again");
    Setback::NotRun
}

fn gone() -> Setback {
    let error = JobError::new(ErrorCode::UploadNotFound, "an input file of the job is not there any more")
        .recommend("hand the file in again and submit the job anew; an operator keeps files longer with UPLOAD_TTL");
    Setback::Failed(Box::new(error))
}

fn not_taken(error: CallError) -> Setback {
    Setback::Failed(Box::new(failure::call("ComfyUI did not take an input file", &error)))
}
