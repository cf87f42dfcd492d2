//! URLs of pictures that are good by themselves, for an hour, as that API has them: whoever has one needs no key.

use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use gateway_core::{CursorKey, JobId, Scope};

use super::PREFIX;
use crate::base::base;
use crate::error::ApiError;
use crate::outputs::{deliver, find_output};
use crate::query::Query;
use crate::state::ApiState;

/// Milliseconds that a URL is good for.
const GOOD_FOR: i64 = 3_600_000;
const FOLDER: &str = "files/";
/// Whose pages may show it: of any origin, as they may with that API's own URLs.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Whether `path` is one of these, so that no credentials are asked for.
pub(crate) fn is_link(path: &str) -> bool {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with(FOLDER))
}

/// The URL of the output `file` of `job`.
pub(super) fn link(state: &ApiState, request: &HttpRequest, job: JobId, file: &str) -> String {
    let until = state.parts.database.now().plus_millis(GOOD_FOR).as_millis();
    let token = seal(&state.cursor_key, until, job, file);
    format!("{}/v1{PREFIX}{FOLDER}{token}/{file}", base(state, request))
}

/// What a token is good for, besides its job.
fn bound_to(until: i64, file: &str) -> String {
    format!("link {until} {file}")
}

/// The picture behind such a URL.
pub(crate) async fn download_linked(
    state: Data<ApiState>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    let (token, file) = path.into_inner();
    let now = state.parts.database.now().as_millis();
    let job = open(&state.cursor_key, now, &token, &file).ok_or_else(ApiError::output_not_found)?;
    let output = find_output(&state, Scope::All, &job.to_string(), &file).await?;
    let mut response = deliver(&state, &request, &output, false).await?;
    // It is good for a while only, and for whoever has the URL.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    response.headers_mut().insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    Ok(response)
}

/// The job that `token` is for, while it is good.
fn open(key: &CursorKey, now: i64, token: &str, file: &str) -> Option<JobId> {
    let (until, sealed) = token.split_once('.')?;
    let until: i64 = until.parse().ok()?;
    let job = key.open(&bound_to(until, file), sealed)?;
    (now < until).then_some(job)
}

fn seal(key: &CursorKey, until: i64, job: JobId, file: &str) -> String {
    format!("{until}.{}", key.seal(&bound_to(until, file), job))
}

#[cfg(test)]
mod tests {
    use gateway_core::Timestamp;

    use super::*;

    #[test]
    fn a_url_opens_one_file_until_its_hour_ends() {
        let key = CursorKey::new([7; 32]);
        let job = JobId::new(Timestamp::from_millis(1), [1; 10]);
        let token = seal(&key, 1_000, job, "image_001.png");
        assert_eq!(open(&key, 999, &token, "image_001.png"), Some(job));
        assert_eq!(open(&key, 1_000, &token, "image_001.png"), None, "it has ended");
        assert_eq!(open(&key, 999, &token, "image_002.png"), None);
        assert_eq!(open(&key, 999, &token.replace("1000.", "2000."), "image_001.png"), None);
        assert_eq!(open(&CursorKey::new([8; 32]), 999, &token, "image_001.png"), None);
        for nonsense in ["", ".", "1000", "1000.", "x.y"] {
            assert_eq!(open(&key, 999, nonsense, "image_001.png"), None, "{nonsense}");
        }
    }

    #[test]
    fn such_urls_are_told_with_and_without_their_version() {
        assert!(is_link("/images/files/1.a/b.png") && is_link("/v1/images/files/1.a/b.png"));
        assert!(!is_link("/images/generations") && !is_link("/v1/jobs") && !is_link("/images/filesystem"));
    }
}
