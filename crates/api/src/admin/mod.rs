//! What operators see and steer: workers, the queue, jobs that nobody could run.

mod queue;
mod workers;

pub(crate) use queue::{pause_queue, resume_queue, retry_dead};
pub(crate) use workers::{drain_worker, list_workers};
