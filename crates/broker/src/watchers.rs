//! Who in this process watches which job.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway_core::JobId;
use gateway_core::event::JobEvent;
use tokio::sync::broadcast;

use crate::{EventReceiver, Heard};

/// Events that a slow watcher may be behind before it loses the oldest; each is a whole snapshot.
const BACKLOG: usize = 64;

/// Fewer watched jobs than this are not worth looking through.
const FEW: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<HashMap<JobId, broadcast::Sender<Heard>>>);

impl Watchers {
    pub(crate) fn watch(&self, job: JobId) -> EventReceiver {
        let mut watched = self.lock();
        // Whoever watched and left is found when others come.
        if watched.len() > FEW {
            watched.retain(|_, sender| sender.receiver_count() > 0);
        }
        watched.entry(job).or_insert_with(|| broadcast::channel(BACKLOG).0).subscribe()
    }

    pub(crate) fn tell(&self, job: JobId, heard: Heard) {
        let mut watched = self.lock();
        let over = matches!(&heard.event, JobEvent::Status(status) if status.is_ended());
        if let Some(sender) = watched.get(&job)
            && (sender.send(heard).is_err() || over)
        {
            watched.remove(&job);
        }
    }

    /// Events may have been missed: every watcher looks anew.
    pub(crate) fn drop_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, broadcast::Sender<Heard>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::event::EventId;
    use gateway_core::progress::Progress;
    use gateway_core::{JobStatus, Timestamp};

    use super::*;

    fn job(number: u16) -> JobId {
        JobId::new(Timestamp::from_millis(i64::from(number)), [1; 10])
    }

    #[test]
    fn a_watcher_gets_what_comes_and_the_end_closes_the_stream() {
        let watchers = Watchers::default();
        let mut receiver = watchers.watch(job(1));
        let progress = Heard { id: None, event: JobEvent::Progress(Progress { percent: 7, ..Progress::default() }) };
        let end = Heard { id: Some(EventId::default()), event: JobEvent::Status(JobStatus::Succeeded) };
        watchers.tell(job(1), progress.clone());
        watchers.tell(job(1), end.clone());
        assert_eq!(receiver.try_recv(), Ok(progress));
        assert_eq!(receiver.try_recv(), Ok(end));
        assert_eq!(receiver.try_recv(), Err(broadcast::error::TryRecvError::Closed));
        assert!(watchers.lock().is_empty());
    }

    #[test]
    fn what_nobody_watches_any_more_is_dropped() {
        let watchers = Watchers::default();
        let kept = watchers.watch(job(0));
        for number in 1..5_000 {
            drop(watchers.watch(job(number)));
        }
        assert!(watchers.lock().len() <= FEW + 1);
        assert!(watchers.lock().contains_key(&job(0)));
        drop(kept);
    }
}
