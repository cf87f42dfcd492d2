//! Keeps a database file free of what its rows no longer say. A server's files are the server's.

use std::path::Path;

use crate::writer::Scrub;
use crate::{Database, DbError};

/// The largest file that is written anew while the gateway works, in bytes: whoever writes waits meanwhile.
const LARGEST: u64 = 512 << 20;

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
