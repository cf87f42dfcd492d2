//! How jobs end: settled by their worker, canceled by their owner, deleted.

use diesel::prelude::*;
use gateway_core::event::LogLine;
use gateway_core::output::storage_prefix;
use gateway_core::{JobError, JobId, JobStatus, Owner, Priority, Scope, Timestamp};

use crate::engine::{Conn, on_engine};
use crate::jobs::claim::{append_logs, discard, held};
use crate::jobs::{Lease, Output, QueuedJob};
use crate::rows::{JobRow, OutputRow};
use crate::schema::{jobs, outputs};
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
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// No such job for this caller.
    NotFound,
    /// It was queued and is canceled.
    Canceled,
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
    /// Settles a claimed job: final state, outputs and log in one transaction. `false` where the claim was
    /// lost and nothing changed.
    ///
    /// # Errors
    /// [`DbError`] where nothing was written.
    pub async fn settle_job(&self, lease: Lease, settlement: Settlement) -> Result<bool, DbError> {
        let now = self.now();
        let error = settlement.error.as_ref().and_then(|error| serde_json::to_string(error).ok());
        self.write(move |connection| {
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
                return Ok(false);
            }
            let rows: Vec<OutputRow> = (1..)
                .zip(&settlement.outputs)
                .map(|(position, output)| OutputRow::of(lease.job, position, output))
                .collect();
            on_engine!(connection, inner => diesel::insert_into(outputs::table).values(&rows).execute(inner))?;
            let keep = if rows.is_empty() { None } else { Some(lease.epoch) };
            for epoch in (1..=lease.epoch).filter(|epoch| Some(*epoch) != keep) {
                discard(connection, &storage_prefix(lease.job, epoch), now)?;
            }
            append_logs(connection, lease.job, &settlement.logs)?;
            Ok(true)
        })
        .await
    }

    /// Cancels a queued job at once; notes the wish for a running one.
    ///
    /// # Errors
    /// [`DbError`] where nothing was written.
    pub async fn cancel_job(&self, id: JobId, scope: Scope) -> Result<CancelOutcome, DbError> {
        let now = self.now();
        self.write(move |connection| {
            for _ in 0..CANCEL_TRIES {
                let Some(job) = scoped(connection, id, &scope)? else {
                    return Ok(CancelOutcome::NotFound);
                };
                if let Some(outcome) = cancel(connection, &job, id, now)? {
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
        self.write(move |connection| {
            let Some(job) = scoped(connection, id, &scope)? else {
                return Ok(DeleteOutcome::NotFound);
            };
            let job = job.into_job()?;
            if !job.status.is_ended() {
                return Ok(DeleteOutcome::NotEnded(job.status));
            }
            for epoch in 1..=job.epoch {
                discard(connection, &storage_prefix(id, epoch), now)?;
            }
            diesel::delete(jobs::table.find(id.to_string())).execute(connection)?;
            Ok(DeleteOutcome::Deleted)
        })
        .await
    }
}

fn scoped(connection: &mut Conn, id: JobId, scope: &Scope) -> QueryResult<Option<JobRow>> {
    let mut query = jobs::table.select(JobRow::as_select()).filter(jobs::id.eq(id.to_string())).into_boxed();
    if let Scope::Owner(owner) = scope {
        query = query.filter(jobs::owner.eq(owner.as_str()));
    }
    query.first(connection).optional()
}

/// Cancels `job` as it was read; `None` where it has changed since.
fn cancel(connection: &mut Conn, job: &JobRow, id: JobId, now: Timestamp) -> Result<Option<CancelOutcome>, DbError> {
    let status: JobStatus = job
        .status
        .parse()
        .map_err(|()| DbError::Corrupt { row: format!("jobs/{id}"), reason: String::from("status") })?;
    let same =
        jobs::table.find(job.id.clone()).filter(jobs::status.eq(status.as_str())).filter(jobs::epoch.eq(job.epoch));
    let (changed, outcome) = match status {
        JobStatus::Queued if job.prompt_id.is_none() => {
            let set = (
                jobs::status.eq(JobStatus::Canceled.as_str()),
                jobs::finished_at.eq(now.as_millis()),
                jobs::cancel_requested.eq(true),
            );
            (diesel::update(same).set(set).execute(connection)?, CancelOutcome::Canceled)
        }
        JobStatus::Queued | JobStatus::Running => {
            let set = (jobs::cancel_requested.eq(true), jobs::not_before.eq(None::<i64>));
            let outcome = match status {
                JobStatus::Queued => CancelOutcome::RequestedOfQueued(QueuedJob {
                    id,
                    priority: Priority::of_level(job.priority),
                    owner: Owner::new(&*job.owner),
                    since: Timestamp::from_millis(job.created_at),
                    not_before: None,
                    needs: job.needs.as_deref().and_then(|id| id.parse().ok()),
                    home: job.backend.clone().filter(|_| job.prompt_id.is_some()),
                }),
                _ => CancelOutcome::Requested,
            };
            (diesel::update(same).set(set).execute(connection)?, outcome)
        }
        ended => (1, CancelOutcome::Ended(ended)),
    };
    Ok((changed > 0).then_some(outcome))
}
