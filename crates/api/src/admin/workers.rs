//! `GET /workers` and `POST /workers/{id}/drain`.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use gateway_broker::Control;
use gateway_core::ErrorCode;
use serde_json::{Value, json};

use crate::audit::Actor;
use crate::auth::Admin;
use crate::body::Nothing;
use crate::error::ApiError;
use crate::query::Query;
use crate::state::ApiState;

/// The workers that live, with their ComfyUI servers.
pub(crate) async fn list_workers(
    state: Data<ApiState>,
    _: Admin,
    request: HttpRequest,
) -> Result<Json<Value>, ApiError> {
    Query::read(&request, &[])?.check()?;
    Ok(Json(json!({"items": state.parts.broker.workers().await, "nextCursor": Value::Null})))
}

/// Lets a worker take no more jobs; those that it has end.
pub(crate) async fn drain_worker(
    state: Data<ApiState>,
    _: Admin,
    actor: Actor,
    path: Path<String>,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    let worker = path.into_inner();
    if !state.parts.broker.workers().await.iter().any(|known| known.id == worker) {
        let error = ApiError::new(ErrorCode::NotFound, "there is no such worker");
        return Err(error.recommend("GET /workers lists those that live"));
    }
    state.parts.broker.control(Control::Drain { worker: worker.clone() }).await?;
    actor.note(&state, "worker.drain", &worker).await;
    Ok(HttpResponse::Accepted().json(json!({"id": worker, "state": "draining"})))
}
