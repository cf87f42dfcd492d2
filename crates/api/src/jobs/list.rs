//! `GET /jobs`: a page of jobs, newest first.

use actix_web::HttpRequest;
use actix_web::web::Data;
use gateway_core::{JobStatus, Owner, Role, Scope};
use gateway_db::Filter;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::auth::{Admin, Caller};
use crate::error::ApiError;
use crate::jobs::view;
use crate::query::{Query, cut};
use crate::state::ApiState;

pub(crate) const DEFAULT_LIMIT: i64 = 20;
const PARAMETERS: [&str; 8] = ["status", "workflowId", "after", "before", "limit", "cursor", "q", "owner"];
const STATUSES: &str = "queued, running, succeeded, failed or canceled";

/// A page of the caller's jobs; an administrator's of all.
pub(crate) async fn list_jobs(
    state: Data<ApiState>,
    caller: Caller,
    request: HttpRequest,
) -> Result<actix_web::HttpResponse, ApiError> {
    let mut query = Query::read(&request, &PARAMETERS)?;
    let filter = Filter {
        status: query.parse("status", STATUSES, |text| text.parse::<JobStatus>().ok()),
        workflow_id: query.text("workflowId").map(str::to_owned),
        owner: query.text("owner").filter(|_| caller.role == Role::Admin).map(Owner::new),
        after: query.time("after"),
        before: query.time("before"),
        request_id: query.text("q").map(str::to_owned),
        dead: false,
    };
    answer(&state, caller.scope(), filter, query).await
}

/// A page of the jobs that failed because their workers were lost.
pub(crate) async fn list_dead(
    state: Data<ApiState>,
    _: Admin,
    request: HttpRequest,
) -> Result<actix_web::HttpResponse, ApiError> {
    let query = Query::read(&request, &["limit", "cursor"])?;
    let filter = Filter { dead: true, ..Filter::default() };
    answer(&state, Scope::All, filter, query).await
}

/// The page of `filter` that `query` asks for.
async fn answer(
    state: &ApiState,
    scope: Scope,
    filter: Filter,
    mut query: Query,
) -> Result<actix_web::HttpResponse, ApiError> {
    let limit = query.limit(DEFAULT_LIMIT);
    let cursor = query.text("cursor").map(str::to_owned);
    query.check()?;
    Ok(actix_web::HttpResponse::Ok().json(page(state, scope, filter, limit, cursor).await?))
}

/// A page of so many jobs, those behind `cursor`.
pub(crate) async fn page(
    state: &ApiState,
    scope: Scope,
    filter: Filter,
    limit: i64,
    cursor: Option<String>,
) -> Result<Page, ApiError> {
    let list = describe(&scope, &filter);
    let after = match cursor {
        Some(cursor) => Some(state.cursor_key.open(&list, &cursor).ok_or_else(ApiError::bad_cursor)?),
        None => None,
    };
    let database = &state.parts.database;
    let mut jobs = database.list_jobs(scope, filter, after, limit + 1).await?;
    let more = cut(&mut jobs, limit);
    let ended = jobs.iter().filter(|job| job.status.is_ended()).map(|job| job.id).collect();
    let outputs = database.outputs_of_many(ended).await?;
    let mut items = Vec::with_capacity(jobs.len());
    for job in &jobs {
        let body = view::render(state, job, outputs.get(&job.id).map_or(&[], Vec::as_slice), false).await?;
        items.push(raw(body)?);
    }
    let next = jobs.last().filter(|_| more).map(|job| state.cursor_key.seal(&list, job.id));
    Ok(Page { items, next_cursor: next })
}

/// A page of jobs as JSON.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

fn raw(body: String) -> Result<Box<RawValue>, ApiError> {
    RawValue::from_string(body).map_err(|error| {
        tracing::error!(%error, "a job could not be listed");
        ApiError::internal()
    })
}

/// What a cursor is bound to: whose jobs, which of them.
fn describe(scope: &Scope, filter: &Filter) -> String {
    let scope = match scope {
        Scope::All => Value::Null,
        Scope::Owner(owner) => json!(owner.as_str()),
    };
    json!([
        scope,
        filter.status,
        filter.workflow_id,
        filter.owner.as_ref().map(Owner::as_str),
        filter.after,
        filter.before,
        filter.request_id,
        filter.dead
    ])
    .to_string()
}
