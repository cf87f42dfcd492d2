//! What was done by whom: noted after it was done, and `GET /audit`.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::{Data, Json};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use gateway_db::{AuditFilter, NewAudit};
use serde_json::{Value, json};

use crate::auth::{Admin, Caller, ClientAddress};
use crate::correlate::CorrelationId;
use crate::error::ApiError;
use crate::query::{Query, cut};
use crate::state::ApiState;

const DEFAULT_LIMIT: i64 = 50;

/// Whoever does what is noted, and where that came from.
pub(crate) struct Actor {
    actor: String,
    address: String,
    correlation: CorrelationId,
}

impl FromRequest for Actor {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        ready(Ok(Self {
            actor: extensions.get::<Caller>().map(|caller| caller.actor.clone()).unwrap_or_default(),
            address: extensions.get::<ClientAddress>().map(|address| address.0.to_string()).unwrap_or_default(),
            correlation: CorrelationId::of(&extensions),
        }))
    }
}

impl Actor {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.actor
    }

    /// Of its request.
    pub(crate) fn correlation(&self) -> &CorrelationId {
        &self.correlation
    }

    /// Notes that it did `action` to `target`. It was done: where that can't be noted, the log has it.
    pub(crate) async fn note(&self, state: &ApiState, action: &'static str, target: &str) {
        let entry = NewAudit {
            actor: self.actor.clone(),
            action,
            target: target.chars().take(128).collect(),
            correlation_id: self.correlation.id().to_owned(),
            address: self.address.clone(),
            detail: String::new(),
        };
        note(state, entry).await;
    }
}

/// Adds an entry. Its hash is told to the log, which is kept elsewhere: there a chain that was cut off is found out.
pub(crate) async fn note(state: &ApiState, entry: NewAudit) {
    let (action, actor, subject) = (entry.action, entry.actor.clone(), entry.target.clone());
    match state.parts.database.audit(entry).await {
        Ok(head) => {
            let (seq, hash) = (head.entry.seq, head.hash);
            tracing::info!(action, actor, subject, seq, hash, "noted in the audit log");
        }
        Err(error) => tracing::error!(%error, action, actor, subject, "not noted in the audit log"),
    }
}

/// A page of the audit log.
pub(crate) async fn list_audit(state: Data<ApiState>, _: Admin, request: HttpRequest) -> Result<Json<Value>, ApiError> {
    let mut query = Query::read(&request, &["actor", "action", "after", "before", "limit", "cursor"])?;
    let filter = AuditFilter {
        actor: query.text("actor").map(str::to_owned),
        action: query.text("action").map(str::to_owned),
        after: query.time("after"),
        before: query.time("before"),
    };
    let limit = query.limit(DEFAULT_LIMIT);
    let cursor = query.text("cursor").map(str::to_owned);
    query.check()?;
    let before = match cursor {
        // All that is seen is all there is: nothing is given away by a number.
        Some(cursor) => Some(cursor.parse::<i64>().map_err(|_error| ApiError::bad_cursor())?),
        None => None,
    };
    let mut records = state.parts.database.list_audit(filter, before, limit + 1).await?;
    let more = cut(&mut records, limit);
    let next = records.last().filter(|_| more).map(|record| record.entry.seq.to_string());
    Ok(Json(json!({"items": records, "nextCursor": next})))
}
