//! Who in this process watches which job.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway_core::JobId;
use gateway_core::event::JobEvent;
use tokio::sync::broadcast;

use crate::EventReceiver;

/// Events that a slow watcher may be behind before it loses the oldest; each is a whole snapshot.
const BACKLOG: usize = 64;

#[derive(Default)]
pub(super) struct Watchers(Mutex<HashMap<JobId, broadcast::Sender<JobEvent>>>);

impl Watchers {
    pub(super) fn watch(&self, job: JobId) -> EventReceiver {
        let mut watched = self.lock();
        // Whoever watched and left is found when the next one comes.
        if watched.len() > 1_024 {
            watched.retain(|_, sender| sender.receiver_count() > 0);
        }
        watched.entry(job).or_insert_with(|| broadcast::channel(BACKLOG).0).subscribe()
    }

    pub(super) fn tell(&self, job: JobId, event: JobEvent) {
        let mut watched = self.lock();
        let over = matches!(&event, JobEvent::Status(status) if status.is_ended());
        if let Some(sender) = watched.get(&job)
            && (sender.send(event).is_err() || over)
        {
            watched.remove(&job);
        }
    }

    /// Events may have been missed: every watcher looks anew.
    pub(super) fn drop_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, broadcast::Sender<JobEvent>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
