//! What is not kept of a job once it has ended, where the operator wants it so: what its caller gave, what was made of
//! that, and the files that came with it. In the transaction that ends the job.

use diesel::prelude::*;
use gateway_core::record::{JobOptions, REDACTED, redact};
use gateway_core::{JobError, JobId, Timestamp};
use serde_json::{Map, Value};

use crate::engine::Conn;
use crate::jobs::claim::discard;
use crate::rows::{JobRow, OPEN, options_text};
use crate::schema::{deliveries, job_logs, job_uploads, jobs, uploads};
use crate::{Database, DbError};

/// The line of a job's log that repeats why an attempt failed.
const RETRY: &str = "retry";

/// When something happens to jobs, and whether what they were about goes when they end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) redact: bool,
}

/// What one look at the records of an earlier run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redacted {
    /// The last job that was looked at; `None` where none was left.
    pub last: Option<JobId>,
    /// How many ended jobs lost what they were about.
    pub jobs: usize,
}

impl Database {
    /// Takes out of records what a run left there that did not redact: of jobs that have ended all that they were
    /// about, of the others what their earlier attempts failed of. Looks at `limit` jobs after `after`, in order of their
    /// ids. Does nothing in a database that does not redact.
    ///
    /// # Errors
    /// [`DbError`] where the records could not be read or changed.
    pub async fn redact_earlier(&self, after: Option<JobId>, limit: i64) -> Result<Redacted, DbError> {
        if !self.redacts() {
            return Ok(Redacted::default());
        }
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let page: Vec<(String, Option<String>)> = self
            .read(move |connection| {
                let page = jobs::table.filter(jobs::id.gt(after)).order(jobs::id).limit(limit);
                Ok(page.select((jobs::id, jobs::options)).load(connection)?)
            })
            .await?;
        let last = page.last().and_then(|(id, _)| id.parse().ok());
        let left = page.into_iter().filter(|(_, options)| !is_redacted(options.as_deref()));
        let left: Vec<String> = left.map(|(id, _)| id).collect();
        let now = self.now();
        let jobs = if left.is_empty() {
            0
        } else {
            self.write_alone(move |connection| redact_all(connection, &left, now)).await?
        };
        Ok(Redacted { last, jobs })
    }
}

/// Takes out of the record of a job that has ended what it was about, and marks its files for removal where no other job
/// needs them.
pub(super) fn forget(connection: &mut Conn, row: &mut JobRow, now: Timestamp) -> Result<(), DbError> {
    row.redact();
    row.options = options_text(&JobOptions { redacted: true, ..row.options()? });
    diesel::update(jobs::table.find(&row.id))
        .set((
            jobs::inputs.eq(&row.inputs),
            jobs::params.eq(&row.params),
            jobs::resolved.eq(&row.resolved),
            jobs::options.eq(&row.options),
        ))
        .execute(connection)?;
    remove_uploads(connection, &row.id, now)?;
    Ok(())
}

fn remove_uploads(connection: &mut Conn, job: &str, now: Timestamp) -> QueryResult<()> {
    let own: Vec<String> = job_uploads::table
        .filter(job_uploads::job_id.eq(job))
        .order(job_uploads::upload_id)
        .select(job_uploads::upload_id)
        .load(connection)?;
    // Of two jobs that end at the same time the second sees that the first has.
    connection.take_turns(own.iter().map(String::as_str))?;
    for upload in own {
        let other: Option<String> = job_uploads::table
            .inner_join(jobs::table.on(jobs::id.eq(job_uploads::job_id)))
            .filter(job_uploads::upload_id.eq(&upload))
            .filter(job_uploads::job_id.ne(job))
            .filter(jobs::status.eq_any(OPEN))
            .select(job_uploads::job_id)
            .limit(1)
            .get_result(connection)
            .optional()?;
        if other.is_some() {
            continue;
        }
        let key: Option<String> =
            uploads::table.find(&upload).select(uploads::storage_key).get_result(connection).optional()?;
        if let Some(key) = key {
            diesel::delete(uploads::table.find(&upload)).execute(connection)?;
            discard(connection, &key, now)?;
        }
    }
    Ok(())
}

fn is_redacted(options: Option<&str>) -> bool {
    options.is_some_and(|text| serde_json::from_str::<JobOptions>(text).is_ok_and(|options| options.redacted))
}

/// Redacts these jobs; gives how many of them have ended.
fn redact_all(connection: &mut Conn, ids: &[String], now: Timestamp) -> Result<usize, DbError> {
    let mut ended = 0;
    for id in ids {
        let row: Option<JobRow> = jobs::table.find(id).select(JobRow::as_select()).get_result(connection).optional()?;
        let Some(mut row) = row else { continue };
        redact_words(connection, id)?;
        if !row.state()?.is_ended() {
            continue;
        }
        if let Some(error) = row.error.as_deref().and_then(without_words) {
            diesel::update(jobs::table.find(id)).set(jobs::error.eq(&error)).execute(connection)?;
        }
        forget(connection, &mut row, now)?;
        ended += 1;
    }
    Ok(ended)
}

/// Takes out of a job's log and messages what they say of its inputs, or repeat of ComfyUI.
fn redact_words(connection: &mut Conn, job: &str) -> QueryResult<()> {
    let lines = job_logs::table.filter(job_logs::job_id.eq(job)).filter(job_logs::event.eq(RETRY));
    diesel::update(lines).set(job_logs::message.eq(REDACTED)).execute(connection)?;
    let messages: Vec<(String, String)> = deliveries::table
        .filter(deliveries::subject_id.eq(job))
        .select((deliveries::id, deliveries::body))
        .load(connection)?;
    for (id, body) in messages {
        if let Some(body) = without_inputs(&body) {
            diesel::update(deliveries::table.find(&id)).set(deliveries::body.eq(&body)).execute(connection)?;
        }
    }
    Ok(())
}

/// An error without its sentences, which may be ComfyUI's.
fn without_words(error: &str) -> Option<String> {
    let mut error: JobError = serde_json::from_str(error).ok()?;
    error.message = REDACTED.to_owned();
    error.details.clear();
    serde_json::to_string(&error).ok()
}

/// A message about a job without what the job is about.
fn without_inputs(body: &str) -> Option<String> {
    let mut body: Map<String, Value> = serde_json::from_str(body).ok()?;
    let job = body.get_mut("data")?.as_object_mut()?;
    for name in ["inputs", "params", "resolvedInputs"] {
        if let Some(Value::Object(values)) = job.get_mut(name) {
            redact(values);
        }
    }
    if let Some(Value::Object(error)) = job.get_mut("error") {
        error.insert(String::from("message"), Value::from(REDACTED));
        error.remove("details");
    }
    serde_json::to_string(&body).ok()
}
