//! URLs of pictures that are good by themselves, for an hour, as that API has them: whoever has one needs no key.

use actix_web::http::header::{CACHE_CONTROL, HOST, HeaderValue};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use gateway_core::{JobId, Scope};

use super::PREFIX;
use crate::error::ApiError;
use crate::outputs::{deliver, find_output};
use crate::query::Query;
use crate::state::ApiState;

/// Milliseconds that a URL is good for.
const GOOD_FOR: i64 = 3_600_000;
const FOLDER: &str = "files/";

/// Whether `path` is one of these, so that no credentials are asked for.
pub(crate) fn is_link(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with(FOLDER))
}

/// The URL of the output `file` of `job`.
pub(super) fn link(state: &ApiState, request: &HttpRequest, job: JobId, file: &str) -> String {
    let until = state.parts.database.now().plus_millis(GOOD_FOR).as_millis();
    let token = state.cursor_key.seal(&bound_to(until, file), job);
    format!("{}/v1{PREFIX}{FOLDER}{until}.{token}/{file}", base(state, request))
}

/// What a token is good for, besides its job.
fn bound_to(until: i64, file: &str) -> String {
    format!("link {until} {file}")
}

/// How the caller reaches the gateway: as an operator says, or as the request itself does.
fn base(state: &ApiState, request: &HttpRequest) -> String {
    if let Some(url) = &state.parts.images.public_url {
        return url.clone();
    }
    let scheme = if request.app_config().secure() { "https" } else { "http" };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    format!("{scheme}://{}", host.unwrap_or_else(|| request.app_config().host()))
}

/// The picture behind such a URL.
pub(crate) async fn download_linked(
    state: Data<ApiState>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    let (token, file) = path.into_inner();
    let job = open(&state, &token, &file).ok_or_else(ApiError::output_not_found)?;
    let output = find_output(&state, Scope::All, &job.to_string(), &file).await?;
    let mut response = deliver(&state, &request, &output, false).await?;
    // It is good for a while only, and for whoever has the URL.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    Ok(response)
}

/// The job that `token` is for, while it is good.
fn open(state: &ApiState, token: &str, file: &str) -> Option<JobId> {
    let (until, sealed) = token.split_once('.')?;
    let until: i64 = until.parse().ok()?;
    let job = state.cursor_key.open(&bound_to(until, file), sealed)?;
    (state.parts.database.now().as_millis() < until).then_some(job)
}
