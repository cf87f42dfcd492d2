//! The event stream: handshake, order, binary frames, life signs and ends.

use std::time::Duration;

use axum::{
    Router,
    body::Bytes,
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    http::{HeaderMap, Uri},
    routing::any,
};
use comfyui_client::{
    ClientConfig, ComfyClient, ConnectError, Event, EventError, EventStream, NodeState, OutputItem, PreviewFormat,
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::server::{DEADLINE, TestServer, client, empty, html, nowhere, serve, silent};

/// A connection as the server sees it.
struct Peer {
    uri: Uri,
    headers: HeaderMap,
    socket: WebSocket,
}

impl Peer {
    async fn receive(&mut self) -> Option<Message> {
        timeout(DEADLINE, self.socket.recv()).await.unwrap().transpose().ok().flatten()
    }

    async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }
}

/// A server that hands out its WebSocket connections.
async fn peers() -> (String, mpsc::UnboundedReceiver<Peer>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let app = Router::new().fallback(any(move |uri: Uri, headers: HeaderMap, upgrade: WebSocketUpgrade| {
        let sender = sender.clone();
        async move {
            upgrade.on_upgrade(async move |socket| {
                let _test_over = sender.send(Peer { uri, headers, socket });
            })
        }
    }));
    (serve(app).await, receiver)
}

async fn connect(client: &ComfyClient, peers: &mut mpsc::UnboundedReceiver<Peer>) -> (EventStream, Peer) {
    let stream = client.connect_events().await.unwrap();
    let mut peer = timeout(DEADLINE, peers.recv()).await.unwrap().unwrap();
    let first = peer.receive().await.unwrap();
    let expected = json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}});
    assert_eq!(serde_json::from_str::<Value>(first.to_text().unwrap()).unwrap(), expected, "feature flags come first");
    (stream, peer)
}

async fn next(stream: &mut EventStream) -> Option<Result<Event, EventError>> {
    timeout(DEADLINE, stream.next()).await.unwrap()
}

async fn play(peer: &mut Peer, recording: &str) -> usize {
    let frames: Vec<Value> = serde_json::from_str(recording).unwrap();
    for frame in &frames {
        let message = match frame["binary"].as_str() {
            Some(hex) => {
                let digits: Vec<u8> = hex.chars().map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap()).collect();
                Message::Binary(digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect::<Vec<u8>>().into())
            }
            None => Message::Text(frame["text"].to_string().into()),
        };
        peer.send(message).await;
    }
    frames.len()
}

async fn take(stream: &mut EventStream, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(next(stream).await.unwrap().unwrap());
    }
    events
}

/// Replays a recording to a fresh stream and returns what comes out.
async fn replay(recording: &str) -> Vec<Event> {
    let (address, mut peers) = peers().await;
    let (mut stream, mut peer) = connect(&client(&format!("http://{address}")), &mut peers).await;
    let count = play(&mut peer, recording).await;
    take(&mut stream, count).await
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::Status { .. } => "status",
        Event::ExecutionStart { .. } => "start",
        Event::Cached { .. } => "cached",
        Event::Executing { node: None, .. } => "end",
        Event::Executing { .. } => "executing",
        Event::ProgressState { .. } => "state",
        Event::Progress { .. } => "progress",
        Event::Executed { .. } => "executed",
        Event::Success { .. } => "success",
        Event::Error { .. } => "error",
        Event::Features(_) => "features",
        Event::Preview { .. } => "preview",
        _ => "other",
    }
}

