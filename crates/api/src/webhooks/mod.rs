//! The log of messages to a job's owner, and sending one again.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use gateway_core::{DeliveryId, ErrorCode};
use gateway_db::{DeliveryRecord, DeliveryTry};
use serde_json::{Value, json};

use crate::audit::Actor;
use crate::auth::Caller;
use crate::batches;
use crate::body::Nothing;
use crate::error::ApiError;
use crate::jobs::parse_id;
use crate::query::Query;
use crate::state::ApiState;

/// The messages about one job, each with its tries.
pub(crate) async fn list_deliveries(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    request: HttpRequest,
) -> Result<Json<Value>, ApiError> {
    Query::read(&request, &[])?.check()?;
    let id = parse_id(&path)?;
    let database = &state.parts.database;
    database.find_job(id, caller.scope()).await?.ok_or_else(ApiError::job_not_found)?;
    let items: Vec<Value> = database.deliveries_of(&id.to_string()).await?.iter().map(view).collect();
    Ok(Json(json!({"jobId": id, "items": items})))
}

/// Has one message sent once more, with the same id and the same bytes.
pub(crate) async fn redeliver(
    state: Data<ApiState>,
    path: Path<(String, String)>,
    caller: Caller,
    actor: Actor,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    let job = parse_id(&path.0)?;
    state.parts.database.find_job(job, caller.scope()).await?.ok_or_else(ApiError::job_not_found)?;
    let id = send_again(&state, &caller, &actor, &job.to_string(), &path.1).await?;
    Ok(HttpResponse::Accepted().json(json!({"jobId": job, "deliveryId": id, "status": "pending"})))
}

/// The messages about one batch, each with its tries.
pub(crate) async fn list_batch_deliveries(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    request: HttpRequest,
) -> Result<Json<Value>, ApiError> {
    Query::read(&request, &[])?.check()?;
    let id = batches::parse_id(&path)?;
    let database = &state.parts.database;
    database.find_batch(id, caller.scope()).await?.ok_or_else(batches::not_found)?;
    let items: Vec<Value> = database.deliveries_of(&id.to_string()).await?.iter().map(view).collect();
    Ok(Json(json!({"batchId": id, "items": items})))
}

/// Has a message about a batch sent once more.
pub(crate) async fn redeliver_batch(
    state: Data<ApiState>,
    path: Path<(String, String)>,
    caller: Caller,
    actor: Actor,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    let batch = batches::parse_id(&path.0)?;
    state.parts.database.find_batch(batch, caller.scope()).await?.ok_or_else(batches::not_found)?;
    let id = send_again(&state, &caller, &actor, &batch.to_string(), &path.1).await?;
    Ok(HttpResponse::Accepted().json(json!({"batchId": batch, "deliveryId": id, "status": "pending"})))
}

/// Has the message `delivery` about `subject`, a job or a batch, sent once more; gives its id.
async fn send_again(
    state: &ApiState,
    caller: &Caller,
    actor: &Actor,
    subject: &str,
    delivery: &str,
) -> Result<DeliveryId, ApiError> {
    let missing = || ApiError::new(ErrorCode::DeliveryNotFound, "there is no such delivery");
    let id: DeliveryId = delivery.parse().map_err(|_error| missing())?;
    if !state.parts.database.redeliver(subject, id, caller.scope()).await? {
        return Err(missing());
    }
    actor.note(state, "webhook.redeliver", &id.to_string()).await;
    Ok(id)
}

fn view(record: &DeliveryRecord) -> Value {
    json!({
        "deliveryId": record.id,
        "event": record.event,
        "url": record.url,
        "status": record.status,
        "createdAt": record.created_at,
        "nextAttemptAt": record.next_at,
        "attempts": record.tries.iter().map(try_view).collect::<Vec<Value>>(),
    })
}

fn try_view(tried: &DeliveryTry) -> Value {
    json!({
        "time": tried.time,
        "status": tried.http_status,
        "durationMs": tried.duration_ms,
        "error": tried.error,
    })
}
