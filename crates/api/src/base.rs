//! Where the caller reaches this gateway, for answers that hold whole URLs.

use actix_web::HttpRequest;
use actix_web::http::header::HOST;

use crate::state::ApiState;

/// What such URLs begin with, without a slash at the end: as an operator says (`PUBLIC_URL`), else as the request names it.
/// What proxies say of it is not believed: anybody could say it.
pub(crate) fn base(state: &ApiState, request: &HttpRequest) -> String {
    if let Some(url) = &state.parts.images.public_url {
        return url.clone();
    }
    let scheme = if request.app_config().secure() { "https" } else { "http" };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 has it in the place of the path.
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    format!("{scheme}://{}", host.unwrap_or_else(|| request.app_config().host()))
}
