//! What operators want of this worker: told by the broker at once, and looked up now and then, as a word may be missed.

use std::sync::Arc;
use std::time::Duration;

use gateway_broker::Control;
use gateway_core::access::Terms;

use crate::context::Context;

/// Between two looks at what operators want.
const LOOK: Duration = Duration::from_secs(5);

const PAUSED: &str = "the queue is paused: no further job is taken";
const RESUMED: &str = "the queue goes on";

/// Obeys until the worker ends.
pub(crate) async fn run(context: Arc<Context>) {
    let mut controls = context.parts.broker.controls();
    loop {
        tokio::select! {
            heard = controls.recv() => match heard {
                Ok(Control::Drain { worker }) if worker == context.worker_id => {
                    tracing::info!(worker, "an operator wants no more jobs to be taken; those under way end");
                    context.retired.cancel();
                }
                Ok(Control::Drain { .. }) => {}
                // Missed or heard: the database has the truth.
                _ => look(&context).await,
            },
            () = tokio::time::sleep(LOOK) => look(&context).await,
        }
    }
}

/// Takes over what operators want: how owners share the servers, then whether the queue is paused.
pub(crate) async fn look(context: &Context) {
    look_at_keys(context).await;
    match context.parts.database.queue_paused().await {
        Ok(paused) => {
            let changed = context.paused.send_if_modified(|known| std::mem::replace(known, paused) != paused);
            if changed {
                tracing::info!(paused, "{}", if paused { PAUSED } else { RESUMED });
            }
        }
        Err(error) => tracing::debug!(%error, "whether the queue is paused is not known"),
    }
}

async fn look_at_keys(context: &Context) {
    match context.parts.database.owner_terms().await {
        Ok(own) => {
            let terms = Terms { running: context.parts.queue.owner_running, own };
            context.terms.send_if_modified(|known| {
                let changed = **known != terms;
                if changed {
                    *known = Arc::new(terms);
                }
                changed
            });
        }
        Err(error) => tracing::warn!(%error, "limits and weights of owners stay as they were known last"),
    }
}
