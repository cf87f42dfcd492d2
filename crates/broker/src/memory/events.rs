//! The events of jobs within one process: how far each is, and who watches.

use std::collections::HashMap;

use gateway_core::JobId;
use gateway_core::event::JobEvent;
use gateway_core::progress::Progress;
use tokio::sync::broadcast;

use crate::EventReceiver;

/// Events that a slow watcher may be behind before it loses the oldest; each is a whole snapshot.
const BACKLOG: usize = 64;

#[derive(Debug, Default)]
struct Watched {
    progress: Option<Progress>,
    watchers: Option<broadcast::Sender<JobEvent>>,
}

#[derive(Debug, Default)]
pub(crate) struct Events(HashMap<JobId, Watched>);

impl Events {
    pub(crate) fn publish(&mut self, job: JobId, event: JobEvent) {
        let over = match &event {
            JobEvent::Progress(progress) => {
                self.0.entry(job).or_default().progress = Some(progress.clone());
                false
            }
            JobEvent::Status(status) => {
                if let Some(watched) = self.0.get_mut(&job) {
                    watched.progress = None;
                }
                status.is_ended()
            }
        };
        if let Some(watchers) = self.0.get(&job).and_then(|watched| watched.watchers.as_ref()) {
            // Nobody may be watching any more.
            let _ = watchers.send(event);
        }
        if over {
            self.0.remove(&job);
        }
    }

    pub(crate) fn watch(&mut self, job: JobId) -> EventReceiver {
        let watched = self.0.entry(job).or_default();
        watched.watchers.get_or_insert_with(|| broadcast::channel(BACKLOG).0).subscribe()
    }

    pub(crate) fn progress(&self, job: JobId) -> Option<Progress> {
        self.0.get(&job)?.progress.clone()
    }

    /// Drops what nobody watches and no run feeds.
    pub(crate) fn tidy(&mut self) {
        self.0.retain(|_, watched| {
            watched.progress.is_some() || watched.watchers.as_ref().is_some_and(|sender| sender.receiver_count() > 0)
        });
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::{JobStatus, Timestamp};

    use super::*;

    fn job() -> JobId {
        JobId::new(Timestamp::from_millis(1), [1; 10])
    }

    #[test]
    fn a_watcher_gets_what_comes_and_the_end_closes_the_stream() {
        let mut events = Events::default();
        let mut receiver = events.watch(job());
        let progress = Progress { percent: 7, ..Progress::default() };
        events.publish(job(), JobEvent::Progress(progress.clone()));
        assert_eq!(events.progress(job()), Some(progress.clone()));
        events.publish(job(), JobEvent::Status(JobStatus::Succeeded));
        assert_eq!(receiver.try_recv(), Ok(JobEvent::Progress(progress)));
        assert_eq!(receiver.try_recv(), Ok(JobEvent::Status(JobStatus::Succeeded)));
        assert_eq!(receiver.try_recv(), Err(broadcast::error::TryRecvError::Closed));
        assert_eq!(events.len(), 0);
    }

    #[test]
    fn what_nobody_watches_is_dropped() {
        let mut events = Events::default();
        drop(events.watch(job()));
        events.tidy();
        assert_eq!(events.len(), 0);
    }

    #[test]
    fn a_job_that_returns_to_the_queue_has_no_progress() {
        let mut events = Events::default();
        events.publish(job(), JobEvent::Progress(Progress::default()));
        events.publish(job(), JobEvent::Status(JobStatus::Queued));
        assert_eq!(events.progress(job()), None);
    }
}
