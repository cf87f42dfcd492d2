//! What is old enough to go: outputs, records of jobs, uploads, keys of requests, results, messages. In small steps, so
//! that nobody waits long; several processes may sweep at once.

use std::collections::BTreeSet;
use std::time::Duration;

use diesel::prelude::*;
use gateway_core::output::storage_prefix;
use gateway_core::{JobId, JobStatus, Timestamp};

use crate::engine::Conn;
use crate::jobs::accept::KEY_FOR_MS;
use crate::jobs::aftermath::take_turns_of;
use crate::jobs::claim::discard;
use crate::jobs::outputs_of;
use crate::rows::{JobRow, OPEN};
use crate::schema::{batches, cache_entries, deliveries, idempotency, job_uploads, jobs, outputs, uploads};
use crate::{Database, DbError};

/// How long ended messages are kept whose jobs are kept for ever.
const MESSAGES_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);
/// What sorts after every storage key that begins alike.
const AFTER: char = '\u{7f}';

/// How long what is kept; `None` is for ever.
#[derive(Debug, Clone, Copy, Default)]
pub struct Retention {
    /// Records of ended jobs, with all that belongs to them.
    pub jobs: Option<Duration>,
    /// The bytes of outputs; their records stay with their job's.
    pub outputs: Option<Duration>,
}

/// How much one step took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs.
    pub jobs: usize,
    /// Jobs whose outputs' bytes went.
    pub outputs: usize,
    /// Uploads.
    pub uploads: usize,
}

