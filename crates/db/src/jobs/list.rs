//! Reading jobs: one, a page, its outputs and logs, figures over all.

use std::collections::BTreeMap;

use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::prelude::*;
use gateway_core::event::LogLine;
use gateway_core::record::{Job, Output};
use gateway_core::{ErrorCode, JobId, JobStatus, Owner, Priority, Scope, Timestamp};

use crate::engine::{Conn, MultiBackend};
use crate::jobs::figures::lanes;
use crate::rows::{JOINED, JobRow, LogRow, OutputRow};
use crate::schema::{job_logs, jobs, outputs};
use crate::{Database, DbError};

/// How many of the latest runs the figures on time are taken from.
const RECENT_RUNS: i64 = 1000;
/// The same for how long runs of one workflow take.
const USUAL_RUNS: i64 = 60;

/// Which jobs a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In this state.
    pub status: Option<JobStatus>,
    /// Of this workflow.
    pub workflow_id: Option<String>,
    /// Of this owner (beside the caller's scope).
    pub owner: Option<Owner>,
    /// Accepted at this time or later.
    pub after: Option<Timestamp>,
    /// Accepted before this time.
    pub before: Option<Timestamp>,
    /// With this request id.
    pub request_id: Option<String>,
    /// Failed because its workers were lost.
    pub dead: bool,
}

/// Figures over all jobs.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Jobs in each state.
    pub by_status: BTreeMap<&'static str, i64>,
    /// Waiting jobs in each lane.
    pub queued_by_priority: BTreeMap<&'static str, i64>,
    /// When the job that waits longest was accepted.
    pub oldest_queued: Option<Timestamp>,
    /// Mean time of the latest runs, claim to end.
    pub average_run_ms: Option<i64>,
    /// 95 of 100 of the latest runs took at most this.
    pub p95_run_ms: Option<i64>,
    /// Which share of the jobs that succeeded last had their result without a run of their own.
    pub cache_hit_rate: Option<f64>,
}

/// A page of jobs as a query.
pub(super) type Page = jobs::BoxedQuery<'static, MultiBackend, SqlTypeOf<AsSelect<JobRow, MultiBackend>>>;

impl Database {
    /// The job `id`, where it is there and in `scope`.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn find_job(&self, id: JobId, scope: Scope) -> Result<Option<Job>, DbError> {
        self.read_row(move |connection| {
            let mut query = jobs::table.select(JobRow::as_select()).filter(jobs::id.eq(id.to_string())).into_boxed();
            if let Scope::Owner(owner) = scope {
                query = query.filter(jobs::owner.eq(owner.as_str().to_owned()));
            }
            query.get_result(connection).optional()?.map(JobRow::into_job).transpose()
        })
        .await
    }

    /// A page of at most `limit` jobs, newest first, after `cursor`. Its cost does not grow with the page.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn list_jobs(
        &self,
        scope: Scope,
        filter: Filter,
        cursor: Option<JobId>,
        limit: i64,
    ) -> Result<Vec<Job>, DbError> {
        self.read(move |connection| {
            let page = page(scope, filter, cursor, limit);
            page.load::<JobRow>(connection)?.into_iter().map(JobRow::into_job).collect()
        })
        .await
    }

    /// The outputs of a job, in order.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn outputs_of(&self, id: JobId) -> Result<Vec<Output>, DbError> {
        self.read_row(move |connection| {
            let rows = outputs_of(connection, &id.to_string())?;
            Ok(rows.into_iter().map(OutputRow::into_output).collect())
        })
        .await
    }

    /// The outputs of several jobs, each in order.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn outputs_of_many(&self, ids: Vec<JobId>) -> Result<BTreeMap<JobId, Vec<Output>>, DbError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.read(move |connection| {
            let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let rows: Vec<(String, OutputRow)> = outputs::table
                .filter(outputs::job_id.eq_any(texts))
                .order((outputs::job_id, outputs::position))
                .select((outputs::job_id, OutputRow::as_select()))
                .load(connection)?;
            let mut found: BTreeMap<JobId, Vec<Output>> = BTreeMap::new();
            for (id, row) in rows {
                if let Ok(id) = id.parse() {
                    found.entry(id).or_default().push(row.into_output());
                }
            }
            Ok(found)
        })
        .await
    }

    /// The log of a job, in order.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn logs_of(&self, id: JobId) -> Result<Vec<LogLine>, DbError> {
        self.read(move |connection| {
            let rows = job_logs::table
                .filter(job_logs::job_id.eq(id.to_string()))
                .order(job_logs::seq)
                .select(LogRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(LogRow::into_line).collect())
        })
        .await
    }

    /// How long the latest runs of a workflow took on each ComfyUI server: the median, in milliseconds.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn usual_runs(&self, workflow: &str) -> Result<BTreeMap<String, i64>, DbError> {
        let workflow = workflow.to_owned();
        self.read(move |connection| {
            let spans: Vec<(Option<String>, Option<i64>, Option<i64>)> = jobs::table
                .filter(jobs::workflow_id.eq(workflow))
                .filter(jobs::status.eq(JobStatus::Succeeded.as_str()))
                .filter(jobs::backend.is_not_null())
                .order(jobs::id.desc())
                .limit(USUAL_RUNS)
                .select((jobs::backend, jobs::started_at, jobs::finished_at))
                .load(connection)?;
            let mut runs: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            for (backend, start, end) in spans {
                if let (Some(backend), Some(start), Some(end)) = (backend, start, end) {
                    runs.entry(backend).or_default().push(end - start);
                }
            }
            let median = |mut times: Vec<i64>| {
                times.sort_unstable();
                times.get(times.len() / 2).copied()
            };
            Ok(runs.into_iter().filter_map(|(backend, times)| Some((backend, median(times)?))).collect())
        })
        .await
    }

    /// How long the latest runs took on average, in milliseconds; `None` where there were none.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn average_run_ms(&self) -> Result<Option<i64>, DbError> {
        self.read(|connection| Ok(recent(connection)?.average_ms)).await
    }

    /// Figures over all jobs. It counts all that have ended.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn job_stats(&self) -> Result<Stats, DbError> {
        let now = self.now();
        self.read(move |connection| stats(connection, now)).await
    }
}

