//! `GET /openapi.json` and `GET /docs`: made once, open to anybody, with a tag.

use std::sync::LazyLock;

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{document, openapi, page};
use crate::error::ApiError;
use crate::etag;
use crate::query::Query;

/// What is answered the same to everybody.
struct Fixed {
    body: Bytes,
    etag: String,
}

impl Fixed {
    fn of(text: String) -> Self {
        Self { etag: etag::of(text.as_bytes()), body: Bytes::from(text) }
    }
}

static DOCUMENT: LazyLock<Fixed> = LazyLock::new(|| Fixed::of(openapi()));
static PAGE: LazyLock<Fixed> = LazyLock::new(|| Fixed::of(page::render(&document())));
/// The page runs no script, loads nothing, and looks as it does by its own style alone.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(page::STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The document.
pub(crate) async fn show_document(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    Ok(answer(&request, &DOCUMENT, "application/json"))
}

/// The document as a page.
pub(crate) async fn show_page(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    Ok(answer(&request, &PAGE, "text/html; charset=utf-8"))
}

fn answer(request: &HttpRequest, fixed: &Fixed, content_type: &'static str) -> HttpResponse {
    if etag::is_known(request.headers(), &fixed.etag) {
        return HttpResponse::NotModified().insert_header((ETAG, fixed.etag.as_str())).finish();
    }
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((ETAG, fixed.etag.as_str()))
        // Another version of the gateway has another: asked for each time, sent where it has changed.
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(fixed.body.clone())
}
