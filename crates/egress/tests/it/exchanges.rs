//! Whole exchanges with hosts that behave, and with ones that do not.

use std::{process::Command, time::Duration};

use bytes::Bytes;
use gateway_egress::{Client, SendError};

use crate::server::{LONG, Receiver, Script, client_at, ok};

const SHORT: Duration = Duration::from_millis(300);

/// A client that may reach `receiver` as hooks.test.
fn client_for(receiver: &Receiver) -> Client {
    client_at(&format!("hooks.test:{}", receiver.port), &["127.0.0.1"])
}

async fn answering(answer: &str) -> (Receiver, Client) {
    let receiver = Receiver::start(Script::Whole(answer.to_owned())).await;
    let client = client_for(&receiver);
    (receiver, client)
}

#[tokio::test]
async fn a_named_host_is_reached_on_a_private_address() {
    let (mut receiver, client) = answering(&ok("thanks")).await;
    let url = format!("{}hook?a=b#part", receiver.url("hooks.test."));
    let headers = [("webhook-id".to_owned(), "msg_1".to_owned())];
    assert_eq!(client.check(&url).await, Ok(()));
    let answer = client.post(&url, &headers, Bytes::from_static(b"{\"a\":1}"), LONG).await.unwrap();
    assert_eq!((answer.status, answer.excerpt.as_ref()), (200, b"thanks".as_slice()));
    let request = receiver.requests().remove(0).to_ascii_lowercase();
    assert!(request.starts_with("post /hook?a=b http/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
    let host = format!("\r\nhost: hooks.test:{}\r\n", receiver.port);
    for header in [&host, "\r\nwebhook-id: msg_1\r\n", "\r\nuser-agent: comfyui-gateway/"] {
        assert!(request.contains(header), "{header} in {request}");
    }
    for header in ["cookie", "referer", "accept-encoding", "authorization"] {
        assert!(!request.contains(header), "{header} in {request}");
    }
    assert_eq!(receiver.connections().await, 1);
}

#[tokio::test]
async fn a_named_number_is_reached() {
    let mut receiver = Receiver::witness().await;
    let client = client_at(&format!("127.0.0.1:{}", receiver.port), &[]);
    let url = receiver.url("127.0.0.1");
    assert_eq!(client.check(&url).await, Ok(()));
    assert_eq!(client.post(&url, &[], Bytes::new(), LONG).await.unwrap().status, 200);
    assert_eq!(receiver.connections().await, 1);
}

/// Run once more by the next test, in a process with proxies in its environment.
#[tokio::test]
async fn a_request_without_proxy() {
    let (_receiver, client) = answering(&ok("")).await;
    let url = _receiver.url("hooks.test");
    assert_eq!(client.post(&url, &[], Bytes::new(), LONG).await.unwrap().status, 200);
}

#[tokio::test]
async fn proxies_from_the_environment_are_not_used() {
    let mut proxy = Receiver::witness().await;
    let url = proxy.url("127.0.0.1");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "exchanges::a_request_without_proxy"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, &url);
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.connections().await, 0);
}

#[tokio::test]
async fn redirects_are_answers_and_nobody_goes_where_they_point() {
    let mut target = Receiver::witness().await;
    for status in [301, 302, 303, 307, 308] {
        let location = target.url("127.0.0.1");
        let head = format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let (mut receiver, _) = answering(&head).await;
        // Even a target that may be reached is not followed.
        let client = client_at(&format!("hooks.test:{},127.0.0.1:{}", receiver.port, target.port), &["127.0.0.1"]);
        let url = receiver.url("hooks.test");
        assert_eq!(client.post(&url, &[], Bytes::new(), LONG).await.unwrap().status, status);
        assert_eq!(client.get(&url, 10, LONG).await.unwrap_err(), SendError::Status(status));
        assert_eq!(receiver.connections().await, 2);
    }
    assert_eq!(target.connections().await, 0);
}

#[tokio::test]
async fn statuses_and_retry_after_come_back_as_they_are() {
    for (head, retry_after) in [
        ("HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n", Some("7")),
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", None),
        ("HTTP/1.1 503 No\r\nretry-after: \u{ff}\r\ncontent-length: 0\r\n\r\n", None),
    ] {
        let (receiver, client) = answering(head).await;
        let answer = client.post(&receiver.url("hooks.test"), &[], Bytes::new(), LONG).await.unwrap();
        assert!(head.contains(&answer.status.to_string()));
        assert_eq!(answer.retry_after.as_deref(), retry_after);
    }
}

#[tokio::test]
async fn slow_hosts_run_out_of_the_one_deadline() {
    for script in [
        Script::Silent,
        Script::Drip("HTTP/1.1 200 OK\r\nx: "),
        Script::Drip("HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n"),
        Script::Drip("HTTP/1.1 200 OK\r\n\r\n"),
    ] {
        let mut receiver = Receiver::start(script).await;
        let client = client_for(&receiver);
        let answer = client.post(&receiver.url("hooks.test"), &[], Bytes::new(), SHORT).await;
        assert_eq!(answer, Err(SendError::Timeout));
        receiver.hung_up().await;
    }
}

