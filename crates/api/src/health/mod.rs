//! Whether the gateway lives, whether it can work, and what it can do. Asks for no credentials.

mod worker;

pub use worker::HealthServer;

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use gateway_broker::{BackendReport, BackendState, WorkerReport};
use gateway_config::Environment;
use gateway_core::ErrorCode;
use gateway_core::comfyui_holes;
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::state::ApiState;

/// Contents that outputs can have and that are served as what they are.
pub(crate) const FORMATS: [&str; 11] =
    ["png", "jpeg", "webp", "gif", "mp4", "webm", "wav", "mp3", "flac", "ogg", "glb"];

/// `GET /health`: 200 while the process can answer at all.
pub(crate) async fn health(state: Data<ApiState>) -> Json<Value> {
    let parts = &state.parts;
    let workers = parts.broker.workers().await;
    // Nothing rather than 0: who scales by it must not take an outage for an empty queue.
    let depth = parts.broker.depth().await.ok().map(|depth| depth.total);
    let paused = parts.database.queue_paused().await.ok();
    Json(json!({
        "ok": true,
        "version": parts.version,
        "uptime": state.started.elapsed().as_secs(),
        "comfyui": comfyui(&workers, parts.environment),
        "queue": {"backend": parts.broker.name(), "depth": depth, "paused": paused},
        "database": parts.database.engine(),
        "workers": workers.iter().map(|worker| worker_view(worker, parts.environment)).collect::<Vec<_>>(),
        "warnings": warnings(&workers, parts.environment, parts.access.raw.enabled),
    }))
}

fn comfyui(workers: &[WorkerReport], environment: Environment) -> Value {
    let backends = || workers.iter().flat_map(|worker| &worker.backends);
    let best = backends().find(|backend| backend.state == BackendState::Ready).or_else(|| backends().next());
    let Some(backend) = best else {
        return json!({"reachable": false, "url": Value::Null, "problem": "no worker is connected"});
    };
    backend_view(backend, environment)
}

fn backend_view(backend: &BackendReport, environment: Environment) -> Value {
    let shown = environment != Environment::Production;
    let mut view = Map::new();
    view.insert("reachable".into(), Value::Bool(matches!(backend.state, BackendState::Ready | BackendState::Stuck)));
    view.insert("state".into(), json!(backend.state));
    view.insert("url".into(), if shown { json!(backend.url) } else { json!("hidden") });
    if let Some(version) = &backend.version {
        view.insert("version".into(), json!(version));
    }
    if !backend.devices.is_empty() {
        view.insert("devices".into(), json!(backend.devices));
    }
    if !backend.checkpoints.is_empty() {
        view.insert("models".into(), json!({"checkpoints": backend.checkpoints}));
    }
    if let Some(problem) = backend.problem.as_ref().filter(|_| shown) {
        view.insert("problem".into(), json!(problem));
    }
    Value::Object(view)
}

fn worker_view(worker: &WorkerReport, environment: Environment) -> Value {
    let backends: Vec<Value> = worker.backends.iter().map(|backend| backend_view(backend, environment)).collect();
    json!({"id": worker.id, "backends": backends, "state": worker.state})
}

/// What is dangerous about the servers, although they work: each of them once.
fn warnings(workers: &[WorkerReport], environment: Environment, raw: bool) -> Vec<Value> {
    let shown = environment != Environment::Production;
    let mut told = HashSet::new();
    let mut warnings = Vec::new();
    for backend in workers.iter().flat_map(|worker| &worker.backends) {
        let Some(version) = &backend.version else { continue };
        let Some(message) = comfyui_holes::warning(version, raw).filter(|_| told.insert(&backend.name)) else {
            continue;
        };
        let ids: Vec<&str> = comfyui_holes::known_holes(version).iter().map(|hole| hole.id).collect();
        let url = if shown { backend.url.as_str() } else { "hidden" };
        warnings.push(json!({"comfyui": url, "version": version, "holes": ids, "message": message}));
    }
    warnings
}

/// `GET /health/live`: the process, and nothing else. One that is about to stop says so while it still serves.
pub(crate) async fn live(state: Data<ApiState>) -> HttpResponse {
    if state.leaving.load(Ordering::Relaxed) {
        return HttpResponse::ServiceUnavailable().json(json!({"ok": false, "leaving": true}));
    }
    HttpResponse::Ok().json(json!({"ok": true}))
}

/// `GET /health/ready`: whether jobs can be taken and run; names what is missing.
pub(crate) async fn ready(state: Data<ApiState>) -> Result<Json<Value>, ApiError> {
    let parts = &state.parts;
    if let Err(error) = parts.database.ping().await {
        tracing::warn!(%error, "not ready: database");
        return Err(not_ready(ErrorCode::DatabaseUnavailable, "database: it does not answer"));
    }
    if let Err(error) = parts.broker.depth().await {
        tracing::warn!(%error, "not ready: queue");
        return Err(not_ready(ErrorCode::QueueUnavailable, "queue: it does not answer"));
    }
    let workers = parts.broker.workers().await;
    let works = |worker: &WorkerReport| worker.backends.iter().any(|backend| backend.state == BackendState::Ready);
    if parts.embedded && !workers.iter().any(works) {
        let problem = workers.iter().flat_map(|worker| &worker.backends).find_map(|backend| backend.problem.clone());
        let problem = problem.filter(|_| parts.environment != Environment::Production);
        let detail = format!("comfyui: {}", problem.unwrap_or_else(|| String::from("no server can be used")));
        return Err(not_ready(ErrorCode::ComfyuiUnreachable, &detail));
    }
    Ok(Json(json!({"ok": true})))
}

fn not_ready(code: ErrorCode, detail: &str) -> ApiError {
    ApiError { status: 503, ..ApiError::new(code, detail) }.retry_after(5)
}

/// `GET /capabilities`: the workflows and the limits.
pub(crate) async fn capabilities(state: Data<ApiState>) -> Result<Json<Value>, ApiError> {
    let parts = &state.parts;
    let workflows: Vec<Value> = parts
        .database
        .list_workflows()
        .await?
        .into_iter()
        .map(|workflow| {
            json!({
                "id": workflow.id,
                "name": workflow.name,
                "description": workflow.description,
                "inputSchema": workflow.input_schema,
            })
        })
        .collect();
    Ok(Json(json!({
        "workflows": workflows,
        "maxSize": parts.limits.max_image_size,
        "maxBatch": parts.limits.max_batch_size,
        "formats": FORMATS,
        "maxUploadBytes": parts.files.max_upload_bytes,
        "maxInlineBytes": parts.files.max_inline_bytes,
        "storageProvider": parts.storage.name(),
        "features": {
            "events": true,
            "auth": !state.is_open().await?,
            "rateLimit": true,
            "webhooks": true,
            "cache": parts.cache.ttl.is_some(),
            "idempotency": true,
            "uploads": true,
            "base64": true,
            "conversion": true,
            "batches": true,
            "rawWorkflows": parts.access.raw.enabled,
            "privacy": parts.access.privacy,
        },
    })))
}
