//! The HTTP interface: which routes exist in which release, and what applies to every request.
//! What a single route does lives in the modules below.

mod control;
mod gate;
mod history;
mod info;
mod jobs;
mod prompt;
mod queue;
mod reply;
mod socket;
mod upload;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};

use crate::config::Profile;
use crate::life::Life;

/// What handlers share.
type Shared = Arc<Life>;

/// All routes below the base path.
pub(crate) fn router(life: &Arc<Life>) -> Router {
    let profile = life.profile;
    let inner = Router::new()
        .merge(routes(profile))
        .nest("/api", routes(profile).merge(job_routes(profile)))
        .route("/", get(reply::front_page))
        .merge(control_routes())
        .fallback(unknown)
        .method_not_allowed_fallback(unknown);
    let base = life.app.config.base_path.as_str();
    let outer = if base.is_empty() {
        inner
    } else {
        Router::new().nest(base, inner).merge(control_routes()).fallback(reply::proxy_not_found)
    };
    outer
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(life.clone(), gate::pass))
        .with_state(life.clone())
}

fn routes(profile: Profile) -> Router<Shared> {
    let router = Router::new()
        .route("/prompt", get(prompt::show_remaining).post(prompt::submit))
        .route("/queue", get(queue::show).post(queue::change))
        .route("/interrupt", post(queue::interrupt))
        .route("/free", post(queue::free))
        .route("/history", get(history::list).post(history::change))
        .route("/history/{prompt_id}", get(history::show))
        .route("/view", get(view::serve))
        .route("/upload/image", post(upload::image))
        .route("/upload/mask", post(upload::mask))
        .route("/object_info", get(info::all_classes))
        .route("/object_info/{class}", get(info::one_class))
        .route("/system_stats", get(info::system_stats))
        .route("/models", get(info::model_folders))
        .route("/models/{folder}", get(info::models))
        .route("/embeddings", get(info::embeddings))
        .route("/extensions", get(info::extensions))
        .route("/ws", get(socket::open));
    if profile >= Profile::V0_3_64 { router.route("/features", get(info::features)) } else { router }
}

/// These exist with the prefix only.
fn job_routes(profile: Profile) -> Router<Shared> {
    let mut router = Router::new();
    if profile >= Profile::V2026_01 {
        router = router.route("/jobs", get(jobs::list)).route("/jobs/{prompt_id}", get(jobs::show));
    }
    if profile >= Profile::V0_26 {
        router =
            router.route("/jobs/cancel", post(jobs::cancel_many)).route("/jobs/{prompt_id}/cancel", post(jobs::cancel));
    }
    router
}

/// The routes that steer the simulator; no real server has them.
fn control_routes() -> Router<Shared> {
    Router::new()
        .route("/sim/switches", get(control::switches).patch(control::change_switches))
        .route("/sim/stats", get(control::stats))
        .route("/sim/crash", post(control::crash))
}

/// ComfyUI serves static files under every unknown path, so an unknown GET is a missing file.
async fn unknown(method: Method) -> Response {
    match method {
        Method::GET | Method::HEAD => reply::missing_file(),
        Method::OPTIONS => reply::empty(axum::http::StatusCode::OK),
        _ => reply::method_not_allowed(),
    }
}
