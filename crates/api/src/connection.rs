//! Bounds what actix leaves open: how long a connection may take to begin its next request, also where half of one
//! came or the rest of a body that nobody reads goes on; and how long its other side may take nothing. Knows sockets,
//! and no route.

use std::any::Any;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceResponse};
use actix_web::http::{StatusCode, Version};
use actix_web::rt::net::TcpStream;
use bytes::Bytes;
use socket2::{SockRef, Socket};
use tokio::sync::oneshot;

/// How long a client may take to send the headers of its first request.
pub(crate) const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection without a request is kept.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long after an answer the next request must have begun.
const IDLE: Duration = KEEP_ALIVE.saturating_add(HEADER_DEADLINE);
/// How long a client may take none of what it was sent: it is gone, or holds memory on purpose.
#[cfg(target_os = "linux")]
const READ_DEADLINE: Duration = Duration::from_secs(60);
/// Answers up to this size are as good as sent once they are made.
const AT_ONCE: u64 = 64 * 1024;

/// A second handle on a connection, to end it with.
pub(crate) struct Connection {
    socket: Socket,
    state: Mutex<State>,
    /// Wakes its watch when it is dropped.
    _gone: oneshot::Sender<()>,
}

struct State {
    /// Requests that are being answered.
    running: usize,
    /// Since when there are none.
    since: Instant,
}

/// A request that is being answered.
pub(crate) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = state.running.saturating_sub(1);
        state.since = Instant::now();
    }
}

impl Busy {
    /// Ends the connection a moment later, when its answer has had time to arrive.
    fn end_soon(&self) {
        let connection = Arc::downgrade(&self.0);
        actix_web::rt::spawn(async move {
            tokio::time::sleep(HEADER_DEADLINE).await;
            if let Some(connection) = connection.upgrade() {
                connection.end();
            }
        });
    }
}

impl Connection {
    fn end(&self) {
        // Whatever keeps it from ending has ended it.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Notes that a request has begun.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).running += 1;
        Busy(Arc::clone(self))
    }

    /// How long it may go on as it is.
    fn left(&self) -> Duration {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.running > 0 { IDLE } else { IDLE.saturating_sub(state.since.elapsed()) }
    }
}

/// Called with each new connection.
pub(crate) fn bound(stream: &dyn Any, data: &mut Extensions) {
    let tcp = stream
        .downcast_ref::<TcpStream>()
        .or_else(|| stream.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
    let Some(tcp) = tcp else { return };
    let socket = SockRef::from(tcp);
    // The system ends it where its other side takes nothing: actix would wait for ever.
    #[cfg(target_os = "linux")]
    if let Err(error) = socket.set_tcp_user_timeout(Some(READ_DEADLINE)) {
        tracing::debug!(%error, "a connection has no deadline for its reader");
    }
    match socket.try_clone() {
        Ok(socket) => {
            let (sender, gone) = oneshot::channel();
            let state = Mutex::new(State { running: 0, since: Instant::now() });
            let connection = Arc::new(Connection { socket, state, _gone: sender });
            actix_web::rt::spawn(watch(Arc::downgrade(&connection), gone));
            data.insert(connection);
        }
        Err(error) => tracing::debug!(%error, "a connection has no deadline for its next request"),
    }
}

/// Ends the connection once it has taken too long.
async fn watch(connection: Weak<Connection>, mut gone: oneshot::Receiver<()>) {
    loop {
        let Some(left) = connection.upgrade().map(|connection| connection.left()) else { return };
        if left.is_zero() {
            if let Some(connection) = connection.upgrade() {
                connection.end();
            }
            return;
        }
        tokio::select! {
            _ = &mut gone => return,
            () = tokio::time::sleep(left) => {}
        }
    }
}

/// Keeps `busy` until the body of `response` is sent. Whoever was too slow to send a body gets no other try.
pub(crate) fn until_sent(response: ServiceResponse<BoxBody>, busy: Busy) -> ServiceResponse<BoxBody> {
    // In HTTP/2 other requests share the connection, and the rest of this body ends with its stream.
    if response.status() == StatusCode::REQUEST_TIMEOUT && response.request().version() < Version::HTTP_2 {
        busy.end_soon();
    }
    match response.response().body().size() {
        BodySize::None => response,
        BodySize::Sized(size) if size <= AT_ONCE => response,
        _ => response.map_body(|_head, body| Sent { body, _busy: busy }.boxed()),
    }
}

struct Sent {
    body: BoxBody,
    _busy: Busy,
}

impl MessageBody for Sent {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use actix_web::HttpResponse;
    use actix_web::test::TestRequest;

    use super::*;

    #[actix_web::test]
    async fn a_body_that_came_too_late_ends_its_connection_unless_others_share_it() {
        tokio::time::pause();
        for (version, ends) in [(Version::HTTP_10, true), (Version::HTTP_11, true), (Version::HTTP_2, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let socket = listener.accept().unwrap().0.into();
            let state = Mutex::new(State { running: 0, since: Instant::now() });
            let connection = Arc::new(Connection { socket, state, _gone: oneshot::channel().0 });
            let request = TestRequest::default().version(version).to_srv_request();
            let response = request.into_response(HttpResponse::RequestTimeout().finish());
            until_sent(response, connection.begin());
            assert!(connection.socket.send(b"x").is_ok(), "{version:?}: the answer has time to arrive");
            tokio::time::sleep(HEADER_DEADLINE * 2).await;
            assert_eq!(connection.socket.send(b"x").is_err(), ends, "{version:?}");
        }
    }
}
