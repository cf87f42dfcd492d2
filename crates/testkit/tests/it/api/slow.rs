//! Connections that take their time: each is closed by its deadline, and others are served meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gateway_testkit::TestGateway;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// How a connection wastes time.
#[derive(Debug, Clone, Copy)]
enum Slow {
    /// One byte of its headers a second.
    Headers,
    /// All of its headers, then one byte of its body a second.
    Body,
    /// Asks, and reads nothing of the answers.
    Answer,
}

/// The longest that any may last: the deadline for a reader, and what the system takes to see it.
const LONGEST: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo xtask soak"]
async fn two_thousand_slow_connections_are_closed_by_their_deadlines_while_others_are_served() {
    waste(&[(Slow::Headers, 800), (Slow::Body, 800), (Slow::Answer, 400)]).await;
}

/// Opens all, asks for something else all the while, and waits until each is closed.
async fn waste(kinds: &[(Slow, usize)]) {
    let test = TestGateway::start().await;
    let address = test.gateway().address();
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for (kind, many) in kinds {
        for _ in 0..*many {
            all.spawn(last(*kind, address));
        }
    }
    let mut served = 0;
    while !all.is_empty() {
        assert!(begun.elapsed() < LONGEST, "{} are open after {:?}", all.len(), begun.elapsed());
        let _healthy = test.get("/jobs?limit=1").await.expect(200);
        served += 1;
        while let Some(ended) = all.try_join_next() {
            ended.expect("no panic");
        }
        tokio::task::yield_now().await;
    }
    assert!(served > 0);
}

/// Lasts until the gateway closes the connection.
async fn last(kind: Slow, address: SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    // Little is sent ahead to who does not read.
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stream = socket.connect(address).await.expect("a connection");
    match kind {
        Slow::Headers => drip(&mut stream, b"GET /jobs HTTP/1.1\r\nHost: gateway\r\nX-Long: ").await,
        Slow::Body => {
            let head =
                b"POST /jobs HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n";
            stream.write_all(head).await.expect("it is open");
            drip(&mut stream, b"{\"workflowId\":\"tiny\",\"inputs\":{").await;
        }
        Slow::Answer => {
            // Far more answers than the buffers between take.
            let ask = b"GET /capabilities HTTP/1.1\r\nHost: g\r\n\r\n".repeat(20_000);
            let _closed = stream.write_all(&ask).await;
            drip(&mut stream, b"").await;
        }
    }
}

/// Writes `bytes` again and again, one a second, until the other side has closed. What it says is read only then.
async fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut bytes = bytes.iter().copied().chain(std::iter::repeat(b'x'));
    loop {
        tick.tick().await;
        let byte = bytes.next().unwrap_or(b'x');
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
        if let Ok(Some(_)) | Err(_) = stream.take_error() {
            return;
        }
        let mut few = [0_u8; 1];
        // An end or an answer: the latter only where it is about what was sent.
        if let Ok(read) = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut few)).await
            && !matches!(read, Ok(1..))
        {
            return;
        }
    }
}
