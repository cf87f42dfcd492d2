//! Around each request: its correlation id, the trace that it is part of, its log line, and the one place where an error
//! becomes a problem response (RFC 9457).

use std::sync::Arc;
use std::time::Instant;

use actix_cors::CorsError;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, VARY};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse, dev::Payload};
use gateway_core::ids::is_correlation_id;
use gateway_core::trace::TRACEPARENT;
use gateway_core::{ErrorCode, Fault, TraceParent};
use gateway_telemetry::{Kind, LogContext, TraceSpan, milliseconds};
use serde::Serialize;
use tracing::Span;

use crate::auth::{Caller, LimitHeaders};
use crate::connection::{Connection, until_sent};
use crate::error::ApiError;
use crate::images::{OpenAiError, is_image_api, is_link};
use crate::metrics;
use crate::routes::Route;

/// Asked so often that their lines would hide all others.
const PROBES: [&str; 4] = ["/health", "/health/live", "/health/ready", "/metrics"];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Identifies, does not locate: the host is one that can never exist.
pub(crate) const ERRORS_PAGE: &str = "https://comfyui-gateway.invalid/errors#";

/// Follows a request through every log line and travels with the job; and so does the trace that it is part of.
#[derive(Debug, Clone)]
pub(crate) struct CorrelationId(LogContext);

impl FromRequest for CorrelationId {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        std::future::ready(Ok(Self::of(&request.extensions())))
    }
}

impl CorrelationId {
    /// That of the request that these belong to.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(|| Self(LogContext::new(String::from("none"), None)))
    }

    /// The id itself.
    pub(crate) fn id(&self) -> &str {
        self.0.correlation_id()
    }

    /// The trace that the request is part of.
    pub(crate) fn trace(&self) -> Option<TraceParent> {
        self.0.trace()
    }

    /// For libraries that have tasks of their own.
    pub(crate) fn span(&self) -> Span {
        self.0.span()
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
    /// What clients of OpenAI's API look for.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<OpenAiError<'a>>,
}

/// Wraps every request.
pub(crate) async fn correlate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let openai = is_image_api(request.path());
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|value| is_correlation_id(value))
        .map_or_else(|| format!("{:032x}", rand::random::<u128>()), str::to_owned);
    let (method, given) = (request.method().clone(), trace_parent(request.headers()));
    let trace = TraceSpan::begin("request", Kind::Server, given);
    trace.set_text("http.request.method", &method);
    trace.set_text("correlationId", &id);
    let context = LogContext::new(id, trace.context().or(given));
    let id = context.correlation_id();
    request.extensions_mut().insert(CorrelationId(context.clone()));
    let busy = request.conn_data::<Arc<Connection>>().map(Connection::begin);
    // A second handle on the request would keep the router from writing its matches into it.
    let (mut response, code) = match context.clone().around(next.call(request)).await {
        Ok(response) => context.within(|| finish(response, id, openai)),
        Err(error) => {
            let (problem, code) = context.within(|| problem_of(&error, id, openai));
            let told = Told { method, route: None, path: None, actor: None, status: problem.status(), code, started };
            context.within(|| log(&told, &trace));
            return Err(InternalError::from_response(error, problem).into());
        }
    };
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let limit = response.request().extensions().get::<LimitHeaders>().cloned();
    if let Some(limit) = limit {
        limit.write(response.headers_mut());
    }
    context.within(|| log_response(&response, method, code, started, &trace));
    metrics::answered(&response, started.elapsed());
    Ok(match busy {
        Some(busy) => until_sent(response, busy),
        None => response,
    })
}

/// The trace that a request says it is part of; one that makes no sense is passed over, as the standard wants.
fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut given = headers.get_all(TRACEPARENT);
    let one = given.next().filter(|_| given.next().is_none())?;
    one.to_str().ok()?.parse().ok()
}

/// The response with the problem that it stands for, if there is one, and the code of that.
fn finish(
    response: ServiceResponse<impl MessageBody + 'static>,
    id: &str,
    openai: bool,
) -> (ServiceResponse<BoxBody>, Option<ErrorCode>) {
    match response.response().error().map(|error| problem_of(error, id, openai)) {
        Some((mut problem, code)) => {
            // What pages of other origins may read was decided further in.
            let cross = response.headers().iter().filter(|(name, _)| is_cross_origin(name));
            for (name, value) in cross {
                problem.headers_mut().append(name.clone(), value.clone());
            }
            (response.into_response(problem), code)
        }
        None => (response.map_into_boxed_body(), None),
    }
}

fn is_cross_origin(name: &HeaderName) -> bool {
    *name == VARY || name.as_str().starts_with("access-control-")
}

/// `openai`: also in the words of that API.
fn problem_of(error: &Error, id: &str, openai: bool) -> (HttpResponse, Option<ErrorCode>) {
    match error.as_error::<ApiError>() {
        Some(error) => (render(error, id, openai), Some(error.code)),
        None => {
            let error = foreign(error);
            (render(&error, id, openai), Some(error.code))
        }
    }
}

/// Errors that actix itself makes.
fn foreign(error: &Error) -> ApiError {
    if error.as_error::<CorsError>().is_some() {
        return ApiError::bad_request("pages of this origin may not call, or not with this method or these headers")
            .recommend("an operator names the origins whose pages may call in CORS_ORIGINS");
    }
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

fn render(error: &ApiError, id: &str, openai: bool) -> HttpResponse {
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
        error: openai.then(|| OpenAiError::of(error)),
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

/// What the line of a request says.
struct Told<'a> {
    method: Method,
    route: Option<&'static str>,
    path: Option<&'a str>,
    /// Who sent it, where that is known.
    actor: Option<&'a str>,
    status: StatusCode,
    code: Option<ErrorCode>,
    started: Instant,
}

fn log_response(
    response: &ServiceResponse<BoxBody>,
    method: Method,
    code: Option<ErrorCode>,
    started: Instant,
    trace: &TraceSpan,
) {
    let request = response.request();
    let route = request.app_data::<Route>().map(|route| route.0);
    let extensions = request.extensions();
    let actor = extensions.get::<Caller>().map(|caller| caller.actor.as_str());
    // Whoever reads of such a URL could use it.
    let path = Some(request.path()).filter(|path| !is_link(path));
    let told = Told { method, route, path, actor, status: response.status(), code, started };
    log(&told, trace);
}

/// One line, and the end of the request's span. The time is that until the answer begins.
fn log(told: &Told<'_>, trace: &TraceSpan) {
    macro_rules! line {
        ($level:ident, $text:literal) => {
            tracing::$level!(
                target: "gateway_request",
                method = told.method.as_str(),
                route = told.route,
                path = told.path,
                status = told.status.as_u16(),
                code = told.code.map(ErrorCode::as_str),
                actor = told.actor,
                durationMs = milliseconds(told.started.elapsed()),
                $text
            )
        };
    }
    let failed = told.status.is_server_error();
    // Why a probe is told no is logged where it arises.
    if told.route.is_some_and(|route| PROBES.contains(&route)) {
        line!(debug, "request");
    } else if failed {
        line!(warn, "request failed");
    } else {
        line!(info, "request");
    }
    trace.set_number("http.response.status_code", told.status.as_u16());
    if failed {
        trace.fail();
    }
    if let Some(route) = told.route {
        trace.set_text("http.route", route);
        trace.rename(|| format!("{} {route}", told.method));
    }
}
