//! What the sweeps read and mend. Each write repeats the condition that the row was found by, so sweeps of
//! several processes may run at once.

use std::collections::HashSet;

use diesel::prelude::*;
use gateway_core::event::{LogLevel, LogLine};
use gateway_core::retry::recovery_ms;
use gateway_core::workflow::NeedsId;
use gateway_core::{ErrorCode, JobChange, JobError, JobId, JobStatus, Owner, Priority, Timestamp};

use crate::engine::Conn;
use crate::jobs::Moment;
use crate::jobs::aftermath::{Aftermath, Standing, after_end, take_turns_of};
use crate::jobs::claim::append_logs;
use crate::rows::{JOINED, JobRow};
use crate::schema::{jobs, trash};
use crate::{Database, DbError};

/// What the queue needs to know of a waiting job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedJob {
    /// The job.
    pub id: JobId,
    /// Its lane.
    pub priority: Priority,
    /// Whose it is.
    pub owner: Owner,
    /// Since when it waits.
    pub since: Timestamp,
    /// Not to be run earlier.
    pub not_before: Option<Timestamp>,
    /// What its graph needs of a server, where that is known.
    pub needs: Option<NeedsId>,
    /// The server that may still have a prompt of it.
    pub home: Option<String>,
}

/// Jobs whose claims ran out.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// Which.
    pub jobs: Vec<JobId>,
    /// Those of them that wait again.
    pub queued: Vec<JobChange>,
    /// What followed from the end of those that were lost once too often.
    pub aftermath: Aftermath,
}

type QueuedRow = (String, i32, String, i64, Option<i64>, Option<String>, Option<String>, Option<String>);

/// What the queue needs to know, of rows of `jobs`.
#[diesel::dsl::auto_type]
fn hint() -> _ {
    (
        jobs::id,
        jobs::priority,
        jobs::owner,
        jobs::created_at,
        jobs::not_before,
        jobs::needs,
        jobs::prompt_id,
        jobs::backend,
    )
}

/// Waiting jobs after an id.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn waiting(after: String, limit: i64) -> _ {
    let queued: &'static str = JobStatus::Queued.as_str();
    jobs::table.filter(jobs::status.eq(queued)).filter(jobs::id.gt(after)).order(jobs::id).limit(limit).select(hint())
}

/// Waiting jobs of before a time that the queue was not told of.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn undispatched(before: i64, limit: i64) -> _ {
    let queued: &'static str = JobStatus::Queued.as_str();
    jobs::table
        .filter(jobs::status.eq(queued))
        .filter(jobs::dispatched_at.is_null())
        .filter(jobs::created_at.lt(before))
        .order(jobs::created_at)
        .limit(limit)
        .select(hint())
}

/// Waiting jobs that are due, the most urgent first, but for those with some needs.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn urgent(now: i64, cannot: Vec<String>, limit: i64) -> _ {
    let queued: &'static str = JobStatus::Queued.as_str();
    jobs::table
        .filter(jobs::status.eq(queued))
        .filter(jobs::not_before.is_null().or(jobs::not_before.le(now)))
        .filter(jobs::needs.is_null().or(jobs::needs.ne_all(cannot)))
        .order((jobs::priority.desc(), jobs::id))
        .limit(limit)
        .select(hint())
}

/// Running jobs whose claim ran out before a time.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn expired(at: i64, limit: i64) -> _ {
    let running: &'static str = JobStatus::Running.as_str();
    jobs::table.filter(jobs::status.eq(running)).filter(jobs::lease_until.lt(at)).order(jobs::id).limit(limit)
}

/// What the queue needs to know of the job in `row`.
pub(crate) fn queued(row: &JobRow) -> Result<QueuedJob, DbError> {
    Ok(QueuedJob {
        id: row.job_id()?,
        priority: Priority::of_level(row.priority),
        owner: Owner::new(&*row.owner),
        since: Timestamp::from_millis(row.created_at),
        not_before: row.not_before.map(Timestamp::from_millis),
        needs: row.needs.as_deref().and_then(|id| id.parse().ok()),
        home: row.backend.clone().filter(|_| row.prompt_id.is_some()),
    })
}

