//! What every request passes: counting, faults, access rules and the checks for foreign origins.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;

use super::{Shared, reply};
use crate::config::{Profile, SimConfig};
use crate::switches::HttpFault;

pub(super) async fn pass(State(life): State<Shared>, request: Request, next: Next) -> Response {
    let route = route_name(request.uri().path(), &life.app.config.base_path);
    let trace_parent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    life.app.stats.request(format!("{} {route}", request.method()), trace_parent);
    // A handler must not outlive the process it stands for.
    let handled = life.token.run_until_cancelled(admit(&life, &route, request, next)).await;
    handled.unwrap_or_else(|| reply::empty(StatusCode::BAD_GATEWAY))
}

async fn admit(life: &Shared, route: &str, request: Request, next: Next) -> Response {
    if route.starts_with("/sim/") {
        return next.run(request).await;
    }
    let switches = life.switches();
    if switches.hang_accept {
        return std::future::pending().await;
    }
    let config = &life.app.config;
    if !is_allowed(config, request.headers()) {
        let mut response = reply::html(StatusCode::UNAUTHORIZED);
        let challenge = if config.basic_auth.is_some() { "Basic realm=\"ComfyUI\"" } else { "Bearer" };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(challenge));
        return response;
    }
    if route != "/ws" {
        match switches.http_fault {
            HttpFault::None => {}
            HttpFault::Html200 => return reply::html(StatusCode::OK),
            HttpFault::Status502 => return reply::html(StatusCode::BAD_GATEWAY),
            HttpFault::Timeout => return std::future::pending().await,
        }
    }
    if is_foreign(life.profile, request.headers()) {
        return reply::empty(StatusCode::FORBIDDEN);
    }
    next.run(request).await
}

/// The route without base path and prefix, such as `/history/{prompt_id}`.
fn route_name(path: &str, base: &str) -> String {
    let path = path.strip_prefix(base).unwrap_or(path);
    let bare = path.strip_prefix("/api").filter(|rest| rest.starts_with('/') && !rest.starts_with("/jobs"));
    let path = bare.unwrap_or(path);
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["history", _] => "/history/{prompt_id}",
        ["object_info", _] => "/object_info/{class}",
        ["models", _] => "/models/{folder}",
        ["api", "jobs", "cancel"] => path,
        ["api", "jobs", _] => "/api/jobs/{prompt_id}",
        ["api", "jobs", _, "cancel"] => "/api/jobs/{prompt_id}/cancel",
        [_] | ["upload", "image" | "mask"] | ["api", "jobs"] | ["sim", _] => path,
        _ => "(unknown)",
    }
    .to_owned()
}

fn is_allowed(config: &SimConfig, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let basic = config.basic_auth.as_ref().map(|(user, password)| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        format!("Basic {pair}")
    });
    let bearer = config.bearer.as_ref().map(|token| format!("Bearer {token}"));
    let wanted: Vec<String> = basic.into_iter().chain(bearer).collect();
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == given)
}

/// A browser page of another origin on this machine, as ComfyUI tells it apart.
fn is_foreign(profile: Profile, headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if profile >= Profile::V0_26 && header("sec-fetch-site") == Some("cross-site") {
        return true;
    }
    let (Some(host), Some(origin)) = (header("host"), header("origin")) else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_loopback = matches!(name, "localhost" | "[::1]") || name.starts_with("127.");
    let origin = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    is_loopback && !origin.eq_ignore_ascii_case(host)
}
