//! The bounded buffer between the socket and its consumer. An unread socket stalls a ComfyUI server for all of its
//! clients, so putting in never waits: what can be spared is dropped, previews first.
//! Owns what is spared in which order; knows nothing of sockets.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{Event, PreviewFormat};
use crate::error::EventError;

/// Most events that wait.
const MAX_EVENTS: usize = 4_096;

/// How badly an event is missed, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Preview,
    /// Repeated soon with newer content.
    Momentary,
    /// A PNG may be a node's result that exists nowhere else.
    Picture,
    Lasting,
}

pub(super) struct EventBuffer {
    state: Mutex<State>,
    readable: Notify,
    max_picture_bytes: usize,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    picture_bytes: usize,
    lost: u64,
    ended: bool,
    error: Option<EventError>,
}

impl EventBuffer {
    /// A buffer that holds pictures of up to `max_picture_bytes` in all, or one larger one.
    pub(super) fn new(max_picture_bytes: usize) -> Self {
        Self { state: Mutex::default(), readable: Notify::new(), max_picture_bytes }
    }

    /// Puts an event in, at once, dropping what has to go.
    pub(super) fn push(&self, event: Event) {
        let mut state = self.lock();
        let size = picture_size(&event);
        while size > 0 && state.picture_bytes > 0 && state.picture_bytes + size > self.max_picture_bytes {
            state.drop_least(|event| picture_size(event) > 0);
        }
        if state.events.len() >= MAX_EVENTS {
            state.drop_least(|_| true);
        }
        state.picture_bytes += size;
        state.events.push_back(event);
        drop(state);
        self.readable.notify_one();
    }

    /// No more events will come.
    pub(super) fn finish(&self, error: Option<EventError>) {
        let mut state = self.lock();
        state.ended = true;
        state.error = error;
        drop(state);
        self.readable.notify_one();
    }

    /// The next event; then the error that ended the connection, once; then `None`. May be cancelled at any time.
    pub(super) async fn pop(&self) -> Option<Result<Event, EventError>> {
        loop {
            {
                let mut state = self.lock();
                if let Some(event) = state.events.pop_front() {
                    state.picture_bytes -= picture_size(&event);
                    return Some(Ok(event));
                }
                if state.ended {
                    return state.error.take().map(Err);
                }
            }
            self.readable.notified().await;
        }
    }

    /// How many events other than previews had to be dropped.
    pub(super) fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops the oldest of the least worth.
    fn drop_least(&mut self, eligible: impl Fn(&Event) -> bool) {
        let candidates = self.events.iter().enumerate().filter(|(_, event)| eligible(event));
        let Some((index, _)) = candidates.min_by_key(|(_, event)| worth(event)) else { return };
        if let Some(event) = self.events.remove(index) {
            self.picture_bytes -= picture_size(&event);
            self.lost += u64::from(worth(&event) > Worth::Preview);
        }
    }
}

fn worth(event: &Event) -> Worth {
    match event {
        Event::Preview { format: PreviewFormat::Jpeg, .. } => Worth::Preview,
        Event::Preview { format: PreviewFormat::Png, .. } => Worth::Picture,
        Event::Status { .. } | Event::Progress { .. } | Event::ProgressState { .. } => Worth::Momentary,
        Event::Text { .. } | Event::Other { .. } => Worth::Momentary,
        _ => Worth::Lasting,
    }
}

fn picture_size(event: &Event) -> usize {
    match event {
        Event::Preview { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn picture(format: PreviewFormat, size: usize) -> Event {
        Event::Preview { prompt_id: None, node_id: None, format, bytes: Bytes::from(vec![0; size]) }
    }

    fn start(index: usize) -> Event {
        Event::ExecutionStart { prompt_id: index.to_string() }
    }

    async fn drain(buffer: &EventBuffer) -> Vec<Event> {
        buffer.finish(None);
        let mut events = Vec::new();
        while let Some(event) = buffer.pop().await {
            events.push(event.unwrap());
        }
        events
    }

    #[tokio::test]
    async fn when_pictures_take_too_much_room_old_previews_go_before_pngs() {
        let buffer = EventBuffer::new(100);
        buffer.push(picture(PreviewFormat::Png, 40));
        buffer.push(start(1));
        buffer.push(picture(PreviewFormat::Jpeg, 30));
        buffer.push(picture(PreviewFormat::Jpeg, 31));
        let kept = drain(&buffer).await;
        assert_eq!(kept, [picture(PreviewFormat::Png, 40), start(1), picture(PreviewFormat::Jpeg, 31)]);
        assert_eq!(buffer.lost(), 0, "previews do not count as lost");
    }

    #[tokio::test]
    async fn one_picture_above_the_limit_still_gets_through_alone() {
        let buffer = EventBuffer::new(100);
        buffer.push(picture(PreviewFormat::Png, 60));
        buffer.push(picture(PreviewFormat::Png, 500));
        assert_eq!(drain(&buffer).await, [picture(PreviewFormat::Png, 500)]);
        assert_eq!(buffer.lost(), 1);
    }

    #[tokio::test]
    async fn a_full_buffer_drops_previews_then_progress_then_the_oldest() {
        let buffer = EventBuffer::new(1_000);
        buffer.push(start(0));
        buffer.push(Event::Status { queue_remaining: 1 });
        buffer.push(picture(PreviewFormat::Jpeg, 1));
        for index in 3..MAX_EVENTS {
            buffer.push(start(index));
        }
        buffer.push(start(MAX_EVENTS));
        assert_eq!(buffer.lost(), 0);
        buffer.push(start(MAX_EVENTS + 1));
        assert_eq!(buffer.lost(), 1);
        buffer.push(start(MAX_EVENTS + 2));
        assert_eq!(buffer.lost(), 2);
        let kept = drain(&buffer).await;
        assert_eq!(
            (kept.len(), kept.first(), kept.last()),
            (MAX_EVENTS, Some(&start(3)), Some(&start(MAX_EVENTS + 2)))
        );
    }

    #[tokio::test]
    async fn the_error_that_ended_the_connection_comes_last_and_once() {
        let buffer = EventBuffer::new(1);
        buffer.push(start(1));
        let error = EventError::Broken { reason: "gone".to_owned() };
        buffer.finish(Some(error.clone()));
        assert_eq!(buffer.pop().await, Some(Ok(start(1))));
        assert_eq!(buffer.pop().await, Some(Err(error)));
        assert_eq!(buffer.pop().await, None);
        assert_eq!(buffer.pop().await, None);
    }

    #[tokio::test]
    async fn a_waiting_consumer_is_woken_by_the_next_event() {
        let buffer = std::sync::Arc::new(EventBuffer::new(1));
        let waiting = tokio::spawn({
            let buffer = buffer.clone();
            async move { buffer.pop().await }
        });
        tokio::task::yield_now().await;
        buffer.push(start(1));
        assert_eq!(waiting.await.unwrap(), Some(Ok(start(1))));
    }
}
