//! Long work on a thread that yields to all others. Must not be called for what takes less than starting a thread does.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// How much less than others it gets where all want to work, on the scale of `nice`.
#[cfg(target_os = "linux")]
const YIELDS: i32 = 10;

/// Does `work` on a thread of lower priority where the system has that for threads, and waits for it. A panic of it is one
/// of the caller.
pub(super) fn aside<T: Send>(work: &(impl Fn() -> T + Sync)) -> T {
    let lowered = || {
        yield_to_others();
        work()
    };
    scope(|scope| match Builder::new().name(String::from("conversion")).spawn_scoped(scope, lowered) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
        // There are as many threads as there may be.
        Err(_) => work(),
    })
}

#[cfg(target_os = "linux")]
fn yield_to_others() {
    // On Linux it is the thread's own. Where it fails the work is done all the same.
    let _ = rustix::process::nice(YIELDS);
}

#[cfg(not(target_os = "linux"))]
fn yield_to_others() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_work_yields_to_others_and_its_caller_does_not_afterwards() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        assert_eq!(aside(&priority), (before + YIELDS).min(19));
        assert_eq!(priority(), before);
    }

    #[test]
    #[should_panic(expected = "no picture")]
    fn a_panic_reaches_the_caller() {
        aside(&|| panic!("no picture"));
    }
}
