//! Whoever is slow or goes silent is sent away, and keeps nobody else.

use std::time::Duration;

use futures_util::future::join_all;
use gateway_testkit::TestGateway;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ADMIN, guarded, key, nothing, offline, status};

/// Longer than anything may take to arrive: a body has a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two bytes of whoever drips.
const DRIP: Duration = Duration::from_millis(200);
/// A request without credentials that is answered, and leaves the connection open.
const FIRST: &str = "GET /health/live HTTP/1.1\r\nHost: gateway\r\n\r\n";

async fn connect(test: &TestGateway) -> TcpStream {
    TcpStream::connect(test.gateway().address()).await.expect("a connection")
}

/// All that comes on `stream` until it is closed; panics with `what` where it stays open.
async fn until_closed(mut stream: TcpStream, what: &str) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // One that is reset is closed, too.
    let _ = read.unwrap_or_else(|_| panic!("{what}: it stays open after {text}"));
    text
}

/// Sends this and no more; all that comes until the connection is closed.
async fn silent(test: &TestGateway, begin: &str) -> String {
    let mut stream = connect(test).await;
    stream.write_all(begin.as_bytes()).await.expect("sent");
    until_closed(stream, begin).await
}

/// Sends this over and over, a byte now and then, until it is closed; all that came.
async fn dripping(test: &TestGateway, begin: &str, drip: &str) -> String {
    let mut stream = connect(test).await;
    stream.write_all(begin.as_bytes()).await.expect("sent");
    let mut came = Vec::new();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    for byte in drip.bytes().cycle() {
        let mut part = [0; 4_096];
        if let Ok(read) = tokio::time::timeout(DRIP, stream.read(&mut part)).await {
            match read {
                Ok(count) if count > 0 => came.extend_from_slice(&part[..count]),
                _ => break,
            }
        } else if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{begin}: it stays open");
    }
    String::from_utf8_lossy(&came).into_owned()
}

/// A request of the administrator's that has a body.
fn head(path: &str, framing: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: gateway\r\nX-API-Key: {ADMIN}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    )
}

#[tokio::test]
async fn headers_that_do_not_end_are_not_waited_for() {
    let test = offline(guarded()).await;
    let begins = ["", "G", "GET /jobs HTTP/1.1\r\nHost", "GET /jobs HTTP/1.1\r\nHost: gateway\r\n", "\r\n"];
    let silent = join_all(begins.map(|begin| silent(&test, begin)));
    let dripping = join_all([
        dripping(&test, "GET /jobs HTTP/1.1\r\n", "X: y\r\n"),
        dripping(&test, "GET /", "jobs"),
        dripping(&test, "GET /jobs HTTP/1.1\r\nHost: gateway\r\nX: ", "y"),
    ]);
    let (silent, dripping) = tokio::join!(silent, dripping);
    for text in silent.iter().chain(&dripping) {
        assert!(text.is_empty() || status(text) == 408, "{text}");
    }
    let _serves_on = super::get(&test, &key(ADMIN), "/jobs").await.expect(200);
}

#[tokio::test]
async fn a_body_that_does_not_end_is_not_waited_for() {
    let test = offline(guarded()).await;
    let fixed = "Content-Length: 1000";
    let begins = [
        format!("{}{{", head("/jobs", fixed)),
        format!("{}{{", head("/keys", fixed)),
        format!("{}{{", head("/workflows", fixed)),
        format!("{}{{", head("/batches", fixed)),
        format!("{}{{", head("/queue/pause", fixed)),
        format!("{}x", head("/uploads", fixed)),
        head("/jobs", fixed),
    ];
    let silent = join_all(begins.iter().map(|begin| silent(&test, begin)));
    let (jobs, pause) = (head("/jobs", "Content-Length: 100000"), head("/queue/pause", "Content-Length: 60000"));
    let dripping = join_all([dripping(&test, &jobs, " "), dripping(&test, &pause, " ")]);
    let (silent, dripping) = tokio::join!(silent, dripping);
    for text in silent.iter().chain(&dripping) {
        assert_eq!(status(text), 408, "{text}");
        assert!(text.contains("application/problem+json"), "{text}");
    }
    assert_eq!(test.get("/health").await.json()["queue"]["paused"], serde_json::json!(false));
}

#[tokio::test]
async fn headers_of_a_second_request_that_do_not_end_are_not_waited_for() {
    // Of actix, those of the first request of a connection alone have a deadline.
    let test = offline(guarded()).await;
    let (quiet, slow) = (format!("{FIRST}GET /jobs HTTP/1.1\r\nHost"), format!("{FIRST}GET /jobs HTTP/1.1\r\n"));
    let (silent, dripping) = tokio::join!(silent(&test, &quiet), dripping(&test, &slow, "X: y\r\n"));
    for text in [silent, dripping] {
        assert_eq!(status(&text), 200, "{text}");
    }
}

#[tokio::test]
async fn a_chunked_body_that_does_not_end_is_not_waited_for_whether_it_is_read_or_not() {
    // Where nobody reads it any more actix drains it, for as long as it goes on.
    let test = offline(guarded()).await;
    let chunked = "Transfer-Encoding: chunked";
    let stranger = head("/jobs", chunked).replace(ADMIN, "wrong");
    let (read, unread) = (head("/jobs", chunked), head("/jobs", chunked).replace("POST", "GET"));
    let begins = [(&stranger, 401), (&read, 408), (&unread, 200)];
    let silent = join_all(begins.map(|(begin, status)| {
        let begin = format!("{begin}1\r\n{{\r\n");
        let test = &test;
        async move { (silent(test, &begin).await, status) }
    }));
    let dripping = dripping(&test, &stranger, "1\r\n \r\n");
    let (silent, dripping) = tokio::join!(silent, dripping);
    for (text, expected) in silent.into_iter().chain([(dripping, 401)]) {
        assert_eq!(status(&text), expected, "{text}");
    }
}

#[tokio::test]
async fn connections_of_the_silent_keep_nobody_else() {
    let test = offline(guarded()).await;
    let body = head("/jobs", "Content-Length: 1000");
    let mut open = Vec::new();
    for number in 0..100 {
        let mut stream = connect(&test).await;
        let begin = [body.as_str(), "GET /jobs HTTP/1.1\r\n", ""][number % 3];
        stream.write_all(begin.as_bytes()).await.expect("sent");
        open.push(stream);
    }
    for _ in 0..20 {
        let _answered = super::get(&test, &key(ADMIN), "/jobs").await.expect(200);
        let _answered = super::get(&test, &nothing(), "/health").await.expect(200);
    }
    drop(open);
}
