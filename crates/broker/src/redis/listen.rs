//! What other processes say: one connection that only listens, opened again whenever it breaks.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{Msg, RedisError};
use futures_util::StreamExt as _;
use gateway_core::JobId;
use gateway_core::event::JobEvent;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use super::link::Link;
use crate::watchers::Watchers;
use crate::{Control, Heard};

/// How long a connection may take, and an answer to a ping.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two pings: a connection that is dead and does not say so is found by them.
const PING: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(250);
/// How often watchers look into the database while nothing is heard.
const LOOK: Duration = Duration::from_secs(2);

/// Wishes to cancel that a busy worker may be behind; it also learns of them when it renews its leases.
const CANCEL_BACKLOG: usize = 1_024;
const CONTROL_BACKLOG: usize = 64;

/// Where what is heard goes.
pub(super) struct Ears {
    /// Work may have arrived.
    pub(super) bell: Notify,
    pub(super) cancels: broadcast::Sender<JobId>,
    pub(super) controls: broadcast::Sender<Control>,
    pub(super) watchers: Watchers,
}

impl Ears {
    pub(super) fn new() -> Self {
        Self {
            bell: Notify::new(),
            cancels: broadcast::channel(CANCEL_BACKLOG).0,
            controls: broadcast::channel(CONTROL_BACKLOG).0,
            watchers: Watchers::default(),
        }
    }
}

/// Listens for ever.
pub(super) async fn run(link: Link, ears: Arc<Ears>) {
    let mut looked = None;
    loop {
        if let Err(error) = listen(&link, &ears).await {
            tracing::debug!(%error, "nothing is heard from Redis");
        }
        // What was said meanwhile was missed: watchers look where their jobs stand, not with each try to connect.
        if looked.is_none_or(|at: Instant| at.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            ears.watchers.drop_all();
        }
        ears.bell.notify_waiters();
        tokio::time::sleep(AGAIN).await;
    }
}

async fn listen(link: &Link, ears: &Ears) -> Result<(), RedisError> {
    let late = |_elapsed| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    let mut connection = tokio::time::timeout(PATIENCE, link.client().get_async_pubsub()).await.map_err(late)??;
    let names = ["bell", "cancels", "controls", "events"];
    let channels: Vec<String> = names.iter().map(|name| link.key(name)).collect();
    tokio::time::timeout(PATIENCE, connection.subscribe(&channels)).await.map_err(late)??;
    ears.watchers.drop_all();
    ears.bell.notify_waiters();
    let (mut sink, mut stream) = connection.split();
    let mut ping = tokio::time::interval(PING);
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(message) => hear(link, ears, &message),
                None => return Ok(()),
            },
            _ = ping.tick() => {
                // Messages wait in the stream meanwhile.
                tokio::time::timeout(PATIENCE, sink.ping::<deadpool_redis::redis::Value>()).await.map_err(late)??;
            }
        }
    }
}

fn hear(link: &Link, ears: &Ears, message: &Msg) {
    let payload = message.get_payload_bytes();
    let name = message.get_channel_name().strip_prefix(link.root()).unwrap_or_default();
    let heard = match name {
        "bell" => {
            ears.bell.notify_waiters();
            Ok(())
        }
        // Nobody may be listening in this process.
        "cancels" => serde_json::from_slice(payload).map(|job| drop(ears.cancels.send(job))),
        "controls" => serde_json::from_slice(payload).map(|control| drop(ears.controls.send(control))),
        _ => told(payload).map(|(job, heard)| ears.watchers.tell(job, heard)),
    };
    if let Err(error) = heard {
        tracing::debug!(%error, channel = name, "a message of another version is passed over");
    }
}

/// What happened to which job: its id, the event's number (empty where it has none) and the event.
fn told(payload: &[u8]) -> serde_json::Result<(JobId, Heard)> {
    let mut parts = payload.splitn(3, |byte| *byte == b' ');
    let mut next = || std::str::from_utf8(parts.next().unwrap_or_default()).unwrap_or_default();
    let (job, id, text) = (next(), next(), next());
    let job = serde_json::from_value(serde_json::Value::from(job))?;
    let event = match serde_json::from_str::<JobEvent>(text) {
        Ok(event) => event,
        // Progress is kept and told in the same words.
        Err(_) => JobEvent::Progress(serde_json::from_str(text)?),
    };
    Ok((job, Heard { id: id.parse().ok(), event }))
}
