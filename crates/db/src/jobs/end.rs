//! How jobs end: settled by their worker, canceled by their owner, deleted.

use std::time::Duration;

use diesel::prelude::*;
use gateway_core::event::LogLine;
use gateway_core::output::storage_prefix;
use gateway_core::record::Output;
use gateway_core::{JobError, JobId, JobStatus, Scope};

use crate::engine::{Conn, on_engine};
use crate::jobs::aftermath::{Aftermath, Standing, after_end, take_turns_of};
use crate::jobs::claim::{append_logs, discard, held};
use crate::jobs::retention::remove;
use crate::jobs::sweep::queued;
use crate::jobs::{Lease, Moment, QueuedJob};
use crate::rows::{JobRow, OutputRow};
use crate::schema::{jobs, joined_jobs, outputs};
use crate::{Database, DbError};

/// How often a job that changes between the look and the write is looked at again.
const CANCEL_TRIES: usize = 5;

/// How a job ended.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Succeeded, failed or canceled.
    pub status: JobStatus,
    /// Why it failed.
    pub error: Option<JobError>,
    /// What it made, in order.
    pub outputs: Vec<Output>,
    /// How long collecting them took.
    pub store_ms: Option<i64>,
    /// What to add to the job's log.
    pub logs: Vec<LogLine>,
    /// How long its outputs may serve as the result of identical jobs.
    pub cache_for: Option<Duration>,
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// No such job for this caller.
    NotFound,
    /// It was queued and is canceled, the first of those that have ended; what followed from that.
    Canceled(Aftermath),
    /// It runs; its worker is to be asked.
    Requested,
    /// It waits, but an earlier claim's prompt may still be in ComfyUI: whoever claims it next stops it there, so the
    /// queue is to hand it out at once.
    RequestedOfQueued(QueuedJob),
    /// It had ended like this.
    Ended(JobStatus),
}

/// What became of a wish to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// No such job for this caller.
    NotFound,
    /// It has not ended.
    NotEnded(JobStatus),
    /// Gone; its files follow.
    Deleted,
}

impl Database {
    /// Settles a claimed job: final state, outputs, log, and all that follows from its end, in one transaction. `None`
    /// where the claim was lost and nothing changed.
    ///
    /// # Errors
    /// [`DbError`] where nothing was written.
    pub async fn settle_job(&self, lease: Lease, settlement: Settlement) -> Result<Option<Aftermath>, DbError> {
        let moment = self.moment();
        self.write_alone(move |connection| settle(connection, lease, &settlement, moment)).await
    }

    /// Cancels a queued job at once; notes the wish for a running one.
    ///
    /// # Errors
    /// [`DbError`] where nothing was written.
    pub async fn cancel_job(&self, id: JobId, scope: Scope) -> Result<CancelOutcome, DbError> {
        let moment = self.moment();
        self.write_alone(move |connection| {
            for _ in 0..CANCEL_TRIES {
                let Some(job) = scoped(connection, id, &scope)? else {
                    return Ok(CancelOutcome::NotFound);
                };
                take_turns_of(connection, [&job])?;
                if let Some(outcome) = cancel(connection, &job, moment)? {
                    return Ok(outcome);
                }
            }
            Err(DbError::Unavailable { reason: String::from("the job changes hands all the time") })
        })
        .await
    }

    /// Deletes an ended job with its outputs' records and logs; its files are marked for removal.
    ///
    /// # Errors
    /// [`DbError`] where nothing was deleted.
    pub async fn delete_job(&self, id: JobId, scope: Scope) -> Result<DeleteOutcome, DbError> {
        let now = self.now();
        self.write_alone(move |connection| {
            let Some(row) = scoped(connection, id, &scope)? else {
                return Ok(DeleteOutcome::NotFound);
            };
            let status = row.state()?;
            if !status.is_ended() {
                return Ok(DeleteOutcome::NotEnded(status));
            }
            take_turns_of(connection, [&row])?;
            remove(connection, &row, now)?;
            Ok(DeleteOutcome::Deleted)
        })
        .await
    }
}