/// The query of one page.
pub(super) fn page(scope: Scope, filter: Filter, cursor: Option<JobId>, limit: i64) -> Page {
    let mut query = jobs::table.select(JobRow::as_select()).order(jobs::id.desc()).limit(limit).into_boxed();
    if let Scope::Owner(owner) = scope {
        query = query.filter(jobs::owner.eq(owner.as_str().to_owned()));
    }
    if let Some(owner) = filter.owner {
        query = query.filter(jobs::owner.eq(owner.as_str().to_owned()));
    }
    match filter.status {
        Some(JobStatus::Queued) => query = query.filter(jobs::status.eq_any([JobStatus::Queued.as_str(), JOINED])),
        Some(status) => query = query.filter(jobs::status.eq(status.as_str())),
        None => {}
    }
    if let Some(workflow_id) = filter.workflow_id {
        query = query.filter(jobs::workflow_id.eq(workflow_id));
    }
    if let Some(request_id) = filter.request_id {
        query = query.filter(jobs::request_id.eq(request_id));
    }
    if filter.dead {
        let code = format!("{{\"code\":\"{}\"%", ErrorCode::WorkerLost);
        let failed = jobs::status.eq(JobStatus::Failed.as_str());
        query = query.filter(failed).filter(jobs::crashes.gt(0)).filter(jobs::error.like(code));
    }
    if let Some(after) = filter.after {
        query = query.filter(jobs::id.ge(JobId::floor(after).to_string()));
    }
    if let Some(before) = filter.before {
        query = query.filter(jobs::id.lt(JobId::floor(before).to_string()));
    }
    if let Some(cursor) = cursor {
        query = query.filter(jobs::id.lt(cursor.to_string()));
    }
    query
}

fn stats(connection: &mut Conn, now: Timestamp) -> Result<Stats, DbError> {
    let mut stats = Stats::default();
    for status in JobStatus::ALL {
        let count = jobs::table.filter(jobs::status.eq(status.as_str())).count().get_result(connection)?;
        stats.by_status.insert(status.as_str(), count);
    }
    let joined: i64 = jobs::table.filter(jobs::status.eq(JOINED)).count().get_result(connection)?;
    *stats.by_status.entry(JobStatus::Queued.as_str()).or_default() += joined;
    let queued = JobStatus::Queued.as_str();
    for lane in Priority::LANES {
        let count = jobs::table
            .filter(jobs::status.eq(queued))
            .filter(jobs::priority.eq(lane.level()))
            .count()
            .get_result(connection)?;
        stats.queued_by_priority.insert(lane.as_str(), count);
    }
    // A job that is to run later does not wait yet.
    stats.oldest_queued = lanes(connection, now)?.into_iter().filter_map(|lane| lane.since).min();
    let recent = recent(connection)?;
    Ok(Stats { average_run_ms: recent.average_ms, p95_run_ms: recent.p95_ms, cache_hit_rate: recent.cached, ..stats })
}

/// Figures on the jobs that succeeded last.
#[derive(Default)]
struct Recent {
    average_ms: Option<i64>,
    p95_ms: Option<i64>,
    cached: Option<f64>,
}

fn recent(connection: &mut Conn) -> QueryResult<Recent> {
    type Ended = (Option<i64>, Option<i64>, i64);
    let ended: Vec<Ended> = jobs::table
        .filter(jobs::status.eq(JobStatus::Succeeded.as_str()))
        .order(jobs::id.desc())
        .limit(RECENT_RUNS)
        .select((jobs::started_at, jobs::finished_at, jobs::epoch))
        .load(connection)?;
    let mut recent = Recent::default();
    if !ended.is_empty() {
        let without = ended.iter().filter(|(_, _, epoch)| *epoch == 0).count();
        recent.cached = Some(without as f64 / ended.len() as f64);
    }
    let mut runs: Vec<i64> = ended.into_iter().filter_map(|(start, end, _)| Some(end? - start?)).collect();
    runs.sort_unstable();
    if let Ok(count @ 1..) = i64::try_from(runs.len()) {
        recent.average_ms = Some(runs.iter().sum::<i64>() / count);
        recent.p95_ms = runs.get((runs.len() * 95).div_ceil(100).saturating_sub(1)).copied();
    }
    Ok(recent)
}

/// The records of a job's outputs, in order.
pub(crate) fn outputs_of(connection: &mut Conn, job: &str) -> QueryResult<Vec<OutputRow>> {
    outputs::table
        .filter(outputs::job_id.eq(job))
        .order(outputs::position)
        .select(OutputRow::as_select())
        .load(connection)
}