impl QueuedJob {
    fn of(row: QueuedRow) -> Option<Self> {
        let (id, priority, owner, since, not_before, needs, prompt_id, backend) = row;
        Some(Self {
            id: id.parse().ok()?,
            priority: Priority::of_level(priority),
            owner: Owner::new(owner),
            since: Timestamp::from_millis(since),
            not_before: not_before.map(Timestamp::from_millis),
            needs: needs.and_then(|id| id.parse().ok()),
            home: backend.filter(|_| prompt_id.is_some()),
        })
    }
}

impl Database {
    /// Waiting jobs in order of their ids, after `after`, `limit` at most: to fill an empty queue.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn queued_jobs(&self, after: Option<JobId>, limit: i64) -> Result<Vec<QueuedJob>, DbError> {
        self.read(move |connection| {
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            let rows: Vec<QueuedRow> = waiting(after, limit).load(connection)?;
            Ok(rows.into_iter().filter_map(QueuedJob::of).collect())
        })
        .await
    }

    /// Waiting jobs accepted before `before` of which it is known that the queue was not told.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn undispatched_jobs(&self, before: Timestamp, limit: i64) -> Result<Vec<QueuedJob>, DbError> {
        self.read(move |connection| {
            let rows: Vec<QueuedRow> = undispatched(before.as_millis(), limit).load(connection)?;
            Ok(rows.into_iter().filter_map(QueuedJob::of).collect())
        })
        .await
    }

    /// Waiting jobs that are due, the most urgent first, `limit` at most, but for those whose needs are among `cannot`:
    /// for a worker whose queue is away.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn urgent_jobs(&self, cannot: &HashSet<NeedsId>, limit: i64) -> Result<Vec<QueuedJob>, DbError> {
        let (now, cannot) = (self.now().as_millis(), cannot.iter().map(ToString::to_string).collect::<Vec<_>>());
        self.read(move |connection| {
            let rows: Vec<QueuedRow> = urgent(now, cannot, limit).load(connection)?;
            Ok(rows.into_iter().filter_map(QueuedJob::of).collect())
        })
        .await
    }

    /// How many jobs of `owner` wait, be it for an identical one.
    ///
    /// # Errors
    /// [`DbError`] where they could not be counted.
    pub async fn count_waiting_of(&self, owner: &Owner) -> Result<u64, DbError> {
        let owner = owner.as_str().to_owned();
        let count: i64 = self
            .read_row(move |connection| {
                let waiting = jobs::table
                    .filter(jobs::owner.eq(owner))
                    .filter(jobs::status.eq_any([JobStatus::Queued.as_str(), JOINED]));
                Ok(waiting.count().get_result(connection)?)
            })
            .await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// How many jobs wait.
    ///
    /// # Errors
    /// [`DbError`] where they could not be counted.
    pub async fn count_queued(&self) -> Result<u64, DbError> {
        let count: i64 = self
            .read(|connection| {
                let waiting = jobs::table.filter(jobs::status.eq(JobStatus::Queued.as_str()));
                Ok(waiting.count().get_result(connection)?)
            })
            .await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Returns jobs to the queue whose claim ran out before `expired_at`, at most `limit`. A job whose
    /// workers died `max_crashes` times fails instead: it may be what kills them.
    ///
    /// # Errors
    /// [`DbError`] where nothing was changed.
    pub async fn recover_jobs(
        &self,
        expired_at: Timestamp,
        max_crashes: i32,
        limit: i64,
    ) -> Result<Recovered, DbError> {
        let moment = self.moment();
        self.write_alone(move |connection| {
            let rows: Vec<JobRow> =
                expired(expired_at.as_millis(), limit).select(JobRow::as_select()).load(connection)?;
            take_turns_of(connection, &rows)?;
            let mut recovered = Recovered::default();
            for row in rows {
                recover(connection, &row, max_crashes, moment, &mut recovered)?;
            }
            Ok(recovered)
        })
        .await
    }

    /// Folders of the storage that may be removed.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn trash(&self, limit: i64) -> Result<Vec<String>, DbError> {
        self.read(move |connection| {
            Ok(trash::table.order(trash::created_at).limit(limit).select(trash::prefix).load(connection)?)
        })
        .await
    }

    /// Notes that these folders are gone.
    ///
    /// # Errors
    /// [`DbError`] where that could not be written; they will be removed once more.
    pub async fn forget_trash(&self, prefixes: Vec<String>) -> Result<(), DbError> {
        self.write(move |connection| {
            diesel::delete(trash::table.filter(trash::prefix.eq_any(prefixes))).execute(connection)?;
            Ok(())
        })
        .await
    }
}

