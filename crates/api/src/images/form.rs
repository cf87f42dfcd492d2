//! A form with files: its fields as JSON, its files as uploads.

use actix_multipart::Multipart;
use actix_web::HttpRequest;
use actix_web::web::Payload;
use serde_json::{Map, Value};

use super::inputs::Files;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::files::{Incoming, PartReader, check_form, late};
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
    let mut fields = Map::new();
    // Nothing is kept before the form has ended as it should.
    let (mut image, mut mask) = (None, None);
    while let Some(mut part) = form.next().await? {
        // Clients that may send several write the name so.
        let name = part.name().trim_end_matches("[]").to_owned();
        let slot = match name.as_str() {
            "image" => Some(&mut image),
            "mask" => Some(&mut mask),
            _ => None,
        };
        let twice = slot.as_ref().map_or_else(|| fields.contains_key(&name), |slot| slot.is_some());
        if twice {
            return Err(ApiError::fault(format!("/{name}"), "is given twice; one is taken"));
        }
        match slot {
            Some(slot) => *slot = Some(part.take(Incoming::with_job(state, caller.owner.clone())).await?),
            None => drop(fields.insert(name, Value::String(part.text().await?))),
        }
    }
    let mut files = Files::default();
    for (name, incoming, id) in [("image", image, &mut files.image), ("mask", mask, &mut files.mask)] {
        let Some(incoming) = incoming else { continue };
        let upload = incoming.finish().await?;
        *id = Some(upload.id);
        fields.insert(name.to_owned(), Value::String(upload.sha256));
    }
    Ok(Form { fields, files })
}
