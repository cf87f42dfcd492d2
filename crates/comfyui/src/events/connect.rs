//! Opening the WebSocket of a server. Owns the handshake, which goes through the HTTP client so that TLS, credentials,
//! headers and the path prefix are the same as for every other call.

use std::{fmt, sync::Arc};

use futures_util::SinkExt;
use reqwest::{
    Upgraded,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{
    Event,
    buffer::EventBuffer,
    reader::{self, Limits},
};
use crate::{
    client::ComfyClient,
    error::{CallError, ConnectError, EventError},
    transport::{Answer, BodyKind, header_text, send, status_error},
};

/// Must be the first message: the server reads it only there.
const FEATURE_FLAGS: &str = r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#;

/// The events of one connection. Dropping it closes the connection.
pub struct EventStream {
    client_id: String,
    buffer: Arc<EventBuffer>,
    _stop_on_drop: DropGuard,
}

impl fmt::Debug for EventStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventStream").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl EventStream {
    /// The id to submit prompts under, so that their events come here. It is new for each connection.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The next event. An error is the last item; `None` without one means that the connection was closed in good order.
    /// May be cancelled without losing events.
    pub async fn next(&mut self) -> Option<Result<Event, EventError>> {
        self.buffer.pop().await
    }

    /// How many events other than JPEG previews were dropped because nobody read them. If it has grown, ask queue and history.
    pub fn lost(&self) -> u64 {
        self.buffer.lost()
    }
}

impl ComfyClient {
    /// Opens a WebSocket under a fresh client id and asks for previews with metadata.
    ///
    /// A fresh id means that events of prompts submitted under an older id no longer arrive: follow those over HTTP.
    /// Reusing an id can leave the new connection open and deaf.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing keeps running after one.
    pub async fn connect_events(&self) -> Result<EventStream, ConnectError> {
        let client_id = Uuid::new_v4().simple().to_string();
        let config = &self.transport().config;
        let within = config.connect_timeout + config.read_timeout;
        let opened = timeout(within, self.open(&client_id)).await;
        let socket =
            opened.map_err(|_elapsed| ConnectError::Handshake { source: CallError::Timeout { source: None } })??;
        let buffer = Arc::new(EventBuffer::new(config.max_frame_bytes));
        let stop = CancellationToken::new();
        tokio::spawn(reader::run(socket, buffer.clone(), stop.clone(), Limits::of(config)));
        Ok(EventStream { client_id, buffer, _stop_on_drop: stop.drop_guard() })
    }

    async fn open(&self, client_id: &str) -> Result<WebSocketStream<Upgraded>, ConnectError> {
        let handshake = |source| ConnectError::Handshake { source };
        let mut url = self.transport().url(&["ws"]).map_err(handshake)?;
        url.query_pairs_mut().append_pair("clientId", client_id);
        let key = generate_key();
        let request = self
            .transport()
            .long_lived(url)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let answer = send(request).await.map_err(handshake)?;
        check_upgrade(&answer, &key)?;
        let upgraded = answer.response.upgrade().await.map_err(|error| handshake(CallError::from_body(error)))?;
        let limit = Some(self.transport().config.max_frame_bytes);
        let settings = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
        let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(settings)).await;
        socket.send(Message::text(FEATURE_FLAGS)).await.map_err(|_broken| ConnectError::FirstMessage)?;
        Ok(socket)
    }
}

fn check_upgrade(answer: &Answer, key: &str) -> Result<(), ConnectError> {
    let not_websocket = |reason| Err(ConnectError::NotWebSocket { reason });
    match answer.status.as_u16() {
        101 => {
            let accepted = header_text(answer.response.headers(), &SEC_WEBSOCKET_ACCEPT);
            if accepted.as_deref() == Some(derive_accept_key(key.as_bytes()).as_str()) {
                return Ok(());
            }
            not_websocket("the server's WebSocket handshake does not match the request")
        }
        200..=299 if answer.body == BodyKind::Html => not_websocket(
            "a web page came back instead of a WebSocket: the address leads to a proxy or another program",
        ),
        200..=299 | 400 | 426 => {
            not_websocket("the address answers, but not with a WebSocket: a proxy may not pass upgrades on")
        }
        _ => Err(ConnectError::Handshake { source: status_error(answer.status, answer.body) }),
    }
}
