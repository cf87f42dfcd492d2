//! `POST /mcp`: the gateway for agents, over streamable HTTP. Whoever asks is found out as for every other path; the
//! protocol itself is gateway-mcp's.

mod gateway;

use actix_web::http::StatusCode;
use actix_web::http::Uri;
use actix_web::http::header::{CACHE_CONTROL, HeaderMap, ORIGIN};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::StreamExt as _;
use gateway_config::Origins;
use gateway_core::ErrorCode;
use gateway_mcp::http::{Reply, answer, faults};
use gateway_mcp::{Limits, Server};
use tracing::Instrument as _;

use crate::auth::Caller;
use crate::base::base;
use crate::body::read_with_text;
use crate::correlate::CorrelationId;
use crate::error::ApiError;
use crate::query::Query;
use crate::state::ApiState;

use self::gateway::Within;

/// Answers one message of an agent.
pub(crate) async fn answer_message(
    state: Data<ApiState>,
    caller: Caller,
    correlation: CorrelationId,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    check_origin(&state, &caller, request.headers())?;
    let (message, text) = read_with_text(&request, payload, state.parts.http.max_job_bytes).await?;
    let faults = faults(&message);
    if !faults.is_empty() {
        return Err(ApiError::invalid(faults));
    }
    drop(message);
    let limits = Limits { wait: state.parts.mcp.wait, inline_bytes: state.parts.mcp.inline_bytes };
    let base = base(&state, &request);
    // The SDK works in tasks of its own.
    let around = correlation.span();
    let gateway = Within { state: state.get_ref().clone(), caller, correlation, base };
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    respond(answer(Server::for_request(gateway, limits), headers, Bytes::from(text)).instrument(around).await)
}

fn respond(reply: Reply) -> Result<HttpResponse, ApiError> {
    match reply {
        Reply::Accepted => Ok(HttpResponse::Accepted().finish()),
        Reply::Message(status, message) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(HttpResponse::build(status).content_type("application/json").body(message))
        }
        Reply::Events(events) => Ok(HttpResponse::Ok()
            .content_type("text/event-stream")
            .insert_header((CACHE_CONTROL, "no-store"))
            .insert_header(("x-accel-buffering", "no"))
            .streaming(events.map(Ok::<_, actix_web::Error>))),
        Reply::Refused(reason) => Err(ApiError::bad_request(reason)),
    }
}

/// A page may call where its origin may: a name that somebody made to lead here must lead no further (DNS rebinding).
/// Where any origin may and nobody is asked for credentials, only pages of this machine do.
fn check_origin(state: &ApiState, caller: &Caller, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let allowed = match &state.parts.access.origins {
        Origins::Listed(origins) => origins.iter().any(|each| each == origin),
        Origins::Any => !caller.is_anybody() || is_of_this_machine(origin),
    };
    if allowed {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Forbidden, "pages of this origin may not call this path")
        .recommend("an operator allows an origin with CORS_ORIGINS, and asks for credentials with API_KEYS"))
}

fn is_of_this_machine(origin: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    origin.scheme().is_some() && matches!(origin.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine_are_known_by_their_origin() {
        for local in ["http://localhost:6274", "http://127.0.0.1", "https://[::1]:8443", "https://localhost"] {
            assert!(is_of_this_machine(local), "{local}");
        }
        for other in ["null", "", "localhost", "http://localhost.evil.example", "http://evil.example", "file://", "x y"]
        {
            assert!(!is_of_this_machine(other), "{other}");
        }
    }
}
