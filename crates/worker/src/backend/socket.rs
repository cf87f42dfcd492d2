//! The events of a ComfyUI server. They are progress only: what is missed here is found by the poll.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use gateway_core::chain;

use crate::backend::Backend;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Keeps one event stream open, for ever. Each connection has an id of its own: ComfyUI makes the second
/// connection with one id deaf when the first one is closed late.
pub(crate) async fn run(backend: Arc<Backend>) {
    let mut pause = FIRST_PAUSE;
    loop {
        backend.ready().await;
        match backend.client.connect_events().await {
            Ok(mut events) => {
                pause = FIRST_PAUSE;
                backend.events_lost.store(0, Ordering::Relaxed);
                set_client_id(&backend, Some(events.client_id().to_owned()));
                backend.socket_tried.send_replace(true);
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => {
                            backend.prompts.deliver(event);
                            backend.events_lost.store(events.lost(), Ordering::Relaxed);
                        }
                        Err(error) => {
                            tracing::info!(backend = backend.name(), error = %chain(&error), "the event socket ended; results are polled meanwhile");
                            break;
                        }
                    }
                }
                set_client_id(&backend, None);
                backend.socket_tried.send_replace(false);
                // What the socket did not say may have happened.
                backend.hurry.notify_one();
            }
            Err(error) => {
                tracing::debug!(backend = backend.name(), error = %chain(&error), "no event socket; results are polled");
                backend.socket_tried.send_replace(true);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn set_client_id(backend: &Backend, id: Option<String>) {
    *backend.client_id.lock().unwrap_or_else(PoisonError::into_inner) = id;
}
