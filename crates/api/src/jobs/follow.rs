//! A job as it is followed by whoever waits for its end in a request.

use std::time::Duration;

use gateway_broker::{EventReceiver, Heard};
use gateway_core::event::JobEvent;
use gateway_core::progress::Progress;
use gateway_core::{JobId, Scope};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::ApiError;
use crate::state::ApiState;

/// How often the database is looked at meanwhile: what was missed is not waited for.
const LOOK: Duration = Duration::from_secs(2);

/// What is heard of a job.
pub(crate) enum Step {
    Progress(Progress),
    /// It has ended, or is not there any more.
    Ended,
    /// The server stops.
    Stopping,
}

/// Follows one job.
pub(crate) struct Follower {
    state: ApiState,
    id: JobId,
    events: EventReceiver,
    stopping: watch::Receiver<bool>,
    /// When the database is to be looked at again.
    look: Instant,
}

impl Follower {
    /// Follows the job `id` from now on.
    pub(crate) fn new(state: &ApiState, id: JobId) -> Self {
        let (events, stopping) = (state.parts.broker.watch(id), state.stopping.subscribe());
        Self { state: state.clone(), id, events, stopping, look: Instant::now() }
    }

    /// What is heard next.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            if self.look <= Instant::now() {
                self.look = Instant::now() + LOOK;
                match self.is_ended().await {
                    Ok(true) => return Step::Ended,
                    Ok(false) => {}
                    Err(error) => tracing::debug!(%error, jobId = %self.id, "a job that is waited for can't be read"),
                }
            }
            let (events, stopping) = (&mut self.events, &mut self.stopping);
            tokio::select! {
                heard = events.recv() => match heard {
                    Ok(Heard { event: JobEvent::Progress(progress), .. }) => return Step::Progress(progress),
                    Ok(Heard { event: JobEvent::Status(status), .. }) if status.is_ended() => self.look = Instant::now(),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => self.look = Instant::now(),
                    Err(RecvError::Closed) => {
                        self.events = self.state.parts.broker.watch(self.id);
                        self.look = Instant::now();
                    }
                },
                () = tokio::time::sleep_until(self.look) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return Step::Stopping,
            }
        }
    }

    /// Waits for the end of the job; `false` where the server stops before: the caller asks again, of whoever serves then.
    pub(crate) async fn until_ended(mut self) -> bool {
        loop {
            match self.next().await {
                Step::Progress(_) => {}
                Step::Ended => return true,
                Step::Stopping => return false,
            }
        }
    }

    async fn is_ended(&self) -> Result<bool, ApiError> {
        let job = self.state.parts.database.find_job(self.id, Scope::All).await?;
        Ok(job.is_none_or(|job| job.status.is_ended()))
    }
}
