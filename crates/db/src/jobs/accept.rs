//! Accepting jobs and noting that the queue knows of them.

use diesel::Connection as _;
use diesel::prelude::*;
use gateway_core::{JobId, JobStatus};

use crate::engine::Conn;
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
        self.writer().accept(JobRow::of_new(job)).await
    }

    /// Notes that the queue was told of these jobs.
    ///
    /// # Errors
    /// [`DbError`] where that could not be written; the sweep will tell the queue again.
    pub async fn mark_dispatched(&self, ids: &[JobId]) -> Result<(), DbError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let now = self.now().as_millis();
        self.write(move |connection| Ok(mark(connection, &ids, now)?)).await
    }
}

/// Notes the time on those of `ids` that still wait. On a server, rows that somebody holds are passed over: they are
/// being claimed, and whoever waits for several rows may be waited for.
fn mark(connection: &mut Conn, ids: &[String], now: i64) -> QueryResult<()> {
    let waiting = || {
        jobs::table
            .filter(jobs::id.eq_any(ids.to_vec()))
            .filter(jobs::status.eq(JobStatus::Queued.as_str()))
            .filter(jobs::dispatched_at.is_null())
    };
    match connection {
        Conn::Sqlite(connection) => {
            diesel::update(waiting()).set(jobs::dispatched_at.eq(now)).execute(connection)?;
        }
        Conn::Postgres(connection) => {
            let free: Vec<String> =
                waiting().select(jobs::id).order(jobs::id).for_update().skip_locked().load(connection)?;
            diesel::update(jobs::table.filter(jobs::id.eq_any(free)))
                .set(jobs::dispatched_at.eq(now))
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
