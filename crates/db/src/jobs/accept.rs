//! Accepting jobs, each once whatever its sender repeats, and noting what the queue knows of.

use diesel::Connection as _;
use diesel::prelude::*;
use gateway_core::record::JobOptions;
use gateway_core::{JobId, JobStatus, Owner, Timestamp, UploadId};

use crate::cache::result;
use crate::engine::{Conn, on_engine};
use crate::jobs::aftermath::{Aftermath, Standing, after_end};
use crate::jobs::sweep::queued;
use crate::jobs::{Acceptance, Accepted, Moment, QueuedJob, RequestKey};
use crate::rows::{JOINED, JobRow, OutputRow, options_text};
use crate::schema::{flights, idempotency, job_uploads, jobs, joined_jobs, outputs};
use crate::{Database, DbError};

/// How long a sender's key counts.
pub(crate) const KEY_FOR_MS: i64 = 7 * 24 * 3_600 * 1_000;

impl Database {
    /// Accepts a job: once this returns, it survives whatever dies. What became of it, and whom that concerns besides.
    ///
    /// # Errors
    /// [`DbError`] where it was not accepted.
    pub async fn accept_job(&self, job: impl Into<Acceptance>) -> Result<(Accepted, Aftermath), DbError> {
        let acceptance = job.into();
        let Acceptance { job, request, hit, uploads } = &acceptance;
        let plain = request.is_none() && hit.is_none() && uploads.is_empty() && job.options.cache_key.is_none();
        if plain {
            self.writer().accept(JobRow::of_new(job)).await?;
            return Ok((Accepted::Queued, Aftermath::default()));
        }
        let moment = self.moment();
        self.write_in_turn(acceptance.turns(), move |connection| {
            let mut aftermath = Aftermath::default();
            let accepted = accept(connection, &acceptance, moment, &mut aftermath)?;
            Ok((accepted, aftermath))
        })
        .await
    }

    /// What the request with this key came to; `None` where the key is new.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn find_request(&self, owner: &Owner, request: &RequestKey) -> Result<Option<Accepted>, DbError> {
        let (owner, request, oldest) = (owner.clone(), request.clone(), self.now().plus_millis(-KEY_FOR_MS));
        self.read_row(move |connection| Ok(known_request(connection, owner.as_str(), &request, oldest)?)).await
    }

    /// Notes that the queue was told of these jobs, as it is of new ones.
    ///
    /// # Errors
    /// [`DbError`] where that could not be written; the sweep will tell the queue again.
    pub async fn mark_dispatched(&self, ids: &[JobId]) -> Result<(), DbError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let now = self.now().as_millis();
        self.write(move |connection| Ok(mark(connection, &ids, Some(now))?)).await
    }

    /// Notes that the queue could not be told of these jobs.
    ///
    /// # Errors
    /// [`DbError`] where that could not be written; the sweep finds out that the queue does not know them.
    pub async fn mark_undispatched(&self, ids: &[JobId]) -> Result<(), DbError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        self.write(move |connection| Ok(mark(connection, &ids, None)?)).await
    }
}

/// Accepts one job within a transaction that has its turns.
pub(crate) fn accept(
    connection: &mut Conn,
    acceptance: &Acceptance,
    moment: Moment,
    aftermath: &mut Aftermath,
) -> Result<Accepted, DbError> {
    let Acceptance { job, request, uploads, .. } = acceptance;
    if let Some(request) = request
        && let Some(known) = note_request(connection, job.owner.as_str(), request, &job.id.to_string(), moment.now)?
    {
        return Ok(known);
    }
    match &job.options.cache_key {
        Some(key) => accept_cached(connection, acceptance, key, moment, aftermath),
        None => {
            insert(connection, &JobRow::of_new(job), uploads)?;
            Ok(Accepted::Queued)
        }
    }
}

