//! Removes the history entries of prompts whose results are stored, many at a time: ComfyUI keeps whole
//! prompts there, in memory, readable by whoever reaches it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use gateway_core::chain;

use crate::backend::Backend;

const INTERVAL: Duration = Duration::from_secs(1);
/// Entries that are to be removed from a server that can't be asked to.
const KEPT: usize = 10_000;

/// Removes entries for ever.
pub(crate) async fn run(backend: Arc<Backend>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        backend.flush_history().await;
    }
}

impl Backend {
    /// The entry of `prompt_id` is needed no more.
    pub(crate) fn forget_history(&self, prompt_id: String) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(prompt_id);
    }

    /// Removes what is needed no more, now. What fails is tried again.
    pub(crate) async fn flush_history(&self) {
        let mut ids = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        if ids.is_empty() {
            return;
        }
        let texts: Vec<&str> = ids.iter().map(String::as_str).collect();
        if let Err(error) = self.client.delete_history_entries(&texts).await {
            tracing::debug!(backend = self.name(), error = %chain(&error), entries = ids.len(), "history entries stay for now");
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            ids.append(&mut ended);
            // The latest: a server that was away for so long has forgotten the others.
            *ended = ids.split_off(ids.len().saturating_sub(KEPT));
        }
    }
}
