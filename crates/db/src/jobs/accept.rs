//! Accepting jobs and noting that the queue knows of them.

use diesel::prelude::*;
use gateway_core::{JobId, JobStatus};

use crate::jobs::NewJob;
use crate::rows::JobRow;
use crate::schema::jobs;
use crate::{Database, DbError};

impl Database {
    /// Accepts `job`: once this returns, it survives whatever dies.
    ///
    /// # Errors
    /// [`DbError`] where it was not accepted.
    pub async fn accept_job(&self, job: &NewJob) -> Result<(), DbError> {
        let row = JobRow::of_new(job);
        self.write_one(move |connection| {
            diesel::insert_into(jobs::table).values(&row).execute(connection)?;
            Ok(())
        })
        .await
    }

    /// Notes that the queue was told of these jobs.
    ///
    /// # Errors
    /// [`DbError`] where that could not be written; the sweep will tell the queue again.
    pub async fn mark_dispatched(&self, ids: &[JobId]) -> Result<(), DbError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let now = self.now().as_millis();
        self.write_one(move |connection| {
            let waiting = jobs::table
                .filter(jobs::id.eq_any(ids))
                .filter(jobs::status.eq(JobStatus::Queued.as_str()))
                .filter(jobs::dispatched_at.is_null());
            diesel::update(waiting).set(jobs::dispatched_at.eq(now)).execute(connection)?;
            Ok(())
        })
        .await
    }
}
