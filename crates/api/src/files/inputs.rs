//! The files of one job: fetched, decoded or found, and put in place of what the caller wrote as a record of where the
//! worker finds them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use gateway_core::workflow::{FileKind, Workflow};
use gateway_core::{ErrorCode, Fault, JobId, UploadId};
use gateway_db::Upload;
use gateway_egress::SendError;
use serde_json::{Map, Value, json};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::files::keep::Incoming;
use crate::state::ApiState;

/// How long a file may take that is fetched.
const FETCH: Duration = Duration::from_secs(20);

/// Takes in the files of `resolved`, and leaves records in their place. What was given as Base64 is named by its upload
/// in `inputs` and `params`, too: jobs keep no bytes. Gives the uploads that the job uses.
pub(crate) async fn take_in(
    state: &ApiState,
    caller: &Caller,
    workflow: &Workflow,
    resolved: &mut Map<String, Value>,
    inputs: &mut Map<String, Value>,
    params: &mut Map<String, Value>,
) -> Result<Vec<UploadId>, ApiError> {
    let mut uploads = Vec::new();
    let mut faults = Vec::new();
    for (name, kind) in workflow.file_inputs() {
        let Some(Value::Object(given)) = resolved.get(name) else { continue };
        let place = if params.contains_key(name) { "params" } else { "inputs" };
        match record(state, caller, given, kind).await {
            Ok(Found { record, upload, inline }) => {
                uploads.extend(upload);
                if let Some(upload) = upload.filter(|_| inline) {
                    let part = if place == "params" { &mut *params } else { &mut *inputs };
                    part.insert(name.to_owned(), json!({"uploadId": upload}));
                }
                resolved.insert(name.to_owned(), record);
            }
            Err(error) if error.status < 500 => {
                faults.push(Fault::new(format!("/{place}/{name}"), message(&error)));
            }
            Err(error) => return Err(error),
        }
    }
    if faults.is_empty() { Ok(uploads) } else { Err(ApiError::invalid(faults)) }
}

/// Takes in the files of `inputs` and `params` that are fetched or decoded, and names them by their uploads.
pub(crate) async fn settle(
    state: &ApiState,
    caller: &Caller,
    workflow: &Workflow,
    inputs: &mut Map<String, Value>,
    params: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    for (place, part) in [("inputs", inputs), ("params", params)] {
        for (name, _) in workflow.file_inputs() {
            let Some(Value::Object(given)) = part.get(name) else { continue };
            let text = |field: &str| given.get(field).and_then(Value::as_str).filter(|_| given.len() == 1);
            let taken = match (text("base64"), text("url")) {
                (Some(encoded), _) => keep(state, caller, encoded).await,
                (None, Some(url)) => fetch(state, caller, url).await,
                (None, None) => continue,
            };
            let upload = taken.map_err(|error| match error.status {
                500.. => error,
                _ => ApiError::fault(format!("/{place}/{name}"), message(&error)),
            })?;
            part.insert(name.to_owned(), json!({"uploadId": upload.id}));
        }
    }
    Ok(())
}

/// What is wrong, without the place where it was found.
fn message(error: &ApiError) -> String {
    error.faults.first().map_or_else(|| error.detail.clone(), |fault| fault.message.clone())
}

/// One file that the worker can find.
struct Found {
    record: Value,
    upload: Option<UploadId>,
    /// Whether the caller sent its bytes.
    inline: bool,
}

async fn record(
    state: &ApiState,
    caller: &Caller,
    given: &Map<String, Value>,
    kind: FileKind,
) -> Result<Found, ApiError> {
    let text = |field: &str| given.get(field).and_then(Value::as_str);
    if let Some(id) = text("uploadId") {
        let upload = find_upload(state, caller, id).await?;
        return of_upload(upload, kind, false);
    }
    if let Some(encoded) = text("base64") {
        let upload = keep(state, caller, encoded).await?;
        return of_upload(upload, kind, true);
    }
    if let Some(url) = text("url") {
        let upload = fetch(state, caller, url).await?;
        return of_upload(upload, kind, false);
    }
    match (text("jobId"), text("file")) {
        (Some(job), Some(file)) => of_output(state, caller, job, file, kind).await,
        _ => Err(ApiError::fault("", "must be a file")),
    }
}

