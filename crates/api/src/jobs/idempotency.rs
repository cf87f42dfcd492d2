//! The key by which a sender's repeated request is told from a new one: `metadata.requestId`, or the header
//! `Idempotency-Key`.

use actix_web::HttpRequest;
use gateway_core::ErrorCode;
use gateway_core::cache::digest;
use gateway_db::RequestKey;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::jobs::request::{REQUEST_ID, is_request_id};

const HEADER: &str = "idempotency-key";

/// The key of a request with this `body`, where it has one.
pub(crate) fn key(request: &HttpRequest, body: &Map<String, Value>) -> Result<Option<RequestKey>, ApiError> {
    let header = header(request)?;
    // What is no key is refused where the metadata is read.
    let noted = body.get("metadata").and_then(|metadata| metadata.get("requestId")).and_then(Value::as_str);
    let noted = noted.filter(|id| is_request_id(id));
    let key = match (header, noted) {
        (Some(header), Some(noted)) if header != noted => {
            let message = "differs from metadata.requestId: give one of them, or the same in both";
            return Err(ApiError::fault("Idempotency-Key", message));
        }
        (Some(header), _) => header,
        (None, Some(noted)) => noted.to_owned(),
        (None, None) => return Ok(None),
    };
    Ok(Some(RequestKey { key, body_hash: digest(&Value::Object(body.clone())) }))
}

/// The key was used for another request.
pub(crate) fn reused() -> ApiError {
    let detail = "this request id (metadata.requestId or Idempotency-Key) was used for another request";
    ApiError::new(ErrorCode::IdempotencyKeyReused, detail)
        .recommend("use a new id for a new request; the same id only for the same body")
}

fn header(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let mut given = request.headers().get_all(HEADER);
    let Some(value) = given.next() else { return Ok(None) };
    let wrong = |message: &str| ApiError::fault("Idempotency-Key", message);
    if given.next().is_some() {
        return Err(wrong("given twice"));
    }
    let text = value.to_str().map_err(|_error| wrong("must be printable ASCII"))?;
    // The draft standard has quotes around it; most senders leave them out.
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if is_request_id(text) { Ok(Some(text.to_owned())) } else { Err(wrong(REQUEST_ID)) }
}
