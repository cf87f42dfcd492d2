//! `POST /uploads`: one file, as the raw body or as a part of a form. Streamed; nothing of its name is used.

use std::time::Duration;

use actix_multipart::Multipart;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use gateway_core::ErrorCode;
use gateway_db::Upload;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body::refuse_compressed;
use crate::error::ApiError;
use crate::files::keep::{Incoming, too_large};
use crate::files::part::PartReader;
use crate::query::Query;
use crate::state::ApiState;

/// How long the next bytes may take, and the whole file.
const NEXT: Duration = Duration::from_secs(30);
pub(crate) const WHOLE: Duration = Duration::from_secs(600);
/// Parts that a form may have.
const MAX_PARTS: usize = 16;
/// What a form has besides the file.
const FORM: u64 = 64 * 1024;

/// Takes one file.
pub(crate) async fn create_upload(
    state: Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    check_headers(&request, state.parts.files.max_upload_bytes)?;
    let taken = tokio::time::timeout(WHOLE, take(&state, &caller, &request, payload)).await;
    let upload = taken.unwrap_or_else(|_elapsed| Err(late()))?;
    Ok(HttpResponse::Created().json(view(&upload)))
}

/// Refuses what is no form, or is declared to be larger than `files` bytes of files need.
pub(crate) fn check_form(request: &HttpRequest, files: u64) -> Result<(), ApiError> {
    if !is_form(request) {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, "Content-Type must be multipart/form-data"));
    }
    check_headers(request, files)
}

fn check_headers(request: &HttpRequest, limit: u64) -> Result<(), ApiError> {
    let headers = request.headers();
    refuse_compressed(headers)?;
    let room = if is_form(request) { FORM } else { 0 };
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared: Option<u64> = length.and_then(|length| length.parse().ok());
    if declared.is_some_and(|length| length > limit.saturating_add(room)) { Err(too_large(limit)) } else { Ok(()) }
}

fn is_form(request: &HttpRequest) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.trim_start().to_ascii_lowercase().starts_with("multipart/")
}

async fn take(state: &ApiState, caller: &Caller, request: &HttpRequest, payload: Payload) -> Result<Upload, ApiError> {
    if is_form(request) {
        return take_form(state, caller, Multipart::new(request.headers(), payload)).await;
    }
    let body =
        payload.map(|chunk| chunk.map_err(|error| ApiError::bad_request(format!("the body broke off: {error}"))));
    take_file(Incoming::new(state, caller.owner.clone()), body).await?.finish().await
}

async fn take_form(state: &ApiState, caller: &Caller, form: Multipart) -> Result<Upload, ApiError> {
    let mut form = PartReader::new(form, MAX_PARTS);
    // Nothing is kept before the form has ended as it should.
    let mut incoming = None;
    while let Some(mut part) = form.next().await? {
        if !part.is_file() {
            let _passed_over = part.bytes().await?;
        } else if incoming.is_some() {
            return Err(ApiError::fault("", "holds several files; send one at a time"));
        } else {
            incoming = Some(part.take(Incoming::new(state, caller.owner.clone())).await?);
        }
    }
    match incoming {
        Some(incoming) => incoming.finish().await,
        None => Err(ApiError::fault("", "holds no file: send it as a part named `file`, or as the raw body")),
    }
}

/// All bytes of one file, not yet kept.
pub(super) async fn take_file<'a>(
    mut incoming: Incoming<'a>,
    body: impl Stream<Item = Result<Bytes, ApiError>>,
) -> Result<Incoming<'a>, ApiError> {
    let mut body = std::pin::pin!(body);
    while let Some(chunk) = in_time(body.next()).await? {
        incoming.take(chunk?).await?;
    }
    Ok(incoming)
}

pub(super) async fn in_time<T>(next: impl Future<Output = T>) -> Result<T, ApiError> {
    tokio::time::timeout(NEXT, next).await.map_err(|_elapsed| late())
}

pub(crate) fn late() -> ApiError {
    ApiError::late("the file did not arrive in time")
}

/// A file as JSON.
fn view(upload: &Upload) -> Value {
    let mut view = json!({
        "uploadId": upload.id,
        "sha256": upload.sha256,
        "size": upload.size,
        "kind": upload.kind,
        "contentType": upload.content_type,
        "expiresAt": upload.expires_at,
    });
    if let (Some(object), Some(width), Some(height)) = (view.as_object_mut(), upload.width, upload.height) {
        object.insert(String::from("width"), json!(width));
        object.insert(String::from("height"), json!(height));
    }
    view
}
