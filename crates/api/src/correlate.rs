//! Around each request: its correlation id, its log line, and the one place where an error becomes a problem
//! response (RFC 9457).

use std::sync::Arc;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse, dev::Payload};
use gateway_core::ids::is_correlation_id;
use gateway_core::{ErrorCode, Fault};
use serde::Serialize;

use crate::auth::LimitHeaders;
use crate::connection::{Connection, until_sent};
use crate::error::ApiError;
use crate::metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Identifies, does not locate: the host is one that can never exist.
pub(crate) const ERRORS_PAGE: &str = "https://comfyui-gateway.invalid/errors#";

/// Follows a request through every log line and travels with the job.
#[derive(Debug, Clone)]
pub(crate) struct CorrelationId(pub(crate) String);

impl FromRequest for CorrelationId {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let id = request.extensions().get::<Self>().cloned();
        std::future::ready(Ok(id.unwrap_or_else(|| Self(String::from("none")))))
    }
}

/// The body of a problem response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: ErrorCode,
    detail: &'a str,
    correlation_id: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recommendation: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

/// Wraps every request.
pub(crate) async fn correlate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|value| is_correlation_id(value))
        .map_or_else(|| format!("{:032x}", rand::random::<u128>()), str::to_owned);
    request.extensions_mut().insert(CorrelationId(id.clone()));
    let busy = request.conn_data::<Arc<Connection>>().map(Connection::begin);
    // A second handle on the request would keep the router from writing its matches into it.
    let mut response = match next.call(request).await {
        Ok(response) => finish(response, &id),
        Err(error) => {
            let problem = problem_of(&error, &id);
            return Err(InternalError::from_response(error, problem).into());
        }
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let limit = response.request().extensions().get::<LimitHeaders>().cloned();
    if let Some(limit) = limit {
        limit.write(response.headers_mut());
    }
    log(&response, &id, started);
    metrics::answered(&response, started.elapsed());
    Ok(match busy {
        Some(busy) => until_sent(response, busy),
        None => response,
    })
}

fn finish(response: ServiceResponse<impl MessageBody + 'static>, id: &str) -> ServiceResponse<BoxBody> {
    match response.response().error().map(|error| problem_of(error, id)) {
        Some(mut problem) => {
            // What pages of other origins may read was decided further in.
            let cross = response.headers().iter().filter(|(name, _)| is_cross_origin(name));
            for (name, value) in cross {
                problem.headers_mut().append(name.clone(), value.clone());
            }
            response.into_response(problem)
        }
        None => response.map_into_boxed_body(),
    }
}

fn is_cross_origin(name: &HeaderName) -> bool {
    *name == VARY || name.as_str().starts_with("access-control-")
}

fn problem_of(error: &Error, id: &str) -> HttpResponse {
    match error.as_error::<ApiError>() {
        Some(error) => render(error, id),
        None => render(&foreign(error), id),
    }
}

/// Errors that actix itself makes.
fn foreign(error: &Error) -> ApiError {
    let status = error.as_response_error().status_code();
    match status {
        StatusCode::NOT_FOUND => ApiError::new(ErrorCode::NotFound, "there is nothing at this path"),
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(ErrorCode::PayloadTooLarge, "the body is too large"),
        status if status.is_client_error() => {
            ApiError { status: status.as_u16(), ..ApiError::bad_request("the request can't be read") }
        }
        _ => {
            tracing::error!(%error, "a request failed");
            ApiError::internal()
        }
    }
}

fn render(error: &ApiError, id: &str) -> HttpResponse {
    let problem = Problem {
        r#type: format!("{ERRORS_PAGE}{}", error.code),
        title: error.code.title(),
        status: error.status,
        code: error.code,
        detail: &error.detail,
        correlation_id: id,
        retryable: error.code.is_retryable(),
        recommendation: error.recommendation.as_deref(),
        errors: &error.faults,
    };
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, "application/problem+json"));
    // Also here: an error from before the router passes no other place.
    response.insert_header((REQUEST_ID, id));
    if let Some(seconds) = error.retry_after {
        response.insert_header((RETRY_AFTER, seconds.to_string()));
    }
    if let Some(header) = &error.header {
        response.insert_header((header.0, header.1.as_str()));
    }
    response.body(serde_json::to_vec(&problem).unwrap_or_default())
}

fn log(response: &ServiceResponse<BoxBody>, id: &str, started: Instant) {
    let request = response.request();
    let (method, path, status) = (request.method(), request.path(), response.status().as_u16());
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    // A probe that asks whether it is ready is told no, often and for good reason; the reason is logged where it arises.
    let probe = path.ends_with("/health/ready");
    if status >= 500 && !probe {
        tracing::warn!(correlation_id = id, %method, path, status, micros, "request failed");
    } else if probe || method == Method::GET || method == Method::HEAD {
        tracing::debug!(correlation_id = id, %method, path, status, micros, "request");
    } else {
        tracing::info!(correlation_id = id, %method, path, status, micros, "request");
    }
}
