//! The websockets and the one publisher that all events go through.
//! Knows who is connected and what they negotiated; not what events mean.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::ws::Message;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::switches::Switches;
use crate::sync::lock;

/// What may wait for one socket before something is dropped.
const QUEUE_LIMIT: usize = 2048;

/// What may be dropped first when a socket is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Preview,
    Progress,
    Event,
}

#[derive(Debug, Clone)]
enum To {
    All,
    Client(Arc<str>),
}

#[derive(Debug, Clone)]
struct Envelope {
    to: To,
    kind: Kind,
    message: Message,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<(Kind, Message)>,
    writing: bool,
}

/// The server's end of one websocket.
pub(crate) struct Socket {
    waiting: Mutex<Waiting>,
    ready: Notify,
    drained: Notify,
    wants_metadata: AtomicBool,
    pub(crate) closed: CancellationToken,
}

impl Socket {
    pub(crate) fn new(closed: CancellationToken) -> Self {
        Self {
            waiting: Mutex::default(),
            ready: Notify::new(),
            drained: Notify::new(),
            wants_metadata: AtomicBool::new(false),
            closed,
        }
    }

    /// Queues a message. A socket that reads nothing loses previews first, then progress, and is closed in the end.
    pub(crate) fn push(&self, kind: Kind, message: Message) {
        let mut waiting = lock(&self.waiting);
        if waiting.messages.len() >= QUEUE_LIMIT {
            let least = waiting.messages.iter().map(|(kind, _)| *kind).min().unwrap_or(Kind::Event);
            if least == Kind::Event {
                self.closed.cancel();
                return;
            }
            if let Some(place) = waiting.messages.iter().position(|(kind, _)| *kind == least) {
                waiting.messages.remove(place);
            }
        }
        waiting.messages.push_back((kind, message));
        drop(waiting);
        self.ready.notify_one();
    }

    /// The next message to write; the one before it has been written.
    pub(crate) async fn next(&self) -> Message {
        loop {
            {
                let mut waiting = lock(&self.waiting);
                if let Some((_, message)) = waiting.messages.pop_front() {
                    waiting.writing = true;
                    return message;
                }
                waiting.writing = false;
            }
            self.drained.notify_waiters();
            self.ready.notified().await;
        }
    }

    pub(crate) fn negotiate_metadata(&self) {
        self.wants_metadata.store(true, Ordering::Relaxed);
    }

    fn is_drained(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.messages.is_empty() && !waiting.writing
    }

    /// Waits until everything is written, or the socket is gone.
    async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.is_drained() {
                return;
            }
            tokio::select! {
                () = drained => {}
                () = self.closed.cancelled() => return,
            }
        }
    }
}

/// Who is connected.
pub(crate) struct Hub {
    sockets: Mutex<HashMap<String, Arc<Socket>>>,
    outgoing: mpsc::UnboundedSender<Envelope>,
}

/// What the publisher has still to send.
pub(crate) struct Outbox {
    incoming: mpsc::UnboundedReceiver<Envelope>,
}

impl Hub {
    pub(crate) fn new() -> (Self, Outbox) {
        let (outgoing, incoming) = mpsc::unbounded_channel();
        (Self { sockets: Mutex::default(), outgoing }, Outbox { incoming })
    }

    /// Registers a socket under an id, in place of an older one, with its first messages.
    pub(crate) fn register(&self, sid: &str, socket: &Arc<Socket>, first: Vec<Message>) {
        let mut sockets = lock(&self.sockets);
        sockets.insert(sid.to_owned(), socket.clone());
        for message in first {
            socket.push(Kind::Event, message);
        }
    }

    /// Forgets a socket that closed. With the bug of ComfyUI this forgets whichever socket has the id now.
    pub(crate) fn unregister(&self, sid: &str, socket: &Arc<Socket>, deaf_socket_bug: bool) {
        let mut sockets = lock(&self.sockets);
        if deaf_socket_bug || sockets.get(sid).is_some_and(|current| Arc::ptr_eq(current, socket)) {
            sockets.remove(sid);
        }
    }