impl Swept {
    /// Whether anything went.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl Database {
    /// Removes what is older than it may be: of each kind at most `limit`. Files are marked for removal.
    ///
    /// # Errors
    /// [`DbError`] where nothing was removed.
    pub async fn sweep_old(&self, retention: Retention, limit: i64) -> Result<Swept, DbError> {
        let now = self.now();
        let old_outputs = retention.outputs.map(|age| before(now, age));
        let old_jobs = retention.jobs.map(|age| before(now, age));
        let mut swept = Swept::default();
        if let Some(before) = old_outputs {
            swept.outputs = self.write_alone(move |connection| sweep_outputs(connection, before, limit, now)).await?;
        }
        if let Some(before) = old_jobs {
            swept.jobs = self.write_alone(move |connection| sweep_jobs(connection, before, limit, now)).await?;
        }
        swept.uploads = self.write(move |connection| sweep_uploads(connection, limit, now)).await?;
        let messages = old_jobs.unwrap_or(before(now, MESSAGES_FOR));
        self.write(move |connection| sweep_notes(connection, messages, old_jobs, limit, now)).await?;
        Ok(swept)
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    now.plus_millis(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// Removes an ended job whose turn was taken: its record with all that hangs on it, and its files where no other job has
/// them.
pub(crate) fn remove(connection: &mut Conn, row: &JobRow, now: Timestamp) -> Result<(), DbError> {
    let id = row.job_id()?;
    let options = row.options()?;
    let mut prefixes: BTreeSet<String> = (1..=row.epoch).map(|epoch| storage_prefix(id, epoch)).collect();
    if options.cache_key.is_some() {
        prefixes.extend(outputs_of(connection, &row.id)?.iter().map(|output| output.prefix().to_owned()));
    }
    diesel::delete(
        deliveries::table.filter(deliveries::subject_id.eq(&row.id)).filter(deliveries::ended_at.is_not_null()),
    )
    .execute(connection)?;
    diesel::delete(jobs::table.find(&row.id)).execute(connection)?;
    for prefix in prefixes {
        discard_unless_used(connection, &prefix, options.cache_key.is_some(), now)?;
    }
    Ok(())
}

/// Marks files for removal; those that several jobs may have, only where none has them any more.
fn discard_unless_used(connection: &mut Conn, prefix: &str, shared: bool, now: Timestamp) -> QueryResult<()> {
    if shared {
        let used: Option<String> = outputs::table
            .filter(outputs::removed_at.is_null())
            .filter(outputs::storage_key.ge(prefix))
            .filter(outputs::storage_key.lt(format!("{prefix}{AFTER}")))
            .select(outputs::file)
            .limit(1)
            .get_result(connection)
            .optional()?;
        if used.is_some() {
            return Ok(());
        }
    }
    discard(connection, prefix, now)
}

fn sweep_jobs(connection: &mut Conn, before: Timestamp, limit: i64, now: Timestamp) -> Result<usize, DbError> {
    let ended: Vec<&str> = JobStatus::ALL.iter().filter(|status| status.is_ended()).map(|s| s.as_str()).collect();
    let rows: Vec<JobRow> = jobs::table
        .filter(jobs::id.lt(JobId::floor(before).to_string()))
        .filter(jobs::status.eq_any(ended))
        .filter(jobs::finished_at.lt(before.as_millis()))
        .order(jobs::id)
        .limit(limit)
        .select(JobRow::as_select())
        .load(connection)?;
    take_turns_of(connection, &rows)?;
    for row in &rows {
        remove(connection, row, now)?;
    }
    Ok(rows.len())
}

fn sweep_outputs(connection: &mut Conn, before: Timestamp, limit: i64, now: Timestamp) -> Result<usize, DbError> {
    let old: Vec<String> = outputs::table
        .filter(outputs::removed_at.is_null())
        .filter(outputs::created_at.lt(before.as_millis()))
        .order(outputs::created_at)
        .limit(limit)
        .select(outputs::job_id)
        .load(connection)?;
    let rows: Vec<JobRow> =
        jobs::table.filter(jobs::id.eq_any(old)).order(jobs::id).select(JobRow::as_select()).load(connection)?;
    take_turns_of(connection, &rows)?;
    for row in &rows {
        let (id, shared) = (&row.id, row.options()?.cache_key.is_some());
        let prefixes: BTreeSet<String> =
            outputs_of(connection, id)?.iter().map(|output| output.prefix().to_owned()).collect();
        diesel::update(outputs::table.filter(outputs::job_id.eq(id)))
            .set(outputs::removed_at.eq(now.as_millis()))
            .execute(connection)?;
        diesel::delete(cache_entries::table.filter(cache_entries::job_id.eq(id))).execute(connection)?;
        for prefix in prefixes {
            discard_unless_used(connection, &prefix, shared, now)?;
        }
    }
    Ok(rows.len())
}

fn sweep_uploads(connection: &mut Conn, limit: i64, now: Timestamp) -> Result<usize, DbError> {
    let used = job_uploads::table
        .inner_join(jobs::table.on(jobs::id.eq(job_uploads::job_id)))
        .filter(job_uploads::upload_id.eq(uploads::id))
        .filter(jobs::status.eq_any(OPEN))
        .select(job_uploads::upload_id);
    let old: Vec<(String, String)> = uploads::table
        .filter(uploads::expires_at.le(now.as_millis()))
        .filter(diesel::dsl::not(diesel::dsl::exists(used)))
        .order(uploads::expires_at)
        .limit(limit)
        .select((uploads::id, uploads::storage_key))
        .load(connection)?;
    for (id, key) in &old {
        diesel::delete(uploads::table.find(id)).execute(connection)?;
        discard(connection, key, now)?;
    }
    Ok(old.len())
}

fn sweep_notes(
    connection: &mut Conn,
    messages: Timestamp,
    old_jobs: Option<Timestamp>,
    limit: i64,
    now: Timestamp,
) -> Result<(), DbError> {
    let keys: Vec<(String, String)> = idempotency::table
        .filter(idempotency::created_at.lt(now.plus_millis(-KEY_FOR_MS).as_millis()))
        .limit(limit)
        .select((idempotency::owner, idempotency::key))
        .load(connection)?;
    for (owner, key) in keys {
        diesel::delete(idempotency::table.find((owner, key))).execute(connection)?;
    }
    let results: Vec<String> = cache_entries::table
        .filter(cache_entries::expires_at.le(now.as_millis()))
        .limit(limit)
        .select(cache_entries::cache_key)
        .load(connection)?;
    diesel::delete(
        cache_entries::table
            .filter(cache_entries::cache_key.eq_any(results))
            .filter(cache_entries::expires_at.le(now.as_millis())),
    )
    .execute(connection)?;
    let told: Vec<String> = deliveries::table
        .filter(deliveries::ended_at.lt(messages.as_millis()))
        .limit(limit)
        .select(deliveries::id)
        .load(connection)?;
    diesel::delete(deliveries::table.filter(deliveries::id.eq_any(told)).filter(deliveries::ended_at.is_not_null()))
        .execute(connection)?;
    if let Some(before) = old_jobs {
        let ended: Vec<String> = batches::table
            .filter(batches::ended_at.lt(before.as_millis()))
            .limit(limit)
            .select(batches::id)
            .load(connection)?;
        diesel::delete(batches::table.filter(batches::id.eq_any(ended))).execute(connection)?;
    }
    Ok(())
}
