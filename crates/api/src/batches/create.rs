//! `POST /batches`: all jobs of it are accepted in one transaction, or none.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use gateway_broker::Entry;
use gateway_core::webhook::WebhookEvent;
use gateway_core::{BatchId, ErrorCode, Fault, JobId};
use gateway_db::{Acceptance, Accepted, NewBatch, RequestKey};
use serde_json::Value;

use crate::auth::Caller;
use crate::batches::find::view;
use crate::batches::request::{self, BatchRequest};
use crate::body::read_object;
use crate::correlate::CorrelationId;
use crate::error::ApiError;
use crate::files;
use crate::jobs::{
    Besides, JobRequest, check_callback, check_room, check_workflow, entry, follow_up, hint, idempotency, raise,
    submit, to_the_end,
};
use crate::metrics::Arrival;
use crate::query::Query;
use crate::state::ApiState;

/// Accepts a batch.
pub(crate) async fn create_batch(
    state: Data<ApiState>,
    caller: Caller,
    correlation: CorrelationId,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    let body = read_object(&request, payload, state.parts.http.max_job_bytes).await?;
    let key = idempotency::key(&request, &body)?;
    if let Some(key) = &key
        && let Some(known) = state.parts.database.find_request(&caller.owner, key).await?
    {
        return answer_known(&state, known).await;
    }
    let (request, faults) = request::read(body, state.parts.database.now());
    if !faults.is_empty() {
        return Err(ApiError::invalid(faults));
    }
    let created = accept_batch(&state, &caller, &correlation, request, key).await?;
    Ok(created.into_response())
}

/// Accepts all jobs that `request` asks for, or none.
pub(crate) async fn accept_batch(
    state: &Data<ApiState>,
    caller: &Caller,
    correlation: &CorrelationId,
    mut request: BatchRequest,
    key: Option<RequestKey>,
) -> Result<Created, ApiError> {
    // Nothing is looked up or fetched for whoever may not run it.
    check_workflow(caller, &request.shared.workflow_id)?;
    let callback = request.shared.callback.take().map(|mut callback| {
        callback.events = vec![WebhookEvent::BatchCompleted];
        callback
    });
    if let Some(callback) = &callback {
        check_callback(state, callback).await?;
    }
    let id = BatchId::new(state.parts.database.now(), rand::random());
    let items = submit_all(state, caller, &mut request, correlation, id).await?;
    let hits = items.iter().filter(|item| item.hit.is_some()).count();
    check_room(state, caller, u64::try_from(items.len() - hits).unwrap_or(u64::MAX)).await?;
    let batch = NewBatch {
        id,
        owner: caller.owner.clone(),
        workflow_id: request.shared.workflow_id,
        callback,
        metadata: request.shared.metadata,
        correlation_id: correlation.id().to_owned(),
        trace_parent: correlation.trace(),
        request: key,
    };
    let state = state.clone().into_inner();
    to_the_end(async move { store(&state, batch, items).await }).await
}

/// Every job of the batch, checked; or the faults of all.
async fn submit_all(
    state: &ApiState,
    caller: &Caller,
    request: &mut BatchRequest,
    correlation: &CorrelationId,
    batch: BatchId,
) -> Result<Vec<Acceptance>, ApiError> {
    let ready = state.workflow(&request.shared.workflow_id).await?;
    // What all jobs share is fetched once.
    let JobRequest { inputs, params, .. } = &mut request.shared;
    files::settle(state, caller, &ready.workflow, inputs, params).await?;
    let mut faults = Vec::new();
    let mut items = Vec::with_capacity(request.items.len());
    for (index, item) in request.items.iter().enumerate() {
        let besides = Besides { batch: Some(batch), ..Besides::default() };
        match submit(state, caller, request.of(item), correlation.clone(), besides).await {
            Ok(submission) => items.push(submission.acceptance),
            Err(error) if error.code == ErrorCode::ValidationError && request.listed => {
                let at = |fault: Fault| Fault::new(format!("/items/{index}{}", fault.path), fault.message);
                faults.extend(error.faults.into_iter().map(at));
            }
            Err(error) => return Err(error),
        }
    }
    if faults.is_empty() { Ok(items) } else { Err(ApiError::invalid(faults)) }
}

/// What a caller hears of a new batch.
pub(crate) struct Created {
    id: BatchId,
    /// Its jobs, in order.
    pub(crate) jobs: Vec<JobId>,
    body: Value,
    status: actix_web::http::StatusCode,
}

impl Created {
    fn into_response(self) -> HttpResponse {
        let location = format!("/batches/{}", self.id);
        HttpResponse::build(self.status).insert_header((LOCATION, location)).json(self.body)
    }
}

async fn store(state: &ApiState, batch: NewBatch, items: Vec<Acceptance>) -> Result<Created, ApiError> {
    let id = batch.id;
    let waiting: Vec<_> = items.iter().map(|item| (entry(&item.job), Arrival::of(&item.job))).collect();
    let ids: Vec<JobId> = waiting.iter().map(|(entry, _)| entry.job).collect();
    let (accepted, aftermath) = state.parts.database.accept_batch(batch, items).await?;
    follow_up(state, aftermath).await;
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err(known) => return known_batch(state, known).await,
    };
    let mut entries: Vec<Entry> = Vec::new();
    for ((entry, arrival), accepted) in waiting.into_iter().zip(accepted) {
        arrival.tell(&accepted);
        match accepted {
            Accepted::Queued => entries.push(entry),
            Accepted::Joined(Some(leader)) => raise(state, leader).await,
            _ => {}
        }
    }
    if !entries.is_empty() {
        hint(state, entries).await;
    }
    let found = state.parts.database.find_batch(id, gateway_core::Scope::All).await?;
    let body = found.map(|batch| view(&batch, &ids)).unwrap_or_default();
    Ok(Created { id, jobs: ids, body, status: actix_web::http::StatusCode::ACCEPTED })
}

async fn answer_known(state: &ApiState, known: Accepted) -> Result<HttpResponse, ApiError> {
    known_batch(state, known).await.map(Created::into_response)
}

/// The batch that a request came to whose key was used before.
pub(crate) async fn known_batch(state: &ApiState, known: Accepted) -> Result<Created, ApiError> {
    let Accepted::Repeated(subject) = known else {
        return Err(idempotency::reused());
    };
    let database = &state.parts.database;
    let found = match subject.parse::<BatchId>() {
        Ok(id) => database.find_batch(id, gateway_core::Scope::All).await?,
        Err(_) => None,
    };
    let Some(batch) = found else {
        return Err(ApiError::new(ErrorCode::Gone, "the batch that this request came to was removed")
            .recommend("use a new id to have it made anew"));
    };
    let ids = database.jobs_of_batch(batch.id, 0, i64::from(batch.total)).await?;
    let body = view(&batch, &ids);
    Ok(Created { id: batch.id, jobs: ids, body, status: actix_web::http::StatusCode::OK })
}