#[tokio::test]
async fn a_failure_counts_whatever_becomes_of_its_body() {
    for head in [
        "HTTP/1.1 410 Gone\r\ncontent-length: 60000\r\nretry-after: 9\r\n\r\n",
        "HTTP/1.1 410 Gone\r\nretry-after: 9\r\n\r\n",
    ] {
        let receiver = Receiver::start(Script::Drip(head)).await;
        let client = client_for(&receiver);
        let answer = client.post(&receiver.url("hooks.test"), &[], Bytes::new(), SHORT).await.unwrap();
        assert_eq!((answer.status, answer.retry_after.as_deref()), (410, Some("9")));
    }
}

#[tokio::test]
async fn an_endless_answer_is_read_for_64_kib_and_the_connection_closed() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n"] {
        let mut receiver = Receiver::start(Script::Endless(head)).await;
        let client = client_for(&receiver);
        let answer = client.post(&receiver.url("hooks.test"), &[], Bytes::new(), LONG).await.unwrap();
        assert_eq!((answer.status, answer.excerpt.len()), (200, 1024));
        receiver.hung_up().await;
    }
}

#[tokio::test]
async fn compressed_answers_stay_compressed() {
    let bomb = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 8\r\n\r\nnot gzip";
    let (receiver, client) = answering(bomb).await;
    let answer = client.post(&receiver.url("hooks.test"), &[], Bytes::new(), LONG).await.unwrap();
    assert_eq!(answer.excerpt.as_ref(), b"not gzip");
}

#[tokio::test]
async fn endless_headers_and_nonsense_are_no_http() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(5000));
    for answer in [&many, "SSH-2.0-OpenSSH_9.9\r\n\r\n", "", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc"] {
        let (receiver, client) = answering(answer).await;
        let error = client.post(&receiver.url("hooks.test"), &[], Bytes::new(), LONG).await.unwrap_err();
        assert_eq!(error, SendError::Protocol);
    }
    let mut receiver = Receiver::start(Script::Endless("HTTP/1.1 200 OK\r\nx: ")).await;
    let error = client_for(&receiver).post(&receiver.url("hooks.test"), &[], Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(error, SendError::Protocol);
    receiver.hung_up().await;
}

#[tokio::test]
async fn a_closed_port_is_no_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let client = client_at(&format!("hooks.test:{port}"), &["127.0.0.1"]);
    let error = client.post(&format!("http://hooks.test:{port}/"), &[], Bytes::new(), LONG).await.unwrap_err();
    assert_eq!((error, error.class()), (SendError::Connect, "connect"));
}

#[tokio::test]
async fn a_header_that_would_split_the_request_is_not_sent() {
    let (mut receiver, client) = answering(&ok("")).await;
    let headers = [("x".to_owned(), "a\r\nhost: evil".to_owned())];
    let error = client.post(&receiver.url("hooks.test"), &headers, Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(error, SendError::Protocol);
    assert_eq!(receiver.connections().await, 0);
}

#[tokio::test]
async fn a_download_of_exactly_the_allowed_size_arrives() {
    for (answer, declared) in [
        (ok("0123456789"), Some(10)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n".to_owned(), None),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n0123456789".to_owned(), None),
    ] {
        let (receiver, client) = answering(&answer).await;
        let mut download = client.get(&receiver.url("hooks.test"), 10, LONG).await.unwrap();
        assert_eq!(download.declared_length(), declared);
        let mut body = Vec::new();
        while let Some(chunk) = download.chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        assert_eq!(body, b"0123456789");
    }
}

#[tokio::test]
async fn a_download_that_is_too_large_stops() {
    let (receiver, client) = answering(&ok("0123456789")).await;
    assert_eq!(client.get(&receiver.url("hooks.test"), 9, LONG).await.unwrap_err(), SendError::TooLarge);

    let mut receiver = Receiver::start(Script::Endless("HTTP/1.1 200 OK\r\n\r\n")).await;
    let mut download = client_for(&receiver).get(&receiver.url("hooks.test"), 100_000, LONG).await.unwrap();
    assert_eq!(download.declared_length(), None);
    let mut read = 0;
    let error = loop {
        match download.chunk().await {
            Ok(chunk) => read += chunk.unwrap().len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error, SendError::TooLarge);
    assert!(read <= 100_000, "{read}");
    drop(download);
    receiver.hung_up().await;
}

#[tokio::test]
async fn a_download_that_drips_or_breaks_off_fails() {
    let receiver = Receiver::start(Script::Drip("HTTP/1.1 200 OK\r\n\r\n")).await;
    let mut download = client_for(&receiver).get(&receiver.url("hooks.test"), 1_000_000, SHORT).await.unwrap();
    let error = loop {
        if let Err(error) = download.chunk().await {
            break error;
        }
    };
    assert_eq!(error, SendError::Timeout);

    let (receiver, client) = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await;
    let mut download = client.get(&receiver.url("hooks.test"), 10, LONG).await.unwrap();
    assert_eq!(download.chunk().await.unwrap().unwrap(), "abc");
    assert_eq!(download.chunk().await, Err(SendError::Protocol));
    assert!(!format!("{download:?}").contains("hooks"), "{download:?}");
}