fn names(events: &[Event]) -> String {
    events.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_recorded_normal_run_comes_through_in_order() {
    let events = replay(include_str!("data/normal_run_frames.json")).await;
    assert_eq!(
        names(&events),
        "status status status start cached state executing state state executing state state executing executed state success status end"
    );
    let executed = events.iter().find_map(|event| match event {
        Event::Executed { items, .. } => Some(items),
        _ => None,
    });
    let files: Vec<_> = executed.unwrap().iter().map(|output| (&*output.node_id, &*output.key, &output.item)).collect();
    assert!(
        matches!(files.as_slice(), [("3", "images", OutputItem::File(first)), (_, _, OutputItem::File(_))] if first.filename == "rec_00001_.png")
    );
    let Some(Event::ProgressState { nodes, prompt_id }) = events.iter().rfind(|event| name(event) == "state") else {
        panic!()
    };
    assert_eq!(prompt_id, "29b46eb5-6d1a-4b5a-9d14-a1b946d1413e");
    assert!(nodes.len() == 3 && nodes.iter().all(|node| node.state == NodeState::Finished));
}

#[tokio::test]
async fn the_recorded_exception_is_shown_without_the_servers_directories() {
    let events = replay(include_str!("data/node_exception_frames.json")).await;
    assert!(names(&events).ends_with("executing error status end"), "{}", names(&events));
    let failure = events.iter().find_map(|event| match event {
        Event::Error { failure, blocked: false, .. } => Some(failure),
        _ => None,
    });
    assert_eq!(failure.unwrap().message, "cannot identify image file 'broken.png'");
    assert!(!format!("{events:?}").contains("/comfyui/"));
}

#[tokio::test]
async fn recorded_previews_with_metadata_carry_their_ids() {
    let events = replay(include_str!("data/preview_metadata_frames.json")).await;
    assert!(names(&events).ends_with("executing preview progress preview progress preview"), "{}", names(&events));
    assert!(matches!(&events[1], Event::Features(features) if features.max_upload_size == Some(104_857_600)));
    let Some(Event::Preview { prompt_id, node_id, format, bytes }) =
        events.iter().find(|event| name(event) == "preview")
    else {
        panic!()
    };
    assert_eq!((prompt_id.as_deref(), node_id.as_deref()), (Some("9a72fba4-cbe8-40f9-8ec1-c0f45892d957"), Some("3")));
    assert!(*format == PreviewFormat::Jpeg && bytes.starts_with(&[0xff, 0xd8, 0xff, 0xe0]));
}

#[tokio::test]
async fn recorded_plain_previews_and_texts_are_read() {
    let events = replay(include_str!("data/preview_plain_frames.json")).await;
    assert!(matches!(
        events.last(),
        Some(Event::Preview { prompt_id: None, node_id: None, format: PreviewFormat::Jpeg, .. })
    ));
    let text =
        replay(r#"[{"binary": "00000003000000013277696474683a203634"}, {"binary": "0000"}, {"text": "odd"}]"#).await;
    assert_eq!(text[0], Event::Text { node_id: "2".to_owned(), text: "width: 64".to_owned() });
    let unreadable = Event::Other { kind: "unreadable".to_owned() };
    assert_eq!(text[1..], [unreadable.clone(), unreadable], "broken frames do not end the stream");
}

#[tokio::test]
async fn the_handshake_keeps_prefix_credentials_and_headers_and_each_has_a_fresh_id() {
    let (address, mut peers) = peers().await;
    let mut config = ClientConfig::new(&format!("http://ann:pw@{address}/gpu/1")).unwrap();
    config.headers.push(("X-Api-Key".to_owned(), "k1".to_owned()));
    let client = ComfyClient::new(config).unwrap();
    let (first, peer) = connect(&client, &mut peers).await;
    let (second, _) = connect(&client, &mut peers).await;
    assert_eq!(peer.uri.to_string(), format!("/gpu/1/ws?clientId={}", first.client_id()));
    assert_eq!(first.client_id().len(), 32);
    assert_ne!(first.client_id(), second.client_id());
    let header = |name: &str| peer.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(
        (header("authorization"), header("x-api-key"), header("origin")),
        (Some("Basic YW5uOnB3"), Some("k1"), None)
    );
}

#[tokio::test]
async fn a_closing_handshake_ends_the_stream_quietly_and_a_broken_connection_does_not() {
    let (address, mut peers) = peers().await;
    let client = client(&format!("http://{address}"));
    let (mut stream, mut peer) = connect(&client, &mut peers).await;
    play(&mut peer, r#"[{"text": {"type": "execution_success", "data": {"prompt_id": "p"}}}]"#).await;
    peer.send(Message::Close(Some(CloseFrame { code: 1001, reason: "".into() }))).await;
    assert_eq!(next(&mut stream).await, Some(Ok(Event::Success { prompt_id: "p".to_owned() })));
    assert_eq!(next(&mut stream).await, None);
    assert_eq!(next(&mut stream).await, None);

    let (mut stream, mut peer) = connect(&client, &mut peers).await;
    peer.send(Message::Close(Some(CloseFrame { code: 1011, reason: "".into() }))).await;
    assert!(matches!(next(&mut stream).await, Some(Err(EventError::Broken { reason })) if reason.contains("1011")));

    let (mut stream, peer) = connect(&client, &mut peers).await;
    drop(peer);
    assert!(matches!(next(&mut stream).await, Some(Err(EventError::Broken { .. }))));
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let (address, mut peers) = peers().await;
    let (stream, mut peer) = connect(&client(&format!("http://{address}")), &mut peers).await;
    drop(stream);
    assert!(matches!(peer.receive().await, Some(Message::Close(_)) | None));
}

#[tokio::test]
async fn pings_are_sent_and_answered_and_a_dead_connection_is_noticed() {
    let (address, mut peers) = peers().await;
    let mut config = ClientConfig::new(&format!("http://{address}")).unwrap();
    config.ping_interval = Duration::from_millis(20);
    config.pong_timeout = Duration::from_millis(300);
    let client = ComfyClient::new(config).unwrap();

    let (mut stream, mut peer) = connect(&client, &mut peers).await;
    peer.send(Message::Ping(Bytes::from_static(b"hello"))).await;
    let (mut pings, mut answered) = (0, false);
    let started = Instant::now();
    // Reading answers the client's pings; the connection must outlive the deadline.
    while pings < 3 || !answered || started.elapsed() < Duration::from_millis(700) {
        match peer.receive().await {
            Some(Message::Ping(_)) => pings += 1,
            Some(Message::Pong(body)) => answered |= body.as_ref() == b"hello",
            other => panic!("{other:?}"),
        }
    }
    play(&mut peer, r#"[{"text": {"type": "execution_start", "data": {"prompt_id": "p"}}}]"#).await;
    assert_eq!(next(&mut stream).await, Some(Ok(Event::ExecutionStart { prompt_id: "p".to_owned() })));

    let (mut stream, _unread) = connect(&client, &mut peers).await;
    assert_eq!(next(&mut stream).await, Some(Err(EventError::Silent { after: Duration::from_millis(300) })));
}

#[tokio::test]
async fn a_consumer_that_does_not_read_does_not_stop_the_server_and_loses_previews_first() {
    let (address, mut peers) = peers().await;
    let mut config = ClientConfig::new(&format!("http://{address}")).unwrap();
    config.max_frame_bytes = 4 << 20;
    let (mut stream, mut peer) = connect(&ComfyClient::new(config).unwrap(), &mut peers).await;
    // Far more than sockets buffer: without a reader that drains, one of these sends would never return.
    let preview = [&[0, 0, 0, 1, 0, 0, 0, 1][..], &[0xff; 1 << 20][..]].concat();
    for _ in 0..64 {
        timeout(DEADLINE, peer.send(Message::Binary(preview.clone().into()))).await.unwrap();
    }
    play(&mut peer, r#"[{"text": {"type": "execution_success", "data": {"prompt_id": "p"}}}]"#).await;
    peer.send(Message::Close(None)).await;
    // The answer to the closing handshake shows that everything has been read.
    while peer.receive().await.is_some() {}
    let mut events = Vec::new();
    while let Some(event) = next(&mut stream).await {
        events.push(event.unwrap());
    }
    assert_eq!(events.last(), Some(&Event::Success { prompt_id: "p".to_owned() }));
    let kept = events.iter().filter(|event| name(event) == "preview").count();
    assert!((1..=4).contains(&kept), "{kept}");
    assert_eq!(stream.lost(), 0);
}

#[tokio::test]
async fn frames_up_to_the_limit_pass_and_larger_ones_end_the_stream() {
    let (address, mut peers) = peers().await;
    let mut config = ClientConfig::new(&format!("http://{address}")).unwrap();
    config.max_frame_bytes = 20 << 20;
    let (mut stream, mut peer) = connect(&ComfyClient::new(config).unwrap(), &mut peers).await;
    let picture = |size: usize| [&[0, 0, 0, 1, 0, 0, 0, 2][..], &vec![7; size - 8][..]].concat();
    peer.send(Message::Binary(picture(20 << 20).into())).await;
    assert!(matches!(next(&mut stream).await, Some(Ok(Event::Preview { bytes, .. })) if bytes.len() == (20 << 20) - 8));
    let _client_may_close_first = peer.socket.send(Message::Binary(picture((20 << 20) + 1).into())).await;
    assert_eq!(next(&mut stream).await, Some(Err(EventError::FrameTooLarge { limit: 20 << 20 })));
}

#[tokio::test]
async fn addresses_without_a_websocket_are_told_apart() {
    let unreachable = client(&format!("http://{}", nowhere().await)).connect_events().await.unwrap_err();
    assert!(unreachable.is_unreachable(), "{unreachable:?}");
    for (status, is_page) in [(200, true), (200, false), (400, false), (426, false)] {
        let server = TestServer::start(move |_| if is_page { html(status) } else { empty(status) }).await;
        let error = server.client().connect_events().await.unwrap_err();
        assert!(matches!(error, ConnectError::NotWebSocket { .. }), "{status}: {error:?}");
    }
    for status in [302, 401, 403, 404, 502] {
        let server = TestServer::start(move |_| empty(status)).await;
        let error = server.client().connect_events().await.unwrap_err();
        assert!(
            matches!(&error, ConnectError::Handshake { source } if source.status() == Some(status)),
            "{status}: {error:?}"
        );
    }
    let mut config = ClientConfig::new(&format!("http://{}", silent().await)).unwrap();
    (config.connect_timeout, config.read_timeout) = (Duration::from_millis(100), Duration::from_millis(100));
    let error = ComfyClient::new(config).unwrap().connect_events().await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error:?}");
}
