//! Long work on a thread that yields to others. Must not be called for what takes less than starting a thread does.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// What work gets of a processor that other threads of the same cgroup want too. Without Linux it is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Nothing: whatever becomes ready to run displaces it at once. Among threads that never rest it hardly gets on.
    Spare,
    /// Less than theirs: it gets on, and they wait for it for some milliseconds now and then.
    Less,
}

/// Does `work` on a thread that gets no more than `share` where the system can do that, and waits for it. A panic of it is
/// one of the caller.
pub(super) fn aside<T: Send>(share: Share, work: &(impl Fn() -> T + Sync)) -> T {
    let lowered = || {
        system::lower(share);
        work()
    };
    scope(|scope| match Builder::new().name(String::from("conversion")).spawn_scoped(scope, lowered) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
        // There are as many threads as there may be.
        Err(_) => work(),
    })
}

#[cfg(target_os = "linux")]
mod system {
    use thread_priority::NormalThreadSchedulePolicy::Idle;
    use thread_priority::{ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id};

    use super::Share;

    /// For [`Share::Less`], on the scale of `nice`.
    pub(super) const NICE: i32 = 10;

    /// Lowers the calling thread for good, and no other: on Linux policy and `nice` are each thread's own. Where that fails
    /// the work is done all the same.
    pub(super) fn lower(share: Share) {
        let idle = ThreadSchedulePolicy::Normal(Idle);
        let spare = || set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
        if share == Share::Less || spare().is_err() {
            let _ = rustix::process::nice(NICE);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::Share;

    pub(super) fn lower(_share: Share) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_work_yields_to_others_and_its_caller_does_not_afterwards() {
        use thread_priority::thread_schedule_policy;
        use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy};

        let here = || (rustix::process::getpriority_process(None).unwrap(), thread_schedule_policy().unwrap());
        let (nice, policy) = here();
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_eq!(aside(Share::Spare, &here).1, idle);
        assert_eq!(aside(Share::Less, &here), ((nice + system::NICE).min(19), policy));
        assert_eq!(here(), (nice, policy));
    }

    #[test]
    #[should_panic(expected = "no picture")]
    fn a_panic_reaches_the_caller() {
        aside(Share::Less, &|| panic!("no picture"));
    }
}
