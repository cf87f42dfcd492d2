//! Tells the operator once that connections to the database fail, and once that they do again what they should.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::r2d2::event::AcquireEvent;
use diesel::r2d2::{HandleError, HandleEvent};

use crate::DbError;
use crate::engine::Target;

/// What a pool of connections tells what befalls it.
#[derive(Debug, Clone)]
pub(crate) struct Outage {
    database: String,
    lasts: Arc<AtomicBool>,
}

impl Outage {
    pub(crate) fn of(target: &Target) -> Self {
        Self { database: target.shown(), lasts: Arc::default() }
    }

    /// Whether it begins with what failed now.
    fn begins(&self) -> bool {
        !self.lasts.swap(true, Ordering::Relaxed)
    }

    /// Whether it ends with what went well now.
    fn ends(&self) -> bool {
        self.lasts.swap(false, Ordering::Relaxed)
    }
}

impl HandleError<DbError> for Outage {
    fn handle_error(&self, error: DbError) {
        if self.begins() {
            tracing::error!(database = self.database, %error, "the database can't be used");
        }
    }
}

impl HandleEvent for Outage {
    fn handle_acquire(&self, _event: AcquireEvent) {
        if self.ends() {
            tracing::info!(database = self.database, "the database can be used");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_once_and_ends_once_however_many_connections_fail() {
        let outage = Outage { database: String::from("somewhere"), lasts: Arc::default() };
        let seen = outage.clone();
        assert!(!seen.ends(), "nothing has failed yet");
        assert_eq!([outage.begins(), outage.begins(), seen.begins()], [true, false, false]);
        assert_eq!([seen.ends(), outage.ends()], [true, false]);
        assert!(outage.begins(), "the next one is told of again");
    }
}
