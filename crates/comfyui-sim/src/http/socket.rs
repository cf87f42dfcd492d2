//! `/ws`: one websocket from its handshake to its end.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Query, State};
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Shared, info};
use crate::config::Profile;
use crate::connection::Peer;
use crate::hub::{Kind, Socket};
use crate::pyjson;

/// The largest message a client may send.
const LARGEST_MESSAGE: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parameters {
    client_id: Option<String>,
}

pub(super) async fn open(
    State(life): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Query(parameters): Query<Parameters>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let given = parameters.client_id.filter(|id| !id.is_empty());
    let sid = given.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    let upgrade = upgrade.max_message_size(LARGEST_MESSAGE).max_frame_size(LARGEST_MESSAGE);
    upgrade.on_upgrade(move |websocket| serve(life, peer, sid, websocket))
}

async fn serve(life: Shared, peer: Peer, sid: String, websocket: WebSocket) {
    if life.switches().fragment_frames {
        peer.fragment_frames();
    }
    let socket = Arc::new(Socket::new(life.token.child_token()));
    life.connect(&sid, &socket);
    life.app.stats.change(|stats| stats.open_sockets += 1);
    let (sink, stream) = websocket.split();
    tokio::select! {
        () = write(&life, &socket, sink) => {}
        () = read(&life, &socket, &sid, stream) => {}
        () = socket.closed.cancelled() => {}
    }
    socket.closed.cancel();
    peer.cut();
    life.hub.unregister(&sid, &socket, life.switches().deaf_socket_bug);
    life.app.stats.change(|stats| stats.open_sockets = stats.open_sockets.saturating_sub(1));
}

async fn write(life: &Shared, socket: &Socket, mut sink: SplitSink<WebSocket, Message>) {
    let mut sent = 0;
    loop {
        let message = socket.next().await;
        if life.switches().socket_stall_after.is_some_and(|limit| sent >= limit) {
            return std::future::pending().await;
        }
        if sink.send(message).await.is_err() {
            return;
        }
        sent += 1;
    }
}

async fn read(life: &Shared, socket: &Arc<Socket>, sid: &str, mut stream: SplitStream<WebSocket>) {
    let mut is_first = true;
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else { continue };
        // Text that is not JSON does not use up the only chance to negotiate.
        let Ok(message) = serde_json::from_str::<Value>(&text) else { continue };
        let flags = message.get("type").and_then(Value::as_str) == Some("feature_flags");
        if is_first && flags && life.profile >= Profile::V0_3_64 {
            negotiate(life, socket, sid, &message);
        }
        is_first = false;
    }
}

fn negotiate(life: &Shared, socket: &Arc<Socket>, sid: &str, message: &Value) {
    // A socket that another one has replaced gets no answer.
    if !life.hub.is_current(sid, socket) {
        return;
    }
    if message.pointer("/data/supports_preview_metadata") == Some(&Value::Bool(true)) {
        socket.negotiate_metadata();
    }
    let answer = json!({"type": "feature_flags", "data": info::server_features(life)});
    socket.push(Kind::Event, Message::text(pyjson::to_string(&answer)));
}
