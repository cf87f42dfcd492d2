//! The events of jobs within one process: how far each is, what has happened to it, and who watches.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use gateway_core::event::{EventId, JobEvent};
use gateway_core::progress::Progress;
use gateway_core::{JobId, Timestamp};

use crate::entry::{KEPT_EVENTS, PREVIEWS_WANTED};
use crate::watchers::Watchers;
use crate::{EventReceiver, Heard, Replay};

/// Ended jobs whose events are kept.
const ENDED: usize = 1_000;
/// Wishes beyond this are looked through for those of the past.
const MANY_WISHES: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Events {
    progress: HashMap<JobId, Progress>,
    said: HashMap<JobId, VecDeque<(EventId, JobEvent)>>,
    /// Jobs that have ended, the first one first.
    ended: VecDeque<JobId>,
    latest: EventId,
    previews: HashMap<JobId, Instant>,
    watchers: Watchers,
}

impl Events {
    pub(crate) fn publish(&mut self, job: JobId, event: JobEvent, now: Timestamp) {
        let id = match &event {
            JobEvent::Progress(progress) => {
                self.progress.insert(job, progress.clone());
                None
            }
            JobEvent::Preview(_) => None,
            JobEvent::Status(status) => {
                self.progress.remove(&job);
                if status.is_ended() {
                    self.ended.push_back(job);
                }
                Some(self.keep(job, &event, now))
            }
            JobEvent::Log(_) => Some(self.keep(job, &event, now)),
        };
        if self.ended.len() > ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.said.remove(&oldest);
        }
        self.watchers.tell(job, Heard { id, event });
    }

    fn keep(&mut self, job: JobId, event: &JobEvent, now: Timestamp) -> EventId {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        self.latest = if millis > self.latest.millis {
            EventId { millis, number: 0 }
        } else {
            EventId { number: self.latest.number + 1, ..self.latest }
        };
        let said = self.said.entry(job).or_default();
        if said.len() >= KEPT_EVENTS {
            said.pop_front();
        }
        said.push_back((self.latest, event.clone()));
        self.latest
    }

    pub(crate) fn replay(&self, job: JobId, after: Option<EventId>) -> Replay {
        let said = self.said.get(&job).map(|said| said.iter().cloned().collect());
        Replay::after(said.unwrap_or_default(), after)
    }

    pub(crate) fn want_previews(&mut self, job: JobId) {
        if self.previews.len() > MANY_WISHES {
            self.previews.retain(|_, wanted| wanted.elapsed() < PREVIEWS_WANTED);
        }
        self.previews.insert(job, Instant::now());
    }

    pub(crate) fn wants_previews(&self, job: JobId) -> bool {
        self.previews.get(&job).is_some_and(|wanted| wanted.elapsed() < PREVIEWS_WANTED)
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
    use gateway_core::JobStatus;

    use super::*;

    #[test]
    fn a_job_that_returns_to_the_queue_has_no_progress() {
        let job = JobId::new(Timestamp::from_millis(1), [1; 10]);
        let mut events = Events::default();
        events.publish(job, JobEvent::Progress(Progress::default()), Timestamp::from_millis(1));
        assert_eq!(events.progress(job), Some(Progress::default()));
        events.publish(job, JobEvent::Status(JobStatus::Queued), Timestamp::from_millis(1));
        assert_eq!(events.progress(job), None);
    }

    #[test]
    fn what_is_kept_has_bounds() {
        let mut events = Events::default();
        let job = |number: u16| JobId::new(Timestamp::from_millis(i64::from(number)), [1; 10]);
        for _ in 0..1_000 {
            events.publish(job(1), JobEvent::Status(JobStatus::Running), Timestamp::from_millis(5));
        }
        assert_eq!(events.replay(job(1), None).missed.len(), KEPT_EVENTS);
        for number in 2..3_000 {
            events.publish(job(number), JobEvent::Status(JobStatus::Succeeded), Timestamp::from_millis(5));
        }
        assert!(events.said.len() <= ENDED + 1);
    }
}
