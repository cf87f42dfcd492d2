//! Rows as they lie in the tables, and their way to and from the words of the domain. Private: nobody
//! outside sees a row.

use diesel::prelude::*;
use gateway_core::event::{LogLevel, LogLine};
use gateway_core::record::{Job, JobOptions, Output, redact};
use gateway_core::{JobChange, JobError, JobId, JobStatus, OutputKind, Owner, Priority, Timestamp};
use serde_json::{Map, Value};

use crate::DbError;
use crate::jobs::NewJob;
use crate::schema::{job_logs, jobs, outputs};

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = jobs)]
pub(crate) struct JobRow {
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) workflow_id: String,
    pub(crate) workflow_version: i32,
    pub(crate) status: String,
    pub(crate) priority: i32,
    pub(crate) inputs: String,
    pub(crate) params: String,
    pub(crate) resolved: String,
    pub(crate) metadata: String,
    pub(crate) request_id: Option<String>,
    pub(crate) correlation_id: String,
    pub(crate) timeout_ms: Option<i64>,
    pub(crate) not_before: Option<i64>,
    pub(crate) retry_of: Option<String>,
    pub(crate) nodes_total: i32,
    pub(crate) attempt: i32,
    pub(crate) crashes: i32,
    pub(crate) epoch: i64,
    pub(crate) worker_id: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) prompt_id: Option<String>,
    pub(crate) lease_until: Option<i64>,
    pub(crate) cancel_requested: bool,
    pub(crate) created_at: i64,
    pub(crate) dispatched_at: Option<i64>,
    pub(crate) started_at: Option<i64>,
    pub(crate) finished_at: Option<i64>,
    pub(crate) store_ms: Option<i64>,
    pub(crate) error: Option<String>,
    pub(crate) needs: Option<String>,
    pub(crate) options: Option<String>,
}

/// The status of a job that waits for an identical one. Outside this crate it is queued.
pub(crate) const JOINED: &str = "joined";
/// The states of jobs that have not ended.
pub(crate) const OPEN: [&str; 3] = [JobStatus::Queued.as_str(), JobStatus::Running.as_str(), JOINED];

impl JobRow {
    pub(crate) fn of_new(job: &NewJob) -> Self {
        Self {
            id: job.id.to_string(),
            owner: job.owner.as_str().to_owned(),
            workflow_id: job.workflow_id.clone(),
            workflow_version: job.workflow_version,
            status: JobStatus::Queued.as_str().to_owned(),
            priority: job.priority.level(),
            inputs: object_text(&job.inputs),
            params: object_text(&job.params),
            resolved: object_text(&job.resolved),
            metadata: object_text(&job.metadata),
            request_id: job.request_id.clone(),
            correlation_id: job.correlation_id.clone(),
            timeout_ms: job.timeout_ms,
            not_before: job.not_before.map(Timestamp::as_millis),
            retry_of: job.retry_of.map(|id| id.to_string()),
            nodes_total: job.nodes_total,
            attempt: 0,
            crashes: 0,
            epoch: 0,
            worker_id: None,
            backend: None,
            prompt_id: None,
            lease_until: None,
            cancel_requested: false,
            created_at: job.id.timestamp().as_millis(),
            // Whoever accepts it tells the queue next, and says so where that fails: one write a job, not two.
            dispatched_at: Some(job.id.timestamp().as_millis()),
            started_at: None,
            finished_at: None,
            store_ms: None,
            error: None,
            needs: job.needs.map(|needs| needs.to_string()),
            options: options_text(&job.options),
        }
    }

    /// Where it stands for everybody else.
    pub(crate) fn state(&self) -> Result<JobStatus, DbError> {
        if self.status == JOINED {
            return Ok(JobStatus::Queued);
        }
        self.status.parse().map_err(|()| self.bad("status"))
    }

    pub(crate) fn options(&self) -> Result<JobOptions, DbError> {
        match &self.options {
            Some(text) => serde_json::from_str(text).map_err(|error| self.bad(&format!("options: {error}"))),
            None => Ok(JobOptions::default()),
        }
    }

    /// That it stands where it does, and stood at `from` before.
    pub(crate) fn change(&self, from: JobStatus) -> Result<JobChange, DbError> {
        let error = self.error.as_deref().and_then(|text| serde_json::from_str::<JobError>(text).ok());
        Ok(JobChange {
            job: self.job_id()?,
            workflow_id: self.workflow_id.clone(),
            correlation_id: self.correlation_id.clone(),
            trace: self.options()?.trace_parent,
            from: Some(from),
            to: self.state()?,
            attempt: self.attempt,
            // Since when it has waited is known only of one that was never taken.
            duration_ms: self.finished_at.filter(|_| self.epoch == 0).map(|end| end - self.created_at),
            code: error.as_ref().map(|error| error.code),
            error: error.map(|error| error.message),
            not_before: None,
        })
    }

    /// Takes out what the job is about.
    pub(crate) fn redact(&mut self) {
        for text in [&mut self.inputs, &mut self.params, &mut self.resolved] {
            let mut values = parse_object(text).unwrap_or_default();
            redact(&mut values);
            *text = object_text(&values);
        }
    }

    fn bad(&self, reason: &str) -> DbError {
        DbError::Corrupt { row: format!("jobs/{}", self.id), reason: reason.to_owned() }
    }

