//! `GET /batches/{id}`: how its jobs stand.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use gateway_core::JobId;
use gateway_db::Batch;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::batches::{not_found, parse_id};
use crate::error::ApiError;
use crate::query::Query;
use crate::state::ApiState;

/// One batch.
pub(crate) async fn find_batch(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    request: HttpRequest,
) -> Result<Json<Value>, ApiError> {
    Query::read(&request, &[])?.check()?;
    let id = parse_id(&path)?;
    let database = &state.parts.database;
    let batch = database.find_batch(id, caller.scope()).await?.ok_or_else(not_found)?;
    let ids = database.jobs_of_batch(id, 0, i64::from(batch.total)).await?;
    Ok(Json(view(&batch, &ids)))
}

/// A batch as JSON, with the ids of its jobs in order.
pub(super) fn view(batch: &Batch, ids: &[JobId]) -> Value {
    let mut view = batch.view();
    if let Some(object) = view.as_object_mut() {
        object.insert(String::from("pollUrl"), json!(format!("/batches/{}", batch.id)));
        object.insert(String::from("jobIds"), json!(ids));
    }
    view
}
