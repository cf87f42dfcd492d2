//! Which input files a server was given: each is sent once, however many jobs want it at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

/// Files of which it is remembered that a server has them.
const KEPT: usize = 10_000;

/// The files that one server was given since it was last gone, by name.
#[derive(Debug, Default)]
pub(crate) struct GivenFiles(Mutex<HashMap<String, Arc<OnceCell<()>>>>);

impl GivenFiles {
    /// Has `send` send the file of this name, unless the server has it. Whoever else wants it meanwhile waits for that;
    /// where it fails, one of them sends it.
    pub(crate) async fn give<E>(&self, name: &str, send: impl Future<Output = Result<(), E>>) -> Result<(), E> {
        let given = self.entry(name);
        given.get_or_try_init(|| send).await.copied()
    }

    /// The server may not have them any more.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn entry(&self, name: &str) -> Arc<OnceCell<()>> {
        let mut files = self.lock();
        if files.len() >= KEPT && !files.contains_key(name) {
            files.clear();
        }
        Arc::clone(files.entry(name.to_owned()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_file_that_two_want_at_once_is_sent_once_and_again_only_where_that_failed() {
        for fails in [false, true] {
            let (files, sent) = (GivenFiles::default(), Cell::new(0));
            let send = async |outcome: Result<(), &'static str>| {
                sent.set(sent.get() + 1);
                tokio::task::yield_now().await;
                outcome
            };
            let outcome = if fails { Err("cut") } else { Ok(()) };
            let both = tokio::join!(files.give("a", send(outcome)), files.give("a", send(Ok(()))));
            assert_eq!(both, (outcome, Ok(())));
            let tries = if fails { 2 } else { 1 };
            assert_eq!(sent.get(), tries);
            files.give("a", send(Ok(()))).await.unwrap();
            assert_eq!(sent.get(), tries, "the server has it");
            files.give("b", send(Ok(()))).await.unwrap();
            assert_eq!(sent.get(), tries + 1, "another file");
            files.forget();
            files.give("a", send(Ok(()))).await.unwrap();
            assert_eq!(sent.get(), tries + 2, "the server has lost it");
        }
    }
}
