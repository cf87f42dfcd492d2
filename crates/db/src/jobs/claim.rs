//! Claims: taking a job, keeping it, giving it back. All by compare-and-set on state and epoch.

use diesel::prelude::*;
use gateway_core::event::LogLine;
use gateway_core::output::storage_prefix;
use gateway_core::webhook::WebhookEvent;
use gateway_core::{JobId, JobStatus, Timestamp};

use crate::engine::{Conn, on_engine};
use crate::jobs::aftermath::{Aftermath, Standing, tell_of_job};
use crate::jobs::{Claim, Claimed, Lease, Release, Renewal};
use crate::rows::{JobRow, LogRow};
use crate::schema::{job_logs, jobs, trash};
use crate::{Database, DbError};

impl Database {
    /// Claims job `id`: `queued` → `running`, the epoch raised, the prompt id stored. `None` where it is not
    /// to be had (another worker has it, it ended, it is not yet due): drop the queue's entry.
    ///
    /// # Errors
    /// [`DbError`] where the claim could not be written.
    pub async fn claim_job(&self, id: JobId, claim: Claim) -> Result<Option<Claimed>, DbError> {
        let moment = self.moment();
        let now = moment.now;
        self.write(move |connection| {
            let Some(mut row) = jobs::table
                .find(id.to_string())
                .filter(jobs::status.eq(JobStatus::Queued.as_str()))
                .select(JobRow::as_select())
                .get_result(connection)
                .optional()?
            else {
                return Ok(None);
            };
            if row.not_before.is_some_and(|due| due > now.as_millis()) {
                // The caller drops the queue's entry; the sweep tells the queue anew.
                diesel::update(jobs::table.find(&row.id))
                    .set(jobs::dispatched_at.eq(None::<i64>))
                    .execute(connection)?;
                return Ok(None);
            }
            let look_first = row.prompt_id.is_some();
            // Whoever else claims it now changes one of these.
            let same = jobs::table
                .find(row.id.clone())
                .filter(jobs::status.eq(JobStatus::Queued.as_str()))
                .filter(jobs::epoch.eq(row.epoch));
            row.status = JobStatus::Running.as_str().to_owned();
            row.epoch += 1;
            row.worker_id = Some(claim.worker_id);
            row.lease_until = Some(until(now, claim.lease));
            let begins = row.started_at.is_none();
            row.started_at = row.started_at.or(Some(now.as_millis()));
            if !look_first {
                row.attempt += 1;
                row.backend = Some(claim.backend);
                row.prompt_id = Some(id.prompt_id(row.epoch).to_string());
            }
            let changed = diesel::update(same)
                .set((
                    jobs::status.eq(&row.status),
                    jobs::attempt.eq(row.attempt),
                    jobs::epoch.eq(row.epoch),
                    jobs::worker_id.eq(&row.worker_id),
                    jobs::backend.eq(&row.backend),
                    jobs::prompt_id.eq(&row.prompt_id),
                    jobs::lease_until.eq(row.lease_until),
                    jobs::started_at.eq(row.started_at),
                    jobs::not_before.eq(None::<i64>),
                ))
                .execute(connection)?;
            if changed == 0 {
                return Ok(None);
            }
            let mut aftermath = Aftermath::default();
            if begins && row.options.is_some() {
                let options = row.options()?;
                let job = Standing::of(&row, &[], moment);
                tell_of_job(connection, job, &options, WebhookEvent::Started, &mut aftermath)?;
            }
            Ok(Some(Claimed { job: row.into_job()?, look_first, messages: aftermath.messages }))
        })
        .await
    }

    /// Begins a new attempt within a claim, after the earlier prompt turned out not to be in ComfyUI: a new
    /// epoch and with it a new prompt id. `None` where the claim is lost.
    ///
    /// # Errors
    /// [`DbError`] where it could not be written.
    pub async fn begin_attempt(&self, lease: Lease, backend: &str) -> Result<Option<Claimed>, DbError> {
        let backend = backend.to_owned();
        self.write(move |connection| {
            let epoch = lease.epoch + 1;
            let changed = diesel::update(held(lease))
                .set((
                    jobs::epoch.eq(epoch),
                    jobs::attempt.eq(jobs::attempt + 1),
                    jobs::backend.eq(backend),
                    jobs::prompt_id.eq(lease.job.prompt_id(epoch).to_string()),
                ))
                .execute(connection)?;
            if changed == 0 {
                return Ok(None);
            }
            let row = jobs::table.find(lease.job.to_string()).select(JobRow::as_select()).get_result(connection)?;
            Ok(Some(Claimed { job: row.into_job()?, look_first: false, messages: false }))
        })
        .await
    }

