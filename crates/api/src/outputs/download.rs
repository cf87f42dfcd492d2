//! `GET /outputs/{jobId}/{file}`: the bytes, streamed. The file is found by a row, never by a path: no byte of
//! the request reaches the storage.

use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY, ETAG, HeaderMap,
    IF_RANGE, LOCATION, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::{StreamExt as _, stream};
use gateway_core::output::SHOWN_TYPES;
use gateway_core::{ErrorCode, Scope};
use gateway_db::Output;
use gateway_storage::ByteRange;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::etag::is_known;
use crate::jobs::parse_id;
use crate::outputs::convert;
use crate::outputs::range::{self, Wanted};
use crate::query::Query;
use crate::state::ApiState;

/// How long a URL of the storage's own is good for.
const PRESIGNED_FOR: Duration = Duration::from_secs(300);

/// One output: streamed, or where `redirect` is asked for and the storage has URLs of its own, a way to it there.
pub(crate) async fn download_output(
    state: Data<ApiState>,
    path: Path<(String, String)>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::read(&request, &[&["download", "redirect"][..], &convert::PARAMETERS].concat())?;
    let (attachment, redirect) = (query.flag("download"), query.flag("redirect"));
    let conversion = convert::wish(&mut query);
    query.check()?;
    let mut output = find_output(&state, caller.scope(), &path.0, &path.1).await?;
    if let Some(conversion) = conversion {
        output = convert::form(&state, &output, conversion).await?;
    }
    if redirect && let Some(url) = state.parts.storage.presign(&output.storage_key, PRESIGNED_FOR).await? {
        // Whoever has the URL has the output for a while: nobody is to keep it for others.
        let mut response = HttpResponse::Found();
        return Ok(response.insert_header((LOCATION, url)).insert_header((CACHE_CONTROL, "no-store")).finish());
    }
    deliver(&state, &request, &output, attachment).await
}

/// The bytes of `output`, or the part of them that `request` asks for.
pub(crate) async fn deliver(
    state: &ApiState,
    request: &HttpRequest,
    output: &Output,
    attachment: bool,
) -> Result<HttpResponse, ApiError> {
    let etag = format!("\"{}\"", output.sha256);
    let headers = request.headers();
    if is_known(headers, &etag) {
        return Ok(describe(output, &etag, attachment, StatusCode::NOT_MODIFIED).finish());
    }
    let size = u64::try_from(output.size).unwrap_or(0);
    let same = !headers.contains_key(IF_RANGE) || text(headers, IF_RANGE) == etag;
    let wanted = if same { range::parse(text(headers, RANGE), size) } else { Wanted::Whole };
    let (status, part) = match wanted {
        Wanted::Whole => (StatusCode::OK, ByteRange { start: 0, length: size }),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Nothing => {
            let detail = format!("the output has {size} bytes");
            return Err(ApiError::new(ErrorCode::RangeNotSatisfiable, detail)
                .with_header("content-range", format!("bytes */{size}")));
        }
    };
    let mut response = describe(output, &etag, attachment, status);
    if status == StatusCode::PARTIAL_CONTENT {
        let end = part.start + part.length.saturating_sub(1);
        response.insert_header((CONTENT_RANGE, format!("bytes {}-{end}/{size}", part.start)));
    }
    if request.method() == Method::HEAD {
        return Ok(response.body(SizedStream::new(part.length, stream::empty::<Result<_, actix_web::Error>>())));
    }
    let reader = state.parts.storage.open(&output.storage_key, Some(part)).await?;
    let bytes = reader.stream.map(|chunk| chunk.map_err(|error| actix_web::Error::from(ApiError::from(error))));
    Ok(response.body(SizedStream::new(part.length, bytes)))
}

/// The output `file` of `job`, where it is in `scope` and its bytes are still there.
pub(crate) async fn find_output(state: &ApiState, scope: Scope, job: &str, file: &str) -> Result<Output, ApiError> {
    let id = parse_id(job).map_err(|_error| ApiError::output_not_found())?;
    let database = &state.parts.database;
    let job = database.find_job(id, scope).await?;
    job.ok_or_else(ApiError::output_not_found)?;
    let outputs = database.outputs_of(id).await?;
    let output = outputs.into_iter().find(|output| output.file == file).ok_or_else(ApiError::output_not_found)?;
    match output.removed_at {
        None => Ok(output),
        Some(removed) => {
            let detail = format!("the output's bytes were removed at {removed} because they were old");
            Err(ApiError::new(ErrorCode::Gone, detail).recommend("run the job again with POST /jobs/{id}/retry"))
        }
    }
}

/// Status and headers. What a browser could run is never shown, only saved.
fn describe(output: &Output, etag: &str, attachment: bool, status: StatusCode) -> HttpResponseBuilder {
    let shown = SHOWN_TYPES.iter().any(|(content_type, _)| *content_type == output.content_type);
    let disposition = if attachment || !shown { "attachment" } else { "inline" };
    let mut response = HttpResponse::build(status);
    response
        .content_type(output.content_type.as_str())
        .insert_header((ETAG, etag))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((CACHE_CONTROL, "private, max-age=31536000, immutable"))
        .insert_header((CONTENT_DISPOSITION, format!("{disposition}; filename=\"{}\"", output.file)))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .insert_header(("cross-origin-resource-policy", "same-site"));
    response
}

fn text(headers: &HeaderMap, name: actix_web::http::header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
