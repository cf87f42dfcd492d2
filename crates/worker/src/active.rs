//! The jobs that this worker holds: their claims, and how each learns of a wish to cancel or of a lost claim.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gateway_core::JobId;
use gateway_db::{Lease, Renewal};
use tokio::sync::watch;

/// Wishes to cancel that are remembered for jobs that this worker is about to hold.
const REMEMBERED_CANCELS: usize = 256;

/// What a running job must know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signal {
    /// Its owner wants it canceled.
    pub(crate) cancel: bool,
    /// Somebody else has the job, or may have: stop, write nothing.
    pub(crate) lost: bool,
}

#[derive(Debug)]
struct Active {
    /// Tells this claim from another of the same job that came later.
    token: u64,
    lease: Lease,
    signal: watch::Sender<Signal>,
    renewed: Instant,
}

/// The jobs that this worker holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActiveJobs {
    jobs: Arc<Mutex<HashMap<JobId, Active>>>,
    tokens: Arc<AtomicU64>,
    /// Jobs that were not held when they were canceled: one may be between its claim and its entry here.
    early_cancels: Arc<Mutex<VecDeque<JobId>>>,
}

/// Keeps a job among the active ones until it is dropped.
pub(crate) struct ActiveGuard {
    jobs: ActiveJobs,
    job: JobId,
    token: u64,
}

impl ActiveJobs {
    /// Adds a claimed job. An earlier claim of the same job, given up while its run was busy, learns that it is lost.
    pub(crate) fn add(&self, lease: Lease) -> (ActiveGuard, watch::Receiver<Signal>) {
        let (signal, receiver) = watch::channel(Signal::default());
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let earlier = self.lock().insert(lease.job, Active { token, lease, signal, renewed: Instant::now() });
        if let Some(earlier) = earlier {
            earlier.signal.send_modify(|signal| signal.lost = true);
        }
        if self.early_cancels().contains(&lease.job) {
            self.cancel(lease.job);
        }
        (ActiveGuard { jobs: self.clone(), job: lease.job, token }, receiver)
    }

    /// The claim of a job has a new epoch.
    pub(crate) fn replace(&self, lease: Lease) {
        if let Some(active) = self.lock().get_mut(&lease.job).filter(|active| active.lease.epoch < lease.epoch) {
            active.lease = lease;
        }
    }

    pub(crate) fn cancel(&self, job: JobId) {
        // Remembered first: a job that is added meanwhile finds it.
        let mut early = self.early_cancels();
        early.push_back(job);
        if early.len() > REMEMBERED_CANCELS {
            early.pop_front();
        }
        drop(early);
        if let Some(active) = self.lock().get(&job) {
            active.signal.send_modify(|signal| signal.cancel = true);
        }
    }

    pub(crate) fn leases(&self) -> Vec<Lease> {
        self.lock().values().map(|active| active.lease).collect()
    }

    /// Tells the jobs what a renewal found.
    pub(crate) fn renewed(&self, renewals: &[Renewal]) {
        let mut jobs = self.lock();
        for renewal in renewals {
            let Some(active) = jobs.get_mut(&renewal.lease.job).filter(|active| active.lease == renewal.lease) else {
                continue;
            };
            if renewal.held {
                active.renewed = Instant::now();
            } else {
                active.signal.send_modify(|signal| signal.lost = true);
            }
            if renewal.cancel_requested {
                active.signal.send_modify(|signal| signal.cancel = true);
            }
        }
    }

    /// Gives up claims that could not be renewed for `limit`: somebody else may have the jobs by now.
    pub(crate) fn give_up_older_than(&self, limit: Duration) {
        for active in self.lock().values().filter(|active| active.renewed.elapsed() > limit) {
            active.signal.send_modify(|signal| signal.lost = true);
        }
    }

    fn early_cancels(&self) -> MutexGuard<'_, VecDeque<JobId>> {
        self.early_cancels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Active>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        let mut jobs = self.jobs.lock();
        if jobs.get(&self.job).is_some_and(|active| active.token == self.token) {
            jobs.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::Timestamp;

    use super::*;

    fn lease(epoch: i64) -> Lease {
        Lease { job: JobId::new(Timestamp::from_millis(1), [1; 10]), epoch }
    }

    #[test]
    fn a_lost_claim_and_a_wish_to_cancel_reach_the_job() {
        let jobs = ActiveJobs::default();
        let (_guard, signal) = jobs.add(lease(1));
        jobs.renewed(&[Renewal { lease: lease(1), held: true, cancel_requested: true }]);
        assert_eq!(*signal.borrow(), Signal { cancel: true, lost: false });
        jobs.renewed(&[Renewal { lease: lease(1), held: false, cancel_requested: false }]);
        assert_eq!(*signal.borrow(), Signal { cancel: true, lost: true });
    }

    #[test]
    fn a_wish_to_cancel_that_comes_between_claim_and_entry_is_not_missed() {
        let jobs = ActiveJobs::default();
        jobs.cancel(lease(1).job);
        let (_guard, signal) = jobs.add(lease(1));
        assert!(signal.borrow().cancel);
    }

    #[test]
    fn a_renewal_of_an_earlier_epoch_says_nothing_of_the_present_one() {
        let jobs = ActiveJobs::default();
        let (_guard, signal) = jobs.add(lease(1));
        jobs.replace(lease(2));
        jobs.renewed(&[Renewal { lease: lease(1), held: false, cancel_requested: false }]);
        assert_eq!(*signal.borrow(), Signal::default());
        assert_eq!(jobs.leases(), [lease(2)]);
    }

    #[test]
    fn a_later_claim_of_the_same_job_ends_the_earlier_one_and_outlives_it() {
        let jobs = ActiveJobs::default();
        let (earlier, old) = jobs.add(lease(1));
        let (_later, new) = jobs.add(lease(2));
        assert!(old.borrow().lost);
        drop(earlier);
        assert_eq!(jobs.leases(), [lease(2)]);
        jobs.cancel(lease(2).job);
        assert_eq!(*new.borrow(), Signal { cancel: true, lost: false });
    }

    #[test]
    fn a_claim_that_could_not_be_renewed_is_given_up() {
        let jobs = ActiveJobs::default();
        let (guard, signal) = jobs.add(lease(1));
        jobs.give_up_older_than(Duration::from_secs(60));
        assert!(!signal.borrow().lost);
        jobs.give_up_older_than(Duration::ZERO);
        assert!(signal.borrow().lost);
        drop(guard);
        assert!(jobs.leases().is_empty());
    }
}
