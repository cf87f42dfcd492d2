//! A form with files: its fields as JSON, its files as uploads.

use actix_multipart::Multipart;
use actix_web::HttpRequest;
use actix_web::web::Payload;
use serde_json::{Map, Value};

use super::inputs::Files;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::files::{PartReader, check_form, late};
use crate::state::ApiState;

/// Under these names the fields hold which files came: two forms with other files are not the same request.
pub(super) const DIGESTS: [&str; 2] = ["image", "mask"];

/// Parts that a form may have: two files, and fields with inputs of the workflow among them.
const MAX_PARTS: usize = 64;

/// What a form holds.
pub(super) struct Form {
    pub(super) fields: Map<String, Value>,
    pub(super) files: Files,
}

/// Reads a form. Of each kind of file one is taken.
pub(super) async fn read(
    state: &ApiState,
    caller: &Caller,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Form, ApiError> {
    check_form(request, state.parts.files.max_upload_bytes.saturating_mul(2))?;
    let form = PartReader::new(Multipart::new(request.headers(), payload), MAX_PARTS);
    let read = tokio::time::timeout(crate::files::WHOLE, read_parts(state, caller, form)).await;
    read.unwrap_or_else(|_elapsed| Err(late()))
}

async fn read_parts(state: &ApiState, caller: &Caller, mut form: PartReader) -> Result<Form, ApiError> {
    let (mut fields, mut files) = (Map::new(), Files::default());
    while let Some(mut part) = form.next().await? {
        // Clients that may send several write the name so.
        let name = part.name().trim_end_matches("[]").to_owned();
        let slot = match name.as_str() {
            "image" => Some(&mut files.image),
            "mask" => Some(&mut files.mask),
            _ => None,
        };
        let Some(slot) = slot else {
            if fields.contains_key(&name) {
                return Err(ApiError::fault(format!("/{name}"), "is given twice"));
            }
            fields.insert(name, Value::String(part.text().await?));
            continue;
        };
        if slot.is_some() {
            return Err(ApiError::fault(format!("/{name}"), "is given twice; one is taken"));
        }
        let upload = part.file(state, caller).await?;
        *slot = Some(upload.id);
        fields.insert(name, Value::String(upload.sha256));
    }
    Ok(Form { fields, files })
}