    /// Whether the socket of this id gets events.
    pub(crate) fn is_current(&self, sid: &str, socket: &Arc<Socket>) -> bool {
        lock(&self.sockets).get(sid).is_some_and(|current| Arc::ptr_eq(current, socket))
    }

    /// Whether anybody would get an event for this client; without a client, for all.
    pub(crate) fn has_listener(&self, client: Option<&str>) -> bool {
        let sockets = lock(&self.sockets);
        client.map_or(!sockets.is_empty(), |client| sockets.contains_key(client))
    }

    pub(crate) fn wants_metadata(&self, client: Option<&str>) -> bool {
        let sockets = lock(&self.sockets);
        let socket = client.and_then(|client| sockets.get(client));
        socket.is_some_and(|socket| socket.wants_metadata.load(Ordering::Relaxed))
    }

    /// Publishes to one client, or to all without one.
    pub(crate) fn send(&self, client: Option<&Arc<str>>, kind: Kind, message: Message) {
        let to = client.map_or(To::All, |client| To::Client(client.clone()));
        // The receiver ends with the life of the server, and events with it.
        let _ = self.outgoing.send(Envelope { to, kind, message });
    }

    fn receivers(&self, to: &To) -> Vec<Arc<Socket>> {
        let sockets = lock(&self.sockets);
        match to {
            To::All => sockets.values().cloned().collect(),
            To::Client(client) => sockets.get(client.as_ref()).cloned().into_iter().collect(),
        }
    }

    /// The publisher: one event after the other.
    pub(crate) async fn publish(&self, mut outbox: Outbox, mut switches: watch::Receiver<Arc<Switches>>) {
        while let Some(envelope) = outbox.incoming.recv().await {
            if switches.wait_for(|switches| !switches.hold_events).await.is_err() {
                return;
            }
            let now = switches.borrow().clone();
            if now.drop_events {
                continue;
            }
            for socket in self.receivers(&envelope.to) {
                for _ in 0..=usize::from(now.duplicate_events) {
                    socket.push(envelope.kind, envelope.message.clone());
                }
                if now.slow_consumer_stall {
                    let mut changes = switches.clone();
                    tokio::select! {
                        () = socket.drained() => {}
                        _ = changes.wait_for(|switches| !switches.slow_consumer_stall) => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: usize) -> Message {
        Message::text(number.to_string())
    }

    #[tokio::test]
    async fn a_full_socket_loses_previews_first_and_then_progress() {
        let socket = Socket::new(CancellationToken::new());
        socket.push(Kind::Progress, text(0));
        socket.push(Kind::Preview, text(1));
        for number in 2..QUEUE_LIMIT {
            socket.push(Kind::Event, text(number));
        }
        socket.push(Kind::Event, text(9000));
        assert_eq!(socket.next().await, text(0));
        assert_eq!(socket.next().await, text(2));
        assert!(!socket.closed.is_cancelled());
    }

    #[test]
    fn a_socket_that_never_reads_is_closed_in_the_end() {
        let socket = Socket::new(CancellationToken::new());
        for number in 0..=QUEUE_LIMIT {
            socket.push(Kind::Event, text(number));
        }
        assert!(socket.closed.is_cancelled());
    }

    #[test]
    fn with_the_bug_the_end_of_an_old_socket_takes_the_new_one_along() {
        let (hub, _outbox) = Hub::new();
        let (old, new) =
            (Arc::new(Socket::new(CancellationToken::new())), Arc::new(Socket::new(CancellationToken::new())));
        hub.register("a", &old, Vec::new());
        hub.register("a", &new, Vec::new());
        hub.unregister("a", &old, false);
        assert!(hub.is_current("a", &new));
        hub.unregister("a", &old, true);
        assert!(!hub.is_current("a", &new));
    }
}