fn settle(
    connection: &mut Conn,
    lease: Lease,
    settlement: &Settlement,
    moment: Moment,
) -> Result<Option<Aftermath>, DbError> {
    let (now, id) = (moment.now, lease.job.to_string());
    let Some(claimed) = scoped(connection, lease.job, &Scope::All)? else { return Ok(None) };
    take_turns_of(connection, [&claimed])?;
    let error = settlement.error.as_ref().and_then(|error| serde_json::to_string(error).ok());
    let changed = diesel::update(held(lease))
        .set((
            jobs::status.eq(settlement.status.as_str()),
            jobs::error.eq(error),
            jobs::finished_at.eq(now.as_millis()),
            jobs::store_ms.eq(settlement.store_ms),
            jobs::lease_until.eq(None::<i64>),
        ))
        .execute(connection)?;
    if changed == 0 {
        return Ok(None);
    }
    let rows: Vec<OutputRow> =
        (1..).zip(&settlement.outputs).map(|(position, output)| OutputRow::of(lease.job, position, output)).collect();
    on_engine!(connection, inner => diesel::insert_into(outputs::table).values(&rows).execute(inner))?;
    let keep = if rows.is_empty() { None } else { Some(lease.epoch) };
    for epoch in (1..=lease.epoch).filter(|epoch| Some(*epoch) != keep) {
        discard(connection, &storage_prefix(lease.job, epoch), now)?;
    }
    append_logs(connection, lease.job, &settlement.logs)?;
    let mut aftermath = Aftermath::default();
    if claimed.options.is_some() || moment.redact {
        let row: JobRow = jobs::table.find(&id).select(JobRow::as_select()).get_result(connection)?;
        let until = settlement.cache_for.and_then(|span| i64::try_from(span.as_millis()).ok());
        let until = until.map(|millis| now.plus_millis(millis).as_millis());
        let job = Standing { cache_until: until, ..Standing::of(&row, &rows, moment) };
        after_end(connection, job, &mut aftermath)?;
    }
    Ok(Some(aftermath))
}

fn scoped(connection: &mut Conn, id: JobId, scope: &Scope) -> QueryResult<Option<JobRow>> {
    let mut query = jobs::table.select(JobRow::as_select()).filter(jobs::id.eq(id.to_string())).into_boxed();
    if let Scope::Owner(owner) = scope {
        query = query.filter(jobs::owner.eq(owner.as_str()));
    }
    query.get_result(connection).optional()
}

/// Cancels `job` as it was read; `None` where it has changed since.
fn cancel(connection: &mut Conn, job: &JobRow, moment: Moment) -> Result<Option<CancelOutcome>, DbError> {
    let status = job.state()?;
    let same =
        jobs::table.find(job.id.clone()).filter(jobs::status.eq(job.status.clone())).filter(jobs::epoch.eq(job.epoch));
    let (changed, outcome) = match status {
        JobStatus::Queued if job.prompt_id.is_none() => {
            let ended = JobRow {
                status: JobStatus::Canceled.as_str().to_owned(),
                finished_at: Some(moment.now.as_millis()),
                cancel_requested: true,
                ..job.clone()
            };
            let set = (
                jobs::status.eq(&ended.status),
                jobs::finished_at.eq(ended.finished_at),
                jobs::cancel_requested.eq(true),
            );
            let changed = diesel::update(same).set(set).execute(connection)?;
            let mut aftermath = Aftermath::default();
            if changed > 0 {
                diesel::delete(joined_jobs::table.find(&job.id)).execute(connection)?;
                aftermath.ended.push(ended.change(status)?);
                after_end(connection, Standing::of(&ended, &[], moment), &mut aftermath)?;
            }
            (changed, CancelOutcome::Canceled(aftermath))
        }
        JobStatus::Queued | JobStatus::Running => {
            let set = (jobs::cancel_requested.eq(true), jobs::not_before.eq(None::<i64>));
            let outcome = match status {
                JobStatus::Queued => CancelOutcome::RequestedOfQueued(QueuedJob { not_before: None, ..queued(job)? }),
                _ => CancelOutcome::Requested,
            };
            (diesel::update(same).set(set).execute(connection)?, outcome)
        }
        ended => (1, CancelOutcome::Ended(ended)),
    };
    Ok((changed > 0).then_some(outcome))
}
