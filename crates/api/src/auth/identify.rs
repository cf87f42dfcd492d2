//! Finds out who sent a request and whether it may send any more, before a handler runs. What a request may do is the
//! handler's to ask.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _};
use gateway_auth::address::bucket;
use gateway_core::ErrorCode;
use gateway_core::access::KeyRights;
use gateway_metrics::{AUTH_FAILURES, RATE_LIMIT_REFUSALS};

use crate::auth::caller::ClientAddress;
use crate::auth::{Caller, credentials, limit};
use crate::error::ApiError;
use crate::images::is_link;
use crate::state::ApiState;
use crate::target;

const API_KEY: &str = "x-api-key";
/// Open to anybody: what load balancers and people look at before they have a key.
const OPEN: [&str; 5] = ["/health", "/capabilities", "/metrics", "/openapi.json", "/docs"];
/// Never counted: probes must not be turned away.
const PROBES: [&str; 2] = ["/health/live", "/health/ready"];

/// Wraps every request.
pub(crate) async fn identify(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<ApiState>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    match admit(&state, &request).await {
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Err(error) => Ok(request.error_response(error).map_into_boxed_body()),
    }
}

async fn admit(state: &ApiState, request: &ServiceRequest) -> Result<(), ApiError> {
    target::check(request)?;
    let address = address_of(state, request);
    request.extensions_mut().insert(ClientAddress(address));
    let path = request.path();
    let path = path.strip_prefix("/v1").unwrap_or(path);
    if PROBES.contains(&path) {
        return Ok(());
    }
    let open = OPEN.contains(&path) || is_link(path) || request.method() == Method::OPTIONS;
    let who = bucket(address);
    let by_address = format!("ip:{who}");
    let presented = presented(request.headers())?;
    // Whether they are good is not even looked at: it would show, and guesses are counted elsewhere only.
    if open {
        return count(state, request, &by_address, &KeyRights::default()).await;
    }
    let caller = match presented {
        None if state.is_open().await? => Caller::local(),
        None => {
            count(state, request, &by_address, &KeyRights::default()).await?;
            AUTH_FAILURES.of(["none".into()]).increment(1);
            return Err(unauthorized("no credentials were given"));
        }
        Some(presented) => match credentials::check(state, presented, &who).await? {
            Ok(caller) => caller,
            Err(reason) => {
                credentials::failed(state, request, address, reason).await;
                let error = unauthorized("the credentials are not valid");
                return Err(match state.is_open().await? {
                    true => error.recommend("nobody is asked for any here: leave them out (unset GATEWAY_API_KEY)"),
                    false => error,
                });
            }
        },
    };
    let name = if caller.is_anybody() { by_address } else { format!("key:{}", caller.actor) };
    count(state, request, &name, &caller.rights).await?;
    request.extensions_mut().insert(caller);
    Ok(())
}

/// The client's address: that of the connection, unless a trusted proxy says better.
fn address_of(state: &ApiState, request: &ServiceRequest) -> std::net::IpAddr {
    let peer = request.peer_addr().map_or(std::net::IpAddr::from([0, 0, 0, 0]), |peer| peer.ip());
    let forwarded: Vec<&str> =
        request.headers().get_all("x-forwarded-for").map(|value| value.to_str().unwrap_or_default()).collect();
    state.parts.access.proxies.client(peer, &forwarded)
}

/// What a request shows to be let in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Presented<'a> {
    /// In `X-API-Key`.
    Key(&'a str),
    /// After `Bearer`: a token, or a key.
    Bearer(&'a str),
    /// Nothing that can be read.
    Unreadable,
}

fn presented(headers: &HeaderMap) -> Result<Option<Presented<'_>>, ApiError> {
    let mut keys = headers.get_all(API_KEY);
    let mut authorizations = headers.get_all(AUTHORIZATION);
    let (key, authorization) = (keys.next(), authorizations.next());
    if keys.next().is_some() || authorizations.next().is_some() || (key.is_some() && authorization.is_some()) {
        return Err(ApiError::bad_request("credentials are given twice; send one of X-API-Key and Authorization"));
    }
    if let Some(key) = key {
        return Ok(Some(key.to_str().map_or(Presented::Unreadable, Presented::Key)));
    }
    let Some(value) = authorization else { return Ok(None) };
    let Ok(text) = value.to_str() else { return Ok(Some(Presented::Unreadable)) };
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(Presented::Bearer(token))),
        _ => Ok(Some(Presented::Unreadable)),
    }
}

async fn count(state: &ApiState, request: &ServiceRequest, name: &str, rights: &KeyRights) -> Result<(), ApiError> {
    let (decision, headers) = limit::take(state, name, rights.rate_limit).await;
    let allowed = decision.allowed;
    request.extensions_mut().insert(headers);
    if allowed {
        return Ok(());
    }
    let counted = if name.starts_with("key:") { "key" } else { "address" };
    RATE_LIMIT_REFUSALS.of([counted.into()]).increment(1);
    let seconds = u32::try_from(decision.retry_after_seconds()).unwrap_or(u32::MAX).max(1);
    Err(ApiError::new(ErrorCode::RateLimited, "more requests than are allowed were sent")
        .recommend("wait as long as Retry-After says; an operator can raise RATE_LIMIT_MAX, or the key's own limit")
        .retry_after(seconds))
}

fn unauthorized(detail: &str) -> ApiError {
    ApiError::new(ErrorCode::AuthFailed, detail)
        .recommend("send a key as X-API-Key, or a token as Authorization: Bearer")
        .with_header("www-authenticate", "Bearer realm=\"comfyui-gateway\"")
}