/// Recovers a job, unless its claim has ended or was renewed since it was read.
pub(super) fn recover(
    connection: &mut Conn,
    row: &JobRow,
    max_crashes: i32,
    moment: Moment,
    recovered: &mut Recovered,
) -> Result<(), DbError> {
    let (id, now) = (row.job_id()?, moment.now);
    let same_claim = jobs::table
        .find(&row.id)
        .filter(jobs::status.eq(JobStatus::Running.as_str()))
        .filter(jobs::epoch.eq(row.epoch))
        .filter(jobs::lease_until.eq(row.lease_until));
    let crashes = row.crashes + 1;
    let lost = crashes >= max_crashes;
    let line =
        |level, message: String| LogLine { time: now, level, event: String::from("worker_lost"), message, node: None };
    let (changed, line) = if lost {
        let error = JobError::new(ErrorCode::WorkerLost, format!("its worker was lost {crashes} times"))
            .recommend("look at the worker's log: this job may be what ends it; then retry the job");
        let ended = JobRow {
            status: JobStatus::Failed.as_str().to_owned(),
            crashes,
            finished_at: Some(now.as_millis()),
            error: serde_json::to_string(&error).ok(),
            ..row.clone()
        };
        let changed = diesel::update(same_claim)
            .set((
                jobs::status.eq(&ended.status),
                jobs::crashes.eq(crashes),
                jobs::finished_at.eq(ended.finished_at),
                jobs::lease_until.eq(None::<i64>),
                jobs::error.eq(&ended.error),
            ))
            .execute(connection)?;
        if changed > 0 {
            recovered.aftermath.ended.push(ended.change(JobStatus::Running)?);
            after_end(connection, Standing::of(&ended, &[], moment), &mut recovered.aftermath)?;
        }
        (changed, line(LogLevel::Error, format!("its worker was lost {crashes} times: it is not tried again")))
    } else {
        let wait = recovery_ms(crashes);
        let due = (wait > 0).then(|| now.plus_millis(wait));
        let changed = diesel::update(same_claim)
            .set((
                jobs::status.eq(JobStatus::Queued.as_str()),
                jobs::crashes.eq(crashes),
                jobs::not_before.eq(due.map(Timestamp::as_millis)),
                jobs::worker_id.eq(None::<String>),
                jobs::lease_until.eq(None::<i64>),
                jobs::dispatched_at.eq(None::<i64>),
            ))
            .execute(connection)?;
        if changed > 0 {
            let waits = JobRow { status: JobStatus::Queued.as_str().to_owned(), ..row.clone() };
            recovered.queued.push(JobChange { not_before: due, ..waits.change(JobStatus::Running)? });
        }
        (changed, line(LogLevel::Warn, String::from("its worker was lost; the job is queued again")))
    };
    if changed > 0 {
        append_logs(connection, id, &[line])?;
        recovered.jobs.push(id);
    }
    Ok(())
}
