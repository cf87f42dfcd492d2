//! Results by name: which job's outputs they are. What a name is made of belongs to gateway-core.

use diesel::prelude::*;
use gateway_core::record::Output;
use gateway_core::{JobId, Timestamp};

use crate::engine::Conn;
use crate::jobs::outputs_of;
use crate::rows::OutputRow;
use crate::schema::cache_entries;
use crate::{Database, DbError};

/// A result.
#[derive(Debug, Clone)]
pub struct CachedResult {
    /// The job that made it.
    pub job: JobId,
    /// What it made, in order.
    pub outputs: Vec<Output>,
}

impl Database {
    /// The result named `key`, where there is one that is not too old.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn find_result(&self, key: &str) -> Result<Option<CachedResult>, DbError> {
        let (key, now) = (key.to_owned(), self.now());
        self.read_row(move |connection| {
            let found = result(connection, &key, now)?;
            Ok(found.map(|(job, rows)| CachedResult {
                job,
                outputs: rows.into_iter().map(OutputRow::into_output).collect(),
            }))
        })
        .await
    }

    /// Forgets the result named `key`, where it still is that of `job`: its files are gone.
    ///
    /// # Errors
    /// [`DbError`] where it could not be forgotten.
    pub async fn forget_result(&self, key: &str, job: JobId) -> Result<(), DbError> {
        let key = key.to_owned();
        self.write(move |connection| {
            let entry = cache_entries::table.find(key).filter(cache_entries::job_id.eq(job.to_string()));
            diesel::delete(entry).execute(connection)?;
            Ok(())
        })
        .await
    }
}

/// The result named `key`, where there is one that is not too old and whole: the job that made it, and its outputs.
pub(crate) fn result(connection: &mut Conn, key: &str, now: Timestamp) -> QueryResult<Option<(JobId, Vec<OutputRow>)>> {
    let entry: Option<String> = cache_entries::table
        .find(key)
        .filter(cache_entries::expires_at.gt(now.as_millis()))
        .select(cache_entries::job_id)
        .get_result(connection)
        .optional()?;
    let Some(job) = entry.and_then(|id| id.parse::<JobId>().ok()) else { return Ok(None) };
    let made = outputs_of(connection, &job.to_string())?;
    let whole = !made.is_empty() && made.iter().all(|output| output.removed_at.is_none());
    Ok(whole.then_some((job, made)))
}
