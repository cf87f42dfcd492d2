//! Batches: many jobs accepted together, counted together, and told of once when the last has ended.

use std::collections::BTreeMap;

use diesel::prelude::*;
use gateway_core::webhook::{Callback, WebhookEvent};
use gateway_core::{BatchId, JobId, JobStatus, Owner, Scope, Timestamp, TraceParent};
use serde_json::{Map, Value, json};

use crate::deliveries::{Message, tell};
use crate::engine::{Conn, on_engine};
use crate::jobs::{Acceptance, Accepted, Aftermath, Moment, RequestKey, accept_in, note_request};
use crate::rows::{JOINED, OPEN, object_text, parse_object};
use crate::schema::{batch_jobs, batches, jobs};
use crate::{Database, DbError};

/// A batch to be accepted.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// Its id.
    pub id: BatchId,
    /// Whose it is.
    pub owner: Owner,
    /// The workflow of its jobs.
    pub workflow_id: String,
    /// Who is to be told when its last job has ended.
    pub callback: Option<Callback>,
    /// The caller's own notes.
    pub metadata: Map<String, Value>,
    /// Follows it through every log line.
    pub correlation_id: String,
    /// The trace of the request that it came with.
    pub trace_parent: Option<TraceParent>,
    /// The key that the sender gave the request.
    pub request: Option<RequestKey>,
}

impl NewBatch {
    fn turn(&self) -> Option<String> {
        self.request.as_ref().map(|request| request.turn(&self.owner))
    }
}

/// A batch.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// The workflow of its jobs.
    pub workflow_id: String,
    /// How many jobs it has.
    pub total: i32,
    /// The caller's own notes.
    pub metadata: Map<String, Value>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its last job ended.
    pub ended_at: Option<Timestamp>,
    /// Its jobs in each state, as far as they have not been deleted.
    pub by_status: BTreeMap<&'static str, i64>,
}

impl Database {
    /// Accepts a batch with all its jobs, or none of them. What became of each, in order; or of the whole, where its key
    /// was used before.
    ///
    /// # Errors
    /// [`DbError`] where nothing was accepted.
    pub async fn accept_batch(
        &self,
        batch: NewBatch,
        items: Vec<Acceptance>,
    ) -> Result<(Result<Vec<Accepted>, Accepted>, Aftermath), DbError> {
        let moment = self.moment();
        let turns: Vec<String> = items.iter().flat_map(Acceptance::turns).chain(batch.turn()).collect();
        self.write_in_turn(turns, move |connection| {
            let mut aftermath = Aftermath::default();
            let accepted = accept(connection, &batch, &items, moment, &mut aftermath)?;
            Ok((accepted, aftermath))
        })
        .await
    }

    /// The batch `id`, where it is there and in `scope`.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn find_batch(&self, id: BatchId, scope: Scope) -> Result<Option<Batch>, DbError> {
        self.read(move |connection| find(connection, id, &scope)).await
    }

    /// The jobs of a batch that have not ended, at most `limit` after `after`; in order.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn open_jobs_of(&self, id: BatchId, after: i32, limit: i64) -> Result<Vec<(i32, JobId)>, DbError> {
        self.read(move |connection| {
            let rows: Vec<(i32, String)> = batch_jobs::table
                .inner_join(jobs::table.on(jobs::id.eq(batch_jobs::job_id)))
                .filter(batch_jobs::batch_id.eq(id.to_string()))
                .filter(batch_jobs::position.gt(after))
                .filter(jobs::status.eq_any(OPEN))
                .order(batch_jobs::position)
                .limit(limit)
                .select((batch_jobs::position, batch_jobs::job_id))
                .load(connection)?;
            Ok(rows.into_iter().filter_map(|(position, id)| Some((position, id.parse().ok()?))).collect())
        })
        .await
    }

    /// The ids of a batch's jobs, at most `limit` after `after`; in order.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn jobs_of_batch(&self, id: BatchId, after: i32, limit: i64) -> Result<Vec<JobId>, DbError> {
        self.read(move |connection| {
            let rows: Vec<String> = batch_jobs::table
                .filter(batch_jobs::batch_id.eq(id.to_string()))
                .filter(batch_jobs::position.gt(after))
                .order(batch_jobs::position)
                .limit(limit)
                .select(batch_jobs::job_id)
                .load(connection)?;
            Ok(rows.into_iter().filter_map(|id| id.parse().ok()).collect())
        })
        .await
    }
}