/// Notes whose request this key is; what it came to where it was used before.
pub(crate) fn note_request(
    connection: &mut Conn,
    owner: &str,
    request: &RequestKey,
    subject: &str,
    now: Timestamp,
) -> Result<Option<Accepted>, DbError> {
    let row = (
        idempotency::owner.eq(owner),
        idempotency::key.eq(&request.key),
        idempotency::body_hash.eq(&request.body_hash),
        idempotency::subject_id.eq(subject),
        idempotency::created_at.eq(now.as_millis()),
    );
    let oldest = now.plus_millis(-KEY_FOR_MS);
    diesel::delete(
        idempotency::table.find((owner, &request.key)).filter(idempotency::created_at.lt(oldest.as_millis())),
    )
    .execute(connection)?;
    let insert = diesel::insert_into(idempotency::table).values(row).on_conflict_do_nothing();
    let inserted = on_engine!(connection, inner => insert.execute(inner))?;
    if inserted > 0 {
        return Ok(None);
    }
    let known = known_request(connection, owner, request, oldest)?;
    // It was there a moment ago: whoever removes old keys was at work.
    known.map(Some).ok_or(DbError::Deadlock)
}

fn known_request(
    connection: &mut Conn,
    owner: &str,
    request: &RequestKey,
    oldest: Timestamp,
) -> QueryResult<Option<Accepted>> {
    let known: Option<(String, String)> = idempotency::table
        .find((owner, &request.key))
        .filter(idempotency::created_at.ge(oldest.as_millis()))
        .select((idempotency::body_hash, idempotency::subject_id))
        .get_result(connection)
        .optional()?;
    Ok(known.map(
        |(hash, subject)| {
            if hash == request.body_hash { Accepted::Repeated(subject) } else { Accepted::KeyReused }
        },
    ))
}

/// Accepts a job whose result has a name: it gets that result, waits for whoever makes it, or makes it.
fn accept_cached(
    connection: &mut Conn,
    acceptance: &Acceptance,
    key: &str,
    moment: Moment,
    aftermath: &mut Aftermath,
) -> Result<Accepted, DbError> {
    let Acceptance { job, hit, uploads, .. } = acceptance;
    let mut row = JobRow::of_new(job);
    if job.not_before.is_some() {
        // Nobody is to wait for a job that waits itself.
        insert(connection, &row, uploads)?;
        return Ok(Accepted::Queued);
    }
    // One that was not there at the first look was made just now: its files are there. Where files were found, they are
    // those of one job.
    let made = result(connection, key, moment.now)?.filter(|(from, _)| hit.is_none_or(|hit| hit == *from));
    if let Some((from, made)) = made {
        take_over(connection, acceptance, from, &made, moment, aftermath)?;
        return Ok(Accepted::Hit);
    }
    match leader(connection, key)? {
        Some(leader) if leader.timeout_ms == job.timeout_ms => {
            row.status = JOINED.to_owned();
            row.options = options_text(&JobOptions { joined: true, ..job.options.clone() });
            insert(connection, &row, uploads)?;
            let joined = (joined_jobs::job_id.eq(&row.id), joined_jobs::leader_id.eq(&leader.id));
            diesel::insert_into(joined_jobs::table).values(joined).execute(connection)?;
            Ok(Accepted::Joined(raise(connection, &leader, row.priority)?))
        }
        Some(_) => {
            insert(connection, &row, uploads)?;
            Ok(Accepted::Queued)
        }
        None => {
            insert(connection, &row, uploads)?;
            lead(connection, key, &row.id)?;
            Ok(Accepted::Queued)
        }
    }
}

/// Inserts `job` as one that has succeeded with what `from` made.
fn take_over(
    connection: &mut Conn,
    Acceptance { job, uploads, .. }: &Acceptance,
    from: JobId,
    made: &[OutputRow],
    moment: Moment,
    aftermath: &mut Aftermath,
) -> Result<(), DbError> {
    let mut row = JobRow::of_new(job);
    row.status = JobStatus::Succeeded.as_str().to_owned();
    row.finished_at = Some(moment.now.as_millis());
    row.options = options_text(&JobOptions { cached_from: Some(from), ..job.options.clone() });
    insert(connection, &row, uploads)?;
    let shared: Vec<OutputRow> = made.iter().map(|output| output.shared_with(&row.id)).collect();
    on_engine!(connection, inner => diesel::insert_into(outputs::table).values(&shared).execute(inner))?;
    after_end(connection, Standing::of(&row, &shared, moment), aftermath)
}

