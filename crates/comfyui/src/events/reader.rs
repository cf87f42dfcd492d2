//! The task that reads one WebSocket: always draining it, pinging it, and noticing when it is dead.
//! Owns the end of a connection; what a frame means is decided by `text` and `frame`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::{buffer::EventBuffer, frame, text};
use crate::{config::ClientConfig, error::EventError};

/// Longest wait for the closing handshake.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

pub(super) struct Limits {
    ping_interval: Duration,
    pong_timeout: Duration,
    max_frame_bytes: usize,
}

impl Limits {
    pub(super) fn of(config: &ClientConfig) -> Self {
        Self {
            // A timer with a period of zero cannot be made.
            ping_interval: config.ping_interval.min(config.pong_timeout).max(Duration::from_millis(1)),
            pong_timeout: config.pong_timeout,
            max_frame_bytes: config.max_frame_bytes,
        }
    }
}

/// Reads until the connection ends or `stop` is cancelled, and closes it.
pub(super) async fn run<S>(
    socket: WebSocketStream<S>,
    buffer: Arc<EventBuffer>,
    stop: CancellationToken,
    limits: Limits,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut sink, mut frames) = socket.split();
    let mut ticker = interval_at(Instant::now() + limits.ping_interval, limits.ping_interval);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_seen = Instant::now();
    let error = loop {
        tokio::select! {
            // After a pause of the whole process, frames that wait must count before the clock does.
            biased;
            () = stop.cancelled() => break None,
            frame = frames.next() => {
                last_seen = Instant::now();
                match frame {
                    Some(Ok(Message::Text(message))) => buffer.push(text::parse(&message)),
                    Some(Ok(Message::Binary(message))) => buffer.push(frame::parse(message)),
                    Some(Ok(Message::Close(close))) => break closed(close),
                    // Pings are answered by the library while reading.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Err(error)) => break ended(error, &limits),
                    None => break Some(EventError::Broken { reason: "it ended without a closing handshake".to_owned() }),
                }
            }
            _tick = ticker.tick() => {
                if last_seen.elapsed() >= limits.pong_timeout {
                    break Some(EventError::Silent { after: limits.pong_timeout });
                }
                if let Err(error) = ping(&mut sink, &limits).await {
                    break Some(error);
                }
            }
        }
    };
    tracing::debug!(error = error.as_ref().map(tracing::field::display), "event stream ended");
    buffer.finish(error);
    // The other side may be gone; then there is nobody to say goodbye to.
    let _closed = timeout(CLOSE_WAIT, sink.close()).await;
}

async fn ping<S>(sink: &mut SplitSink<WebSocketStream<S>, Message>, limits: &Limits) -> Result<(), EventError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(limits.pong_timeout, sink.send(Message::Ping(Bytes::new()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            Err(ended(error, limits).unwrap_or(EventError::Broken { reason: "it was closed".to_owned() }))
        }
        Err(_elapsed) => Err(EventError::Silent { after: limits.pong_timeout }),
    }
}

/// A closing handshake is a normal end unless its code says otherwise.
fn closed(close: Option<CloseFrame>) -> Option<EventError> {
    match close.map(|frame| frame.code) {
        None | Some(CloseCode::Normal | CloseCode::Away | CloseCode::Status) => None,
        Some(code) => {
            Some(EventError::Broken { reason: format!("the server closed it with code {}", u16::from(code)) })
        }
    }
}

fn ended(error: Error, limits: &Limits) -> Option<EventError> {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => None,
        Error::Capacity(_) => Some(EventError::FrameTooLarge { limit: limits.max_frame_bytes }),
        other => Some(EventError::Broken { reason: other.to_string() }),
    }
}
