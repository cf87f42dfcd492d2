//! What the end of a job means for others, in the same transaction: its owner's message, its batch, its result in the
//! cache, the identical jobs that waited for it.

use diesel::prelude::*;
use gateway_core::record::{JobOptions, Output};
use gateway_core::view::JobView;
use gateway_core::webhook::WebhookEvent;
use gateway_core::{JobChange, JobStatus};

use crate::DbError;
use crate::batches;
use crate::deliveries::{Message, tell};
use crate::engine::{Conn, on_engine};
use crate::jobs::QueuedJob;
use crate::jobs::accept::lead;
use crate::jobs::redact::{Moment, forget};
use crate::jobs::sweep::queued;
use crate::rows::{JOINED, JobRow, OutputRow, options_text};
use crate::schema::{cache_entries, flights, jobs, joined_jobs, outputs};

/// What has ended, and whom that concerned besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Jobs that have ended; not among them one that its worker settles.
    pub ended: Vec<JobChange>,
    /// Jobs that wait in its place: the queue is to be told of them.
    pub promoted: Vec<QueuedJob>,
    /// Whether there are messages to be sent.
    pub messages: bool,
}

/// A job as it stands now, and when that is.
#[derive(Clone, Copy)]
pub(crate) struct Standing<'a> {
    pub(crate) row: &'a JobRow,
    pub(crate) outputs: &'a [OutputRow],
    /// Until when its outputs may serve as the result of identical jobs.
    pub(crate) cache_until: Option<i64>,
    pub(crate) moment: Moment,
}

impl<'a> Standing<'a> {
    /// A job whose outputs, if it has any, are no new result.
    pub(crate) fn of(row: &'a JobRow, outputs: &'a [OutputRow], moment: Moment) -> Self {
        Self { row, outputs, cache_until: None, moment }
    }
}

/// Takes the turns of the results that these jobs make: before any of them ends or goes, since their twins go by that.
pub(crate) fn take_turns_of<'a>(
    connection: &mut Conn,
    rows: impl IntoIterator<Item = &'a JobRow>,
) -> Result<(), DbError> {
    let keys = rows.into_iter().map(|row| Ok(row.options()?.cache_key));
    let keys: Vec<Option<String>> = keys.collect::<Result<_, DbError>>()?;
    Ok(connection.take_turns(keys.iter().flatten().map(String::as_str))?)
}

/// Does what follows from the end of a job whose turn was taken.
pub(crate) fn after_end(connection: &mut Conn, job: Standing<'_>, aftermath: &mut Aftermath) -> Result<(), DbError> {
    if !job.moment.redact {
        return follow(connection, job, aftermath);
    }
    let mut row = job.row.clone();
    forget(connection, &mut row, job.moment.now)?;
    follow(connection, Standing { row: &row, ..job }, aftermath)
}

fn follow(connection: &mut Conn, job: Standing<'_>, aftermath: &mut Aftermath) -> Result<(), DbError> {
    if job.row.options.is_none() {
        return Ok(());
    }
    let options = job.row.options()?;
    if let Some(event) = WebhookEvent::of_end(job.row.state()?) {
        tell_of_job(connection, job, &options, event, aftermath)?;
    }
    if let Some(batch) = options.batch {
        aftermath.messages |= batches::job_ended(connection, batch, job.moment.now)?;
    }
    match &options.cache_key {
        // What was taken over is no new result.
        Some(key) if options.cached_from.is_none() => after_result(connection, job, key, aftermath),
        _ => Ok(()),
    }
}

/// Notes a message about a job, where its owner wants one of this kind.
pub(crate) fn tell_of_job(
    connection: &mut Conn,
    job: Standing<'_>,
    options: &JobOptions,
    event: WebhookEvent,
    aftermath: &mut Aftermath,
) -> Result<(), DbError> {
    let Some(callback) = options.callback.as_ref().filter(|callback| callback.wants(event)) else {
        return Ok(());
    };
    let Standing { row, moment, .. } = job;
    let outputs: Vec<Output> = job.outputs.iter().cloned().map(OutputRow::into_output).collect();
    let mut job = row.clone().into_job()?;
    if moment.redact {
        job.redact();
    }
    let message = Message {
        owner: &row.owner,
        subject: &row.id,
        correlation_id: &row.correlation_id,
        trace_parent: options.trace_parent,
        url: &callback.url,
        event,
        data: serde_json::to_value(JobView::of(&job, &outputs)).unwrap_or_default(),
    };
    tell(connection, message, moment.now)?;
    aftermath.messages = true;
    Ok(())
}