fn of_upload(upload: Upload, kind: FileKind, inline: bool) -> Result<Found, ApiError> {
    check_kind(kind, &upload.content_type)?;
    let record = json!({"uploadId": upload.id, "sha256": upload.sha256, "contentType": upload.content_type});
    Ok(Found { record, upload: Some(upload.id), inline })
}

fn check_kind(kind: FileKind, content_type: &str) -> Result<(), ApiError> {
    let wanted = match kind {
        FileKind::Image | FileKind::Mask => "image/",
        FileKind::Video => "video/",
        FileKind::Audio => "audio/",
        FileKind::File => "",
    };
    // A moving picture may be either.
    let moving = kind == FileKind::Video && matches!(content_type, "image/gif" | "image/webp");
    if content_type.starts_with(wanted) || moving {
        return Ok(());
    }
    Err(ApiError::fault("", format!("is {content_type}; wanted: {}", kind.as_format())))
}

async fn find_upload(state: &ApiState, caller: &Caller, id: &str) -> Result<Upload, ApiError> {
    let missing = || ApiError::fault("", "there is no such upload, or it has expired");
    let id: UploadId = id.parse().map_err(|_error| missing())?;
    state.parts.database.find_upload(id, caller.scope()).await?.ok_or_else(missing)
}

/// The bytes of Base64, with or without the head of a data URL. The media type that such a head names is not believed.
fn decode(text: &str) -> Result<Bytes, ApiError> {
    let encoded = match text.strip_prefix("data:") {
        Some(url) => match url.split_once(',') {
            Some((head, encoded)) if head.ends_with(";base64") => encoded,
            _ => return Err(ApiError::fault("", "is a data URL that is not in Base64")),
        },
        None => text,
    };
    let decoded = STANDARD.decode(encoded).or_else(|_error| URL_SAFE.decode(encoded));
    decoded.map(Bytes::from).map_err(|_error| ApiError::fault("", "is not Base64"))
}

async fn keep(state: &ApiState, caller: &Caller, encoded: &str) -> Result<Upload, ApiError> {
    let bytes = decode(encoded)?;
    let mut incoming = Incoming::with_job(state, caller.owner.clone());
    incoming.take(bytes).await?;
    incoming.finish().await
}

async fn fetch(state: &ApiState, caller: &Caller, url: &str) -> Result<Upload, ApiError> {
    let limit = state.parts.files.max_upload_bytes;
    let mut download = state.parts.sources.get(url, limit, FETCH).await.map_err(not_fetched)?;
    let mut incoming = Incoming::with_job(state, caller.owner.clone());
    while let Some(chunk) = download.chunk().await.map_err(not_fetched)? {
        incoming.take(chunk).await?;
    }
    incoming.finish().await
}

fn not_fetched(error: SendError) -> ApiError {
    ApiError::fault("", format!("can't be fetched: {error}"))
}

async fn of_output(
    state: &ApiState,
    caller: &Caller,
    job: &str,
    file: &str,
    kind: FileKind,
) -> Result<Found, ApiError> {
    let missing = || ApiError::fault("", "there is no such output");
    let id: JobId = job.parse().map_err(|_error| missing())?;
    let database = &state.parts.database;
    database.find_job(id, caller.scope()).await?.ok_or_else(missing)?;
    let outputs = database.outputs_of(id).await?;
    let output = outputs.into_iter().find(|output| output.file == file).ok_or_else(missing)?;
    if output.removed_at.is_some() {
        return Err(ApiError::new(ErrorCode::Gone, "the output was removed because it was old"));
    }
    check_kind(kind, &output.content_type)?;
    let record = json!({"jobId": id, "file": output.file, "sha256": output.sha256, "contentType": output.content_type});
    Ok(Found { record, upload: None, inline: false })
}
