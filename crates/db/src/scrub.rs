//! Keeps a database file free of what its rows no longer say. A server's files are the server's.

use std::path::Path;

use diesel::RunQueryDsl as _;
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::Integer;
use diesel::sqlite::SqliteConnection;

use crate::{Database, DbError};

/// The largest file that is written anew while the gateway works, in bytes: whoever writes waits meanwhile.
const LARGEST: u64 = 512 << 20;

/// How a file is rid of what its rows no longer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scrub {
    /// What was written since the last time leaves the log of writes.
    Log,
    /// The file is written anew, too: what moved about in it leaves copies in unused places.
    Whole,
}

impl Scrub {
    /// Does it, outside of transactions.
    pub(crate) fn run(self, connection: &mut SqliteConnection) -> Result<(), DbError> {
        #[derive(diesel::QueryableByName)]
        struct Checkpoint {
            #[diesel(sql_type = Integer)]
            busy: i32,
        }
        if self == Self::Whole {
            // The copy that is made meanwhile may be larger than memory.
            connection.batch_execute("PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY")?;
        }
        // A reader that is in the way is told of in a row, and is no error.
        let done: Checkpoint = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(connection)?;
        if done.busy == 0 {
            return Ok(());
        }
        Err(DbError::Unavailable { reason: String::from("a reader kept the log of writes from being emptied") })
    }
}

impl Database {
    /// Empties the log of writes of a database file that redacts; with `whole` also writes the file anew, unless it is
    /// large. Does nothing for any other database.
    ///
    /// # Errors
    /// [`DbError`] where it could not be done; nothing is lost then.
    pub async fn scrub(&self, whole: bool) -> Result<(), DbError> {
        match self.target().file() {
            Some(file) if self.redacts() => {
                let whole = whole && size(file) <= LARGEST;
                self.writer().scrub(if whole { Scrub::Whole } else { Scrub::Log }).await
            }
            _ => Ok(()),
        }
    }
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(u64::MAX, |metadata| metadata.len())
}
