//! The jobs that this worker has in hand, from the queue's hint to the end of the run. The queue is told of those whose
//! owners may run only so many at once: while it hears of them they count, and a worker that dies falls silent.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_broker::{Entry, Run};
use gateway_core::access::Terms;
use tokio::sync::Notify;

use crate::context::Context;

/// How often the queue is told of what goes on.
const TELL: Duration = Duration::from_secs(1);

/// The jobs that this worker has in hand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    book: Arc<Mutex<Book>>,
    ended: Arc<Notify>,
    /// One telling at a time: what one has taken to tell, the next must not believe told.
    telling: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Book {
    /// How often each is in hand: a hint may come twice.
    held: HashMap<Run, usize>,
    /// Those that the queue was not told of yet.
    ended: HashSet<Run>,
}

/// Keeps a job among those in hand until it is dropped.
pub(crate) struct Hold {
    runs: Runs,
    run: Run,
}

impl Runs {
    /// Takes the job of `entry` in hand.
    pub(crate) fn hold(&self, entry: &Entry) -> Hold {
        let run = Run { owner: entry.owner.clone(), job: entry.job };
        let mut book = self.lock();
        book.ended.remove(&run);
        *book.held.entry(run.clone()).or_default() += 1;
        Hold { runs: self.clone(), run }
    }

    /// What is held and what has ended of owners whose running jobs are bounded. What has ended is told once.
    fn take(&self, terms: &Terms) -> (Vec<Run>, Vec<Run>) {
        let bounded = |run: &&Run| terms.running_limit(&run.owner).is_some();
        let mut book = self.lock();
        let held = book.held.keys().filter(bounded).cloned().collect();
        let ended = std::mem::take(&mut book.ended);
        (held, ended.iter().filter(bounded).cloned().collect())
    }

    /// The queue could not be told of what has `ended`.
    fn put_back(&self, ended: Vec<Run>) {
        let mut book = self.lock();
        let ended = ended.into_iter().filter(|run| !book.held.contains_key(run)).collect::<Vec<_>>();
        book.ended.extend(ended);
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut book = self.runs.lock();
        let Some(count) = book.held.get_mut(&self.run) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        book.held.remove(&self.run);
        book.ended.insert(self.run.clone());
        drop(book);
        self.runs.ended.notify_one();
    }
}

/// Tells the queue of them until the worker ends.
pub(crate) async fn run(context: Arc<Context>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TELL) => {}
            () = context.runs.ended.notified() => {}
            // It may have heard nothing for longer than a lease.
            () = context.parts.broker.back() => {}
        }
        tell(&context).await;
    }
}

/// Tells the queue of them.
pub(crate) async fn tell(context: &Context) {
    let _turn = context.runs.telling.lock().await;
    let terms = Arc::clone(&context.terms.borrow());
    let (held, ended) = context.runs.take(&terms);
    if held.is_empty() && ended.is_empty() {
        return;
    }
    let lease = context.parts.worker.lease;
    if let Err(error) = context.parts.broker.runs(&context.worker_id, &held, &ended, lease).await {
        tracing::debug!(%error, "the queue is not told what runs; it is in a second");
        context.runs.put_back(ended);
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::{JobId, Owner, Priority, Timestamp};

    use super::*;

    fn entry(owner: &str) -> Entry {
        let since = Timestamp::from_millis(1);
        Entry {
            job: JobId::new(since, [1; 10]),
            priority: Priority::Normal,
            owner: Owner::new(owner),
            since,
            not_before: None,
            needs: None,
            home: None,
        }
    }

    fn run(owner: &str) -> Run {
        Run { owner: Owner::new(owner), job: entry(owner).job }
    }

    fn bounded() -> Terms {
        Terms { running: Some(1), ..Terms::default() }
    }

    #[test]
    fn a_job_is_in_hand_until_the_last_that_holds_it_lets_go_and_its_end_is_told_once() {
        let runs = Runs::default();
        let (first, second) = (runs.hold(&entry("a")), runs.hold(&entry("a")));
        drop(first);
        assert_eq!(runs.take(&bounded()), (vec![run("a")], vec![]));
        drop(second);
        assert_eq!(runs.take(&bounded()), (vec![], vec![run("a")]));
        assert_eq!(runs.take(&bounded()), (vec![], vec![]));
    }

    #[test]
    fn an_end_that_could_not_be_told_is_told_later_unless_the_job_is_in_hand_again() {
        let runs = Runs::default();
        for owner in ["a", "b"] {
            drop(runs.hold(&entry(owner)));
        }
        let (_, ended) = runs.take(&bounded());
        assert_eq!(ended.len(), 2);
        let _again = runs.hold(&entry("a"));
        runs.put_back(ended);
        assert_eq!(runs.take(&bounded()), (vec![run("a")], vec![run("b")]));
    }

    #[test]
    fn owners_without_a_limit_are_not_told_of() {
        let runs = Runs::default();
        let _held = runs.hold(&entry("a"));
        drop(runs.hold(&entry("b")));
        assert_eq!(runs.take(&Terms::default()), (vec![], vec![]));
    }
}