    /// Notes the id that an old ComfyUI gave the prompt in place of ours.
    ///
    /// # Errors
    /// [`DbError`] where it could not be written.
    pub async fn rename_prompt(&self, lease: Lease, prompt_id: &str) -> Result<bool, DbError> {
        let prompt_id = prompt_id.to_owned();
        self.write(move |connection| {
            Ok(diesel::update(held(lease)).set(jobs::prompt_id.eq(prompt_id)).execute(connection)? > 0)
        })
        .await
    }

    /// Renews `leases` and tells of each whether it holds. Blocks: for a thread that does nothing else.
    ///
    /// # Errors
    /// [`DbError`] where nothing was renewed.
    pub fn renew_leases(&self, leases: Vec<Lease>, lease: std::time::Duration) -> Result<Vec<Renewal>, DbError> {
        let lease_until = until(self.now(), lease);
        self.write_blocking(move |connection| {
            leases.into_iter().map(|lease| renew(connection, lease, lease_until)).collect()
        })
    }

    /// Gives a job back to the queue. `false` where the claim was lost and nothing changed.
    ///
    /// # Errors
    /// [`DbError`] where it could not be written.
    pub async fn release_job(&self, lease: Lease, release: Release) -> Result<bool, DbError> {
        let now = self.now();
        self.write(move |connection| {
            let refund = i32::from(!release.used_attempt);
            let changed = diesel::update(held(lease))
                .set((
                    jobs::status.eq(JobStatus::Queued.as_str()),
                    jobs::attempt.eq(jobs::attempt - refund),
                    jobs::not_before.eq(release.not_before.map(Timestamp::as_millis)),
                    jobs::worker_id.eq(None::<String>),
                    jobs::lease_until.eq(None::<i64>),
                    jobs::dispatched_at.eq(None::<i64>),
                ))
                .execute(connection)?;
            if changed == 0 {
                return Ok(false);
            }
            let row = || jobs::table.find(lease.job.to_string());
            if !release.prompt_may_live {
                diesel::update(row())
                    .set((jobs::prompt_id.eq(None::<String>), jobs::backend.eq(None::<String>)))
                    .execute(connection)?;
            }
            // It never ran: it still waits, since it was accepted.
            diesel::update(row().filter(jobs::attempt.eq(0)))
                .set(jobs::started_at.eq(None::<i64>))
                .execute(connection)?;
            discard(connection, &storage_prefix(lease.job, lease.epoch), now)?;
            append_logs(connection, lease.job, &release.logs)?;
            Ok(true)
        })
        .await
    }

    /// Adds lines to the log of a job whose claim holds.
    ///
    /// # Errors
    /// [`DbError`] where they could not be written.
    pub async fn log_job(&self, lease: Lease, lines: Vec<LogLine>) -> Result<(), DbError> {
        self.write(move |connection| {
            let holds: i64 = held(lease).count().get_result(connection)?;
            if holds > 0 {
                append_logs(connection, lease.job, &lines)?;
            }
            Ok(())
        })
        .await
    }
}

/// The row of a job, if this claim still holds it.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn held(lease: Lease) -> _ {
    let id: String = lease.job.to_string();
    let epoch: i64 = lease.epoch;
    let running: &'static str = JobStatus::Running.as_str();
    jobs::table.filter(jobs::id.eq(id)).filter(jobs::status.eq(running)).filter(jobs::epoch.eq(epoch))
}

/// Marks a folder of the storage for removal.
pub(super) fn discard(connection: &mut Conn, prefix: &str, now: Timestamp) -> QueryResult<()> {
    let row = (trash::prefix.eq(prefix), trash::created_at.eq(now.as_millis()));
    let insert = diesel::insert_into(trash::table).values(row).on_conflict_do_nothing();
    on_engine!(connection, inner => insert.execute(inner))?;
    Ok(())
}

pub(super) fn append_logs(connection: &mut Conn, job: JobId, lines: &[LogLine]) -> QueryResult<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let id = job.to_string();
    let last: Option<i32> = job_logs::table
        .filter(job_logs::job_id.eq(&id))
        .select(diesel::dsl::max(job_logs::seq))
        .get_result(connection)?;
    let next = last.map_or(0, |seq| seq + 1);
    let rows: Vec<LogRow> = (next..).zip(lines).map(|(seq, line)| LogRow::of(&id, seq, line)).collect();
    on_engine!(connection, inner => diesel::insert_into(job_logs::table).values(&rows).execute(inner))?;
    Ok(())
}

fn renew(connection: &mut Conn, lease: Lease, lease_until: i64) -> Result<Renewal, DbError> {
    let held_now = diesel::update(held(lease)).set(jobs::lease_until.eq(lease_until)).execute(connection)? > 0;
    let cancel_requested = if held_now {
        jobs::table.find(lease.job.to_string()).select(jobs::cancel_requested).get_result(connection)?
    } else {
        false
    };
    Ok(Renewal { lease, held: held_now, cancel_requested })
}

fn until(now: Timestamp, lease: std::time::Duration) -> i64 {
    now.plus_millis(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX)).as_millis()
}
