//! The events of jobs within one process: how far each is, and who watches.

use std::collections::HashMap;

use gateway_core::JobId;
use gateway_core::event::JobEvent;
use gateway_core::progress::Progress;

use crate::EventReceiver;
use crate::watchers::Watchers;

#[derive(Debug, Default)]
pub(crate) struct Events {
    progress: HashMap<JobId, Progress>,
    watchers: Watchers,
}

impl Events {
    pub(crate) fn publish(&mut self, job: JobId, event: JobEvent) {
        match &event {
            JobEvent::Progress(progress) => self.progress.insert(job, progress.clone()),
            JobEvent::Status(_) => self.progress.remove(&job),
        };
        self.watchers.tell(job, event);
    }

    pub(crate) fn watch(&self, job: JobId) -> EventReceiver {
        self.watchers.watch(job)
    }

    pub(crate) fn progress(&self, job: JobId) -> Option<Progress> {
        self.progress.get(&job).cloned()
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::{JobStatus, Timestamp};

    use super::*;

    #[test]
    fn a_job_that_returns_to_the_queue_has_no_progress() {
        let job = JobId::new(Timestamp::from_millis(1), [1; 10]);
        let mut events = Events::default();
        events.publish(job, JobEvent::Progress(Progress::default()));
        assert_eq!(events.progress(job), Some(Progress::default()));
        events.publish(job, JobEvent::Status(JobStatus::Queued));
        assert_eq!(events.progress(job), None);
    }
}
