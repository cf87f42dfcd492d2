//! Renews the claims of this worker, on a thread of its own: hashing, image work or a busy runtime can't
//! make a living worker look dead.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use gateway_db::Database;

use crate::active::ActiveJobs;

/// Renewals in the time of one lease.
const RENEWALS: u32 = 6;

/// The thread that renews. Ends when it is dropped.
pub(crate) struct Renewer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Renewer {
    pub(crate) fn start(database: Database, active: ActiveJobs, lease: Duration) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let run = move || {
            while matches!(stopped.recv_timeout(lease / RENEWALS), Err(RecvTimeoutError::Timeout)) {
                renew(&database, &active, lease);
            }
        };
        let thread = std::thread::Builder::new().name(String::from("lease-renewal")).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

fn renew(database: &Database, active: &ActiveJobs, lease: Duration) {
    let leases = active.leases();
    if leases.is_empty() {
        return;
    }
    match database.renew_leases(leases, lease) {
        Ok(renewals) => active.renewed(&renewals),
        Err(error) => tracing::warn!(%error, "claims were not renewed"),
    }
    active.give_up_older_than(lease * 3 / 4);
}

impl Drop for Renewer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that renews claims has panicked");
        }
    }
}
