//! Says what is waited for where it takes longer than a moment: a line that changes on a terminal, else a line each
//! time it is something else.

use std::io::IsTerminal as _;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;

use crate::output::Output;

/// How long nothing is said.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is waited for.
pub(super) struct Waiting {
    output: Output,
    names: Mutex<Vec<&'static str>>,
}

impl Waiting {
    pub(super) fn new(output: Output) -> Self {
        Self { output, names: Mutex::default() }
    }

    /// Runs `check`, and knows meanwhile that it is waited for.
    pub(super) async fn during<T>(&self, name: &'static str, check: impl Future<Output = T>) -> T {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        let done = check.await;
        self.names.lock().unwrap_or_else(PoisonError::into_inner).retain(|each| *each != name);
        done
    }

    /// Runs `all` of them, and says now and then which are not done.
    pub(super) async fn until<T>(&self, all: impl Future<Output = T>) -> T {
        let mut all = pin!(all);
        let bar = self.bar();
        let mut said = String::new();
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + PATIENCE, PATIENCE);
        loop {
            tokio::select! {
                done = &mut all => {
                    bar.finish_and_clear();
                    return done;
                }
                _ = tick.tick() => {
                    let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).join(", ");
                    if names != said {
                        let line = format!("waiting for {names}");
                        if bar.is_hidden() && !self.output.is_json() {
                            self.output.note(&line);
                        }
                        bar.set_message(line);
                        said = names;
                    }
                    bar.tick();
                }
            }
        }
    }

    fn bar(&self) -> ProgressBar {
        if self.output.is_json() || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        ProgressBar::new_spinner()
    }
}