    pub(crate) fn job_id(&self) -> Result<JobId, DbError> {
        self.id.parse().map_err(|_error| self.bad("id"))
    }

    pub(crate) fn into_job(self) -> Result<Job, DbError> {
        let bad = |reason: &str| self.bad(reason);
        let id = self.job_id()?;
        let error = match &self.error {
            Some(text) => Some(serde_json::from_str::<JobError>(text).map_err(|e| bad(&format!("error: {e}")))?),
            None => None,
        };
        Ok(Job {
            id,
            status: self.state()?,
            options: self.options()?,
            joined: self.status == JOINED,
            inputs: parse_object(&self.inputs).ok_or_else(|| bad("inputs"))?,
            params: parse_object(&self.params).ok_or_else(|| bad("params"))?,
            resolved: parse_object(&self.resolved).ok_or_else(|| bad("resolved"))?,
            metadata: parse_object(&self.metadata).ok_or_else(|| bad("metadata"))?,
            needs: match &self.needs {
                Some(text) => Some(text.parse().map_err(|_error| bad("needs"))?),
                None => None,
            },
            retry_of: match &self.retry_of {
                Some(text) => Some(text.parse().map_err(|_error| bad("retry_of"))?),
                None => None,
            },
            error,
            owner: Owner::new(self.owner),
            workflow_id: self.workflow_id,
            workflow_version: self.workflow_version,
            priority: Priority::of_level(self.priority),
            request_id: self.request_id,
            correlation_id: self.correlation_id,
            timeout_ms: self.timeout_ms,
            not_before: self.not_before.map(Timestamp::from_millis),
            nodes_total: self.nodes_total,
            attempt: self.attempt,
            crashes: self.crashes,
            epoch: self.epoch,
            worker_id: self.worker_id,
            backend: self.backend,
            prompt_id: self.prompt_id,
            cancel_requested: self.cancel_requested,
            created_at: Timestamp::from_millis(self.created_at),
            started_at: self.started_at.map(Timestamp::from_millis),
            finished_at: self.finished_at.map(Timestamp::from_millis),
            store_ms: self.store_ms,
        })
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = outputs)]
pub(crate) struct OutputRow {
    pub(crate) job_id: String,
    pub(crate) file: String,
    position: i32,
    node_id: String,
    kind: String,
    content_type: String,
    size: i64,
    sha256: String,
    width: Option<i32>,
    height: Option<i32>,
    pub(crate) storage_key: String,
    created_at: i64,
    pub(crate) removed_at: Option<i64>,
}

impl OutputRow {
    pub(crate) fn of(job: JobId, position: usize, output: &Output) -> Self {
        Self {
            job_id: job.to_string(),
            file: output.file.clone(),
            position: i32::try_from(position).unwrap_or(i32::MAX),
            node_id: output.node_id.clone(),
            kind: output.kind.as_str().to_owned(),
            content_type: output.content_type.clone(),
            size: output.size,
            sha256: output.sha256.clone(),
            width: output.width,
            height: output.height,
            storage_key: output.storage_key.clone(),
            created_at: output.created_at.as_millis(),
            removed_at: output.removed_at.map(Timestamp::as_millis),
        }
    }

    pub(crate) fn into_output(self) -> Output {
        Output {
            file: self.file,
            node_id: self.node_id,
            kind: OutputKind::parse(&self.kind),
            content_type: self.content_type,
            size: self.size,
            sha256: self.sha256,
            width: self.width,
            height: self.height,
            storage_key: self.storage_key,
            created_at: Timestamp::from_millis(self.created_at),
            removed_at: self.removed_at.map(Timestamp::from_millis),
        }
    }

    /// The same output, of another job.
    pub(crate) fn shared_with(&self, job: &str) -> Self {
        Self { job_id: job.to_owned(), ..self.clone() }
    }

    /// What the storage keys of all that was stored with it begin with.
    pub(crate) fn prefix(&self) -> &str {
        self.storage_key.strip_suffix(self.file.as_str()).unwrap_or(&self.storage_key)
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = job_logs)]
pub(crate) struct LogRow {
    job_id: String,
    seq: i32,
    time: i64,
    level: String,
    event: String,
    message: String,
    node: Option<String>,
}

impl LogRow {
    pub(crate) fn of(job: &str, seq: i32, line: &LogLine) -> Self {
        Self {
            job_id: job.to_owned(),
            seq,
            time: line.time.as_millis(),
            level: line.level.as_str().to_owned(),
            event: line.event.clone(),
            message: line.message.clone(),
            node: line.node.clone(),
        }
    }

    pub(crate) fn into_line(self) -> LogLine {
        LogLine {
            time: Timestamp::from_millis(self.time),
            level: LogLevel::parse(&self.level),
            event: self.event,
            message: self.message,
            node: self.node,
        }
    }
}

/// `None` where there is nothing to keep.
pub(crate) fn options_text(options: &JobOptions) -> Option<String> {
    if *options == JobOptions::default() { None } else { serde_json::to_string(options).ok() }
}

pub(crate) fn object_text(object: &Map<String, Value>) -> String {
    if object.is_empty() {
        return String::from("{}");
    }
    serde_json::to_string(object).unwrap_or_else(|_error| String::from("{}"))
}

pub(crate) fn parse_object(text: &str) -> Option<Map<String, Value>> {
    if text == "{}" {
        return Some(Map::new());
    }
    serde_json::from_str(text).ok()
}
