//! Whom the gateway calls, with webhooks or for files: records what it is sent, answers as it is told. Judges nothing.

mod connection;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::stream;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::connection::{Connections, Peer};
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
    /// When it had come whole.
    pub at: Instant,
    /// What has become of it so far.
    pub fate: Fate,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its answer has not begun.
    Waits,
    /// Its answer was begun.
    Answered,
    /// Its connection ended before that.
    Cut,
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

    /// How many requests have come that `which` is true of.
    pub fn count_where(&self, which: impl Fn(&Received) -> bool) -> usize {
        lock(&self.shared.requests).iter().filter(|request| which(request)).count()
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

    /// 200, but only after so long.
    pub fn late(after: Duration) -> Self {
        Self { course: Course::Late(after), ..Self::default() }
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
    let (headers, body) = (head.headers, body.to_vec());
    let received = Received { path, headers, body, at: Instant::now(), fate: Fate::Waits };
    let mut waiting = Waiting::begin(&shared, received.clone());
    let reply = (shared.answer)(&received);
    match reply.course {
        Course::Whole => waiting.answer(reply),
        Course::Late(after) => match tokio::time::timeout(after, gone.wait_for(|gone| *gone)).await {
            Ok(_gone) => peer.cut(),
            Err(_elapsed) => waiting.answer(reply),
        },
        Course::Drip => {
            waiting.fate = Fate::Answered;
            reply.response(dripping(gone))
        }
        Course::Hang => {
            let _ = gone.wait_for(|gone| *gone).await;
            peer.cut()
        }
        Course::Close => peer.cut(),
    }
}

/// A request whose answer has not begun. The server drops it where the sender ends the connection before that.
struct Waiting {
    shared: Arc<Shared>,
    place: usize,
    /// What becomes of the request when this is dropped.
    fate: Fate,
}

impl Waiting {
    /// Records the request.
    fn begin(shared: &Arc<Shared>, request: Received) -> Self {
        let mut requests = lock(&shared.requests);
        requests.push(request);
        Self { shared: Arc::clone(shared), place: requests.len() - 1, fate: Fate::Cut }
    }

    fn answer(&mut self, reply: Reply) -> Response {
        self.fate = Fate::Answered;
        let body = reply.body.clone();
        reply.response(body.into())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.shared.requests)[self.place].fate = self.fate;
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
