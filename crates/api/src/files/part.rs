//! The parts of a form, one after the other, each within bounds of size and time.

use actix_multipart::{Field, Multipart, MultipartError};
use futures_util::StreamExt as _;
use gateway_core::ErrorCode;

use super::keep::Incoming;
use super::upload::{in_time, take_file};
use crate::error::ApiError;

/// Bytes that a part may have which is no file.
const MAX_FIELD: usize = 64 * 1024;

/// Reads a form.
pub(crate) struct PartReader {
    form: Multipart,
    /// How many parts there were, and may be.
    parts: usize,
    max_parts: usize,
}

impl PartReader {
    pub(crate) fn new(form: Multipart, max_parts: usize) -> Self {
        Self { form, parts: 0, max_parts }
    }

    /// The next part, until there is none.
    pub(crate) async fn next(&mut self) -> Result<Option<Part>, ApiError> {
        let Some(part) = in_time(self.form.next()).await? else { return Ok(None) };
        self.parts += 1;
        if self.parts > self.max_parts {
            let detail = format!("the form has more than {} parts", self.max_parts);
            return Err(ApiError::new(ErrorCode::PayloadTooLarge, detail));
        }
        Ok(Some(Part(part.map_err(broken)?)))
    }
}

/// One part. It has to be read to its end before the next.
pub(crate) struct Part(Field);

impl Part {
    /// Its name; empty where it has none.
    pub(crate) fn name(&self) -> &str {
        self.0.name().unwrap_or_default()
    }

    /// Whether it says so.
    pub(super) fn is_file(&self) -> bool {
        self.0.content_disposition().is_some_and(|it| it.get_filename().is_some()) || self.name() == "file"
    }

    /// It as text.
    pub(crate) async fn text(&mut self) -> Result<String, ApiError> {
        let bytes = self.bytes().await?;
        String::from_utf8(bytes).map_err(|_error| ApiError::bad_request("a part of the form is not UTF-8"))
    }

    /// All bytes of what is no file.
    pub(super) async fn bytes(&mut self) -> Result<Vec<u8>, ApiError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = in_time(self.0.next()).await? {
            bytes.extend_from_slice(&chunk.map_err(broken)?);
            if bytes.len() > MAX_FIELD {
                let detail = format!("a part of the form that is no file is larger than {MAX_FIELD} bytes");
                return Err(ApiError::new(ErrorCode::PayloadTooLarge, detail));
            }
        }
        Ok(bytes)
    }

    /// All of its bytes, not yet kept.
    pub(crate) async fn take<'a>(&mut self, incoming: Incoming<'a>) -> Result<Incoming<'a>, ApiError> {
        take_file(incoming, (&mut self.0).map(|chunk| chunk.map_err(broken))).await
    }
}

fn broken(error: MultipartError) -> ApiError {
    ApiError::bad_request(format!("the form can't be read: {error}"))
}