fn after_result(connection: &mut Conn, job: Standing<'_>, key: &str, aftermath: &mut Aftermath) -> Result<(), DbError> {
    let Standing { row, outputs: made, cache_until, moment } = job;
    let status = row.state()?;
    if let Some(until) = cache_until.filter(|_| status == JobStatus::Succeeded && !made.is_empty()) {
        diesel::delete(cache_entries::table.find(key)).execute(connection)?;
        let entry = (
            cache_entries::cache_key.eq(key),
            cache_entries::job_id.eq(&row.id),
            cache_entries::created_at.eq(moment.now.as_millis()),
            cache_entries::expires_at.eq(until),
        );
        diesel::insert_into(cache_entries::table).values(entry).execute(connection)?;
    }
    // Somebody else may lead by now, where this one was to be canceled; those that had joined it wait all the same.
    diesel::delete(flights::table.find(key).filter(flights::job_id.eq(&row.id))).execute(connection)?;
    let mut waiting: Vec<JobRow> = jobs::table
        .inner_join(joined_jobs::table.on(joined_jobs::job_id.eq(jobs::id)))
        .filter(joined_jobs::leader_id.eq(&row.id))
        .filter(jobs::status.eq(JOINED))
        .order(jobs::id)
        .select(JobRow::as_select())
        .load(connection)?;
    if status == JobStatus::Canceled {
        return promote(connection, key, waiting, aftermath);
    }
    diesel::delete(joined_jobs::table.filter(joined_jobs::leader_id.eq(&row.id))).execute(connection)?;
    for follower in &mut waiting {
        end_with(connection, follower, job, aftermath)?;
    }
    Ok(())
}

/// Ends `follower` as its `leader` ended.
fn end_with(
    connection: &mut Conn,
    follower: &mut JobRow,
    leader: Standing<'_>,
    aftermath: &mut Aftermath,
) -> Result<(), DbError> {
    let Standing { row: leader, outputs: made, moment, .. } = leader;
    let mut options = follower.options()?;
    options.cached_from = if made.is_empty() { None } else { Some(leader.job_id()?) };
    follower.status.clone_from(&leader.status);
    follower.error.clone_from(&leader.error);
    follower.finished_at = Some(moment.now.as_millis());
    follower.options = options_text(&options);
    let changed = diesel::update(jobs::table.find(&follower.id).filter(jobs::status.eq(JOINED)))
        .set((
            jobs::status.eq(&follower.status),
            jobs::error.eq(&follower.error),
            jobs::finished_at.eq(follower.finished_at),
            jobs::options.eq(&follower.options),
        ))
        .execute(connection)?;
    if changed == 0 {
        return Ok(());
    }
    let shared: Vec<OutputRow> = made.iter().map(|output| output.shared_with(&follower.id)).collect();
    on_engine!(connection, inner => diesel::insert_into(outputs::table).values(&shared).execute(inner))?;
    aftermath.ended.push(follower.change(JobStatus::Queued)?);
    after_end(connection, Standing::of(follower, &shared, moment), aftermath)
}

/// The first of those that waited makes the result, as urgently as the most urgent of them; the others wait for it.
fn promote(connection: &mut Conn, key: &str, waiting: Vec<JobRow>, aftermath: &mut Aftermath) -> Result<(), DbError> {
    let priority = waiting.iter().map(|row| row.priority).max().unwrap_or_default();
    let mut waiting = waiting.into_iter();
    let Some(first) = waiting.next().map(|row| JobRow { priority, ..row }) else { return Ok(()) };
    let changed = diesel::update(jobs::table.find(&first.id).filter(jobs::status.eq(JOINED)))
        .set((
            jobs::status.eq(JobStatus::Queued.as_str()),
            jobs::priority.eq(priority),
            jobs::dispatched_at.eq(None::<i64>),
        ))
        .execute(connection)?;
    if changed == 0 {
        return promote(connection, key, waiting.collect(), aftermath);
    }
    diesel::delete(joined_jobs::table.find(&first.id)).execute(connection)?;
    let rest: Vec<String> = waiting.map(|row| row.id).collect();
    diesel::update(joined_jobs::table.filter(joined_jobs::job_id.eq_any(rest)))
        .set(joined_jobs::leader_id.eq(&first.id))
        .execute(connection)?;
    lead(connection, key, &first.id)?;
    aftermath.promoted.push(queued(&first)?);
    Ok(())
}
