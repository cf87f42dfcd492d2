//! `GET /metrics`: what this process has counted, and how all of the gateway is at the moment.

mod count;
mod fleet;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Data;
use gateway_core::ErrorCode;

pub(crate) use self::count::{Arrival, answered, begin};
pub(crate) use self::fleet::Fleet;
use crate::error::ApiError;
use crate::state::ApiState;

/// The text that Prometheus reads.
pub(crate) async fn show_metrics(state: Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let off = || ApiError::new(ErrorCode::NotFound, "metrics are off (METRICS_ENABLED)");
    if !state.parts.metrics.is_on() {
        return Err(off());
    }
    let fleet = state.fleet.look(&state.parts).await;
    let text = state.parts.metrics.render(|| fleet.show()).ok_or_else(off)?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, gateway_metrics::CONTENT_TYPE)).body(text))
}