/// The job that makes the result named `key` at the moment.
fn leader(connection: &mut Conn, key: &str) -> QueryResult<Option<JobRow>> {
    let Some(id) = flights::table.find(key).select(flights::job_id).get_result::<String>(connection).optional()? else {
        return Ok(None);
    };
    let works = [JobStatus::Queued.as_str(), JobStatus::Running.as_str()];
    jobs::table
        .find(id)
        .filter(jobs::status.eq_any(works))
        .filter(jobs::cancel_requested.eq(false))
        .select(JobRow::as_select())
        .get_result(connection)
        .optional()
}

/// Makes a leader that waits as urgent as whoever waits for it.
fn raise(connection: &mut Conn, leader: &JobRow, priority: i32) -> Result<Option<QueuedJob>, DbError> {
    if leader.priority >= priority {
        return Ok(None);
    }
    let waits = jobs::table.find(&leader.id).filter(jobs::status.eq(JobStatus::Queued.as_str()));
    let changed = diesel::update(waits).set(jobs::priority.eq(priority)).execute(connection)?;
    let raised = JobRow { priority, ..leader.clone() };
    Ok(if changed > 0 { Some(queued(&raised)?) } else { None })
}

/// Whoever wants the result named `key` next joins `job`. Those that have joined another one wait for that.
pub(super) fn lead(connection: &mut Conn, key: &str, job: &str) -> QueryResult<()> {
    diesel::delete(flights::table.find(key)).execute(connection)?;
    let flight = (flights::cache_key.eq(key), flights::job_id.eq(job));
    diesel::insert_into(flights::table).values(flight).execute(connection).map(drop)
}

/// Inserts a job with the uploads that it uses.
fn insert(connection: &mut Conn, row: &JobRow, uploads: &[UploadId]) -> QueryResult<()> {
    diesel::insert_into(jobs::table).values(row).execute(connection)?;
    if uploads.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = uploads
        .iter()
        .map(|upload| (job_uploads::job_id.eq(&row.id), job_uploads::upload_id.eq(upload.to_string())))
        .collect();
    on_engine!(connection, inner => {
        diesel::insert_into(job_uploads::table).values(rows).on_conflict_do_nothing().execute(inner)
    })
    .map(drop)
}

/// Notes when the queue was told of those of `ids` that still wait, or that it was not. On a server, rows that somebody
/// holds are passed over: they are being claimed, and whoever waits for several rows may be waited for.
fn mark(connection: &mut Conn, ids: &[String], told: Option<i64>) -> QueryResult<()> {
    let waiting = || {
        jobs::table
            .filter(jobs::id.eq_any(ids.to_vec()))
            .filter(jobs::status.eq(JobStatus::Queued.as_str()))
            .filter(jobs::dispatched_at.is_null().eq(told.is_some()))
    };
    match connection {
        Conn::Sqlite(connection) => {
            diesel::update(waiting()).set(jobs::dispatched_at.eq(told)).execute(connection)?;
        }
        Conn::Postgres(connection) => {
            let free: Vec<String> =
                waiting().select(jobs::id).order(jobs::id).for_update().skip_locked().load(connection)?;
            diesel::update(jobs::table.filter(jobs::id.eq_any(free)))
                .set(jobs::dispatched_at.eq(told))
                .execute(connection)?;
        }
    }
    Ok(())
}

/// Inserts rows: on a server in one statement, each alone where that fails. One result a row.
pub(crate) fn insert_jobs(connection: &mut Conn, rows: &[JobRow]) -> Vec<Result<(), DbError>> {
    if let (Conn::Postgres(connection), 2..) = (&mut *connection, rows.len()) {
        let all =
            connection.transaction(|connection| diesel::insert_into(jobs::table).values(rows).execute(connection));
        if all.is_ok() {
            return rows.iter().map(|_| Ok(())).collect();
        }
    }
    rows.iter().map(|row| insert_alone(connection, row)).collect()
}

fn insert_alone(connection: &mut Conn, row: &JobRow) -> Result<(), DbError> {
    let inserted = match connection {
        // A statement that fails undoes itself there, and leaves the transaction as it was.
        Conn::Sqlite(connection) => diesel::insert_into(jobs::table).values(row).execute(connection),
        Conn::Postgres(connection) => {
            connection.transaction(|connection| diesel::insert_into(jobs::table).values(row).execute(connection))
        }
    };
    inserted.map(drop).map_err(DbError::from)
}
