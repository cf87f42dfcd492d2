//! `GET /outputs/{jobId}`.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use gateway_core::view::output_view;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::jobs::parse_id;
use crate::query::Query;
use crate::state::ApiState;

/// The outputs of one job; none while it has not succeeded.
pub(crate) async fn list_outputs(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    request: HttpRequest,
) -> Result<Json<Value>, ApiError> {
    Query::read(&request, &[])?.check()?;
    let id = parse_id(&path)?;
    let database = &state.parts.database;
    database.find_job(id, caller.scope()).await?.ok_or_else(ApiError::job_not_found)?;
    let outputs = database.outputs_of(id).await?;
    let items: Vec<Value> = outputs.iter().map(|output| output_view(id, output)).collect();
    Ok(Json(json!({"jobId": id, "items": items})))
}
