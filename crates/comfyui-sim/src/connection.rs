//! TCP connections that can be cut at once, and that can break websocket messages into small frames.
//! Knows nothing of HTTP requests.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::fragment::Fragmenter;

/// One connection, as handlers see it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    token: CancellationToken,
    fragment: Arc<AtomicBool>,
}

impl Peer {
    /// Ends the connection without another byte.
    pub(crate) fn cut(&self) {
        self.token.cancel();
    }

    /// From now on the bytes written are websocket frames, to be broken into small ones.
    pub(crate) fn fragment_frames(&self) {
        self.fragment.store(true, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, CutListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, CutListener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Accepts connections that end with `token`.
pub(crate) struct CutListener {
    pub(crate) inner: TcpListener,
    pub(crate) token: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

impl Listener for CutListener {
    type Io = CutStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, _) = Listener::accept(&mut self.inner).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps Nagle's algorithm");
        }
        let token = self.token.child_token();
        let fragment = Arc::new(AtomicBool::new(false));
        let io = CutStream {
            stream,
            cut: Box::pin(token.clone().cancelled_owned()),
            fragment: fragment.clone(),
            fragmenter: Fragmenter::default(),
            _alive: self.tracker.token(),
        };
        (io, Peer { token, fragment })
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Peer { token: self.token.clone(), fragment: Arc::default() })
    }
}

/// A TCP stream that fails at once when its token is cancelled.
pub(crate) struct CutStream {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    fragment: Arc<AtomicBool>,
    fragmenter: Fragmenter,
    _alive: TaskTrackerToken,
}

impl CutStream {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Writes what the fragmenter has made so far.
    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.fragmenter.pending().is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, self.fragmenter.pending()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.fragmenter.written(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        if !self.fragment.load(Ordering::Acquire) {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        ready!(self.drain(context))?;
        self.fragmenter.feed(bytes);
        // What cannot be written now goes out with the next write or flush.
        if let Poll::Ready(result) = self.drain(context) {
            result?;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        ready!(self.drain(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