fn accept(
    connection: &mut Conn,
    batch: &NewBatch,
    items: &[Acceptance],
    moment: Moment,
    aftermath: &mut Aftermath,
) -> Result<Result<Vec<Accepted>, Accepted>, DbError> {
    let id = batch.id.to_string();
    if let Some(request) = &batch.request
        && let Some(known) = note_request(connection, batch.owner.as_str(), request, &id, moment.now)?
    {
        return Ok(Err(known));
    }
    let total = i32::try_from(items.len()).unwrap_or(i32::MAX);
    let row = (
        batches::id.eq(&id),
        batches::owner.eq(batch.owner.as_str()),
        batches::workflow_id.eq(&batch.workflow_id),
        batches::total.eq(total),
        batches::open.eq(total),
        batches::callback.eq(batch.callback.as_ref().and_then(|callback| serde_json::to_string(callback).ok())),
        batches::metadata.eq(object_text(&batch.metadata)),
        batches::correlation_id.eq(&batch.correlation_id),
        batches::trace_parent.eq(batch.trace_parent.map(|trace| trace.to_string())),
        batches::created_at.eq(moment.now.as_millis()),
    );
    diesel::insert_into(batches::table).values(row).execute(connection)?;
    let members: Vec<_> = (1..)
        .zip(items)
        .map(|(position, item)| {
            (
                batch_jobs::batch_id.eq(&id),
                batch_jobs::position.eq(position),
                batch_jobs::job_id.eq(item.job.id.to_string()),
            )
        })
        .collect();
    on_engine!(connection, inner => diesel::insert_into(batch_jobs::table).values(members).execute(inner))?;
    let accepted = items.iter().map(|item| accept_in(connection, item, moment, aftermath));
    accepted.collect::<Result<_, _>>().map(Ok)
}

/// Counts one job of a batch as ended. Whether there is a message to be sent: it was the last.
pub(crate) fn job_ended(connection: &mut Conn, id: BatchId, now: Timestamp) -> Result<bool, DbError> {
    // The row is held from here on: of two last jobs one sees the other.
    diesel::update(batches::table.find(id.to_string())).set(batches::open.eq(batches::open - 1)).execute(connection)?;
    let ended = batches::table.find(id.to_string()).filter(batches::open.le(0)).filter(batches::ended_at.is_null());
    if diesel::update(ended).set(batches::ended_at.eq(now.as_millis())).execute(connection)? == 0 {
        return Ok(false);
    }
    type Row = (String, Option<String>, String, Option<String>);
    let (owner, callback, correlation_id, trace_parent): Row = batches::table
        .find(id.to_string())
        .select((batches::owner, batches::callback, batches::correlation_id, batches::trace_parent))
        .get_result(connection)?;
    let Some(callback) = callback.and_then(|text| serde_json::from_str::<Callback>(&text).ok()) else {
        return Ok(false);
    };
    let Some(batch) = find(connection, id, &Scope::All)? else { return Ok(false) };
    let message = Message {
        owner: &owner,
        subject: &id.to_string(),
        correlation_id: &correlation_id,
        trace_parent: trace_parent.and_then(|text| text.parse().ok()),
        url: &callback.url,
        event: WebhookEvent::BatchCompleted,
        data: batch.view(),
    };
    tell(connection, message, now)?;
    Ok(true)
}

fn find(connection: &mut Conn, id: BatchId, scope: &Scope) -> Result<Option<Batch>, DbError> {
    type Row = (String, i32, String, i64, Option<i64>);
    let mut query = batches::table
        .filter(batches::id.eq(id.to_string()))
        .select((batches::workflow_id, batches::total, batches::metadata, batches::created_at, batches::ended_at))
        .into_boxed();
    if let Scope::Owner(owner) = scope {
        query = query.filter(batches::owner.eq(owner.as_str().to_owned()));
    }
    let Some((workflow_id, total, metadata, created_at, ended_at)) = query.get_result::<Row>(connection).optional()?
    else {
        return Ok(None);
    };
    let counts: Vec<(String, i64)> = batch_jobs::table
        .inner_join(jobs::table.on(jobs::id.eq(batch_jobs::job_id)))
        .filter(batch_jobs::batch_id.eq(id.to_string()))
        .group_by(jobs::status)
        .select((jobs::status, diesel::dsl::count_star()))
        .load(connection)?;
    let mut by_status: BTreeMap<&'static str, i64> =
        JobStatus::ALL.into_iter().map(|status| (status.as_str(), 0)).collect();
    for (status, count) in counts {
        let status = if status == JOINED { Ok(JobStatus::Queued) } else { status.parse::<JobStatus>() };
        if let Ok(status) = status {
            *by_status.entry(status.as_str()).or_default() += count;
        }
    }
    Ok(Some(Batch {
        id,
        workflow_id,
        total,
        metadata: parse_object(&metadata).unwrap_or_default(),
        created_at: Timestamp::from_millis(created_at),
        ended_at: ended_at.map(Timestamp::from_millis),
        by_status,
    }))
}

impl Batch {
    /// It as JSON.
    pub fn view(&self) -> Value {
        let mut view = json!({
            "batchId": self.id,
            "workflowId": self.workflow_id,
            "status": if self.ended_at.is_some() { "completed" } else { "running" },
            "total": self.total,
            "counts": self.by_status,
            "createdAt": self.created_at,
            "metadata": self.metadata,
        });
        if let (Some(ended), Some(object)) = (self.ended_at, view.as_object_mut()) {
            object.insert(String::from("finishedAt"), json!(ended));
        }
        view
    }
}
