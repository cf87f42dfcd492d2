//! Whom the gateway calls, with webhooks or for files: records what it is sent, answers as it is told. Judges nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use futures_util::stream;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::wait::until;

/// Between two bytes of a body that drips.
const DRIP: Duration = Duration::from_millis(50);

type Decide = Box<dyn Fn(&Received) -> Reply + Send + Sync>;

/// An HTTP server on a free port of this machine. Dropped, it is gone, and so is whoever waits for its answer.
pub struct Receiver {
    port: u16,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// A request that came whole.
#[derive(Debug, Clone)]
pub struct Received {
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    course: Course,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Whole,
    Late(Duration),
    Drip,
    Hang,
    Close,
}

struct Shared {
    answer: Decide,
    requests: Mutex<Vec<Received>>,
    gone: watch::Sender<bool>,
}

impl Receiver {
    /// Answers every request with 200.
    pub async fn start() -> Self {
        Self::scripted([]).await
    }

    /// Answers with these in order, with the last one again and again.
    pub async fn scripted(replies: impl IntoIterator<Item = Reply>) -> Self {
        let script: Mutex<VecDeque<Reply>> = Mutex::new(replies.into_iter().collect());
        Self::answering(move |_request| {
            let mut script = lock(&script);
            let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
            next.unwrap_or_default()
        })
        .await
    }

    /// Answers each request as `answer` says, which sees it after it was recorded.
    pub async fn answering(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let gone = watch::channel(false).0;
        let shared = Arc::new(Shared { answer: Box::new(answer), requests: Mutex::default(), gone });
        let router: Router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        let service = router.into_make_service_with_connect_info::<Peer>();
        let serving = tokio::spawn(async move {
            // Serving never ends by itself.
            let _ = axum::serve(Connections(listener), service).await;
        });
        Self { port, shared, serving }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        lock(&self.shared.requests).len()
    }

    /// All requests so far, the first one first.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.requests).clone()
    }

    /// Waits until at least `count` requests have come; gives all.
    pub async fn until_count(&self, count: usize) -> Vec<Received> {
        until(&format!("{count} requests come"), || async {
            let requests = lock(&self.shared.requests);
            (requests.len() >= count).then(|| requests.clone())
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.gone.send_replace(true);
        self.serving.abort();
    }
}

impl Received {
    /// The header `name`; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self::status(200)
    }
}

impl Reply {
    /// This status, without a body.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status");
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), course: Course::Whole }
    }

    /// 200, so long after the request.
    pub fn late(wait: Duration) -> Self {
        Self { course: Course::Late(wait), ..Self::default() }
    }

    /// 200 with a body that never ends: a byte now and then.
    pub fn drip() -> Self {
        Self { course: Course::Drip, ..Self::default() }
    }

    /// No answer, and the connection stays open.
    pub fn hang() -> Self {
        Self { course: Course::Hang, ..Self::default() }
    }

    /// No answer: the connection is closed once the request is there.
    pub fn close() -> Self {
        Self { course: Course::Close, ..Self::default() }
    }

    /// With this header besides.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a header's value");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn whole(self) -> Response {
        let body = self.body.clone();
        self.response(body.into())
    }

    fn response(self, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return peer.cut() };
    let mut gone = shared.gone.subscribe();
    if *gone.borrow() {
        return peer.cut();
    }
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let received = Received { path, headers: head.headers, body: body.to_vec() };
    lock(&shared.requests).push(received.clone());
    let reply = (shared.answer)(&received);
    match reply.course {
        Course::Whole => reply.whole(),
        Course::Late(wait) => match tokio::time::timeout(wait, gone.wait_for(|gone| *gone)).await {
            Ok(_) => peer.cut(),
            Err(_elapsed) => reply.whole(),
        },
        Course::Drip => reply.response(dripping(gone)),
        Course::Hang => {
            let _ = gone.wait_for(|gone| *gone).await;
            peer.cut()
        }
        Course::Close => peer.cut(),
    }
}

/// A byte now and then until the receiver is gone.
fn dripping(gone: watch::Receiver<bool>) -> Body {
    Body::from_stream(stream::unfold(gone, |mut gone| async move {
        let stays = tokio::time::timeout(DRIP, gone.wait_for(|gone| *gone)).await.is_err();
        stays.then_some((Ok::<_, Infallible>("."), gone))
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection, as its requests see it.
#[derive(Debug, Clone, Default)]
struct Peer {
    cut: Arc<AtomicBool>,
}

impl Peer {
    /// Has the connection end where the answer would begin.
    fn cut(&self) -> Response {
        self.cut.store(true, Ordering::Release);
        Response::new(Body::empty())
    }
}

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Connections that can be cut.
struct Connections(TcpListener);

impl Listener for Connections {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, _address) = Listener::accept(&mut self.0).await;
        let peer = Peer::default();
        (Connection { stream, peer: peer.clone() }, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Peer::default())
    }
}

struct Connection {
    stream: TcpStream,
    peer: Peer,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // The server drops a connection that it can't write to.
        if self.peer.cut.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
