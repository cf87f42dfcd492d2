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
}

impl HandleError<DbError> for Outage {
    fn handle_error(&self, error: DbError) {
        if !self.lasts.swap(true, Ordering::Relaxed) {
            tracing::error!(database = self.database, %error, "the database can't be used");
        }
    }
}

impl HandleEvent for Outage {
    fn handle_acquire(&self, _event: AcquireEvent) {
        if self.lasts.swap(false, Ordering::Relaxed) {
            tracing::info!(database = self.database, "the database can be used");
        }
    }
}
