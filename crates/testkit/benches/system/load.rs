//! A load generator that costs little: keep-alive connections that send one prepared request again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Answers a second with `expected` as status line, over `connections`, for `time`.
pub(crate) async fn rate(address: &str, request: &[u8], expected: &str, connections: usize, time: Duration) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            let (address, request, expected) = (address.to_owned(), request.to_vec(), expected.to_owned());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 16 * 1024];
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(&request).await.unwrap();
                    read_answer(&mut stream, &mut buffer, &expected).await;
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let rate = answers.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    for task in tasks {
        task.await.unwrap();
    }
    rate
}

/// Sends `request` `rate` times a second for `time`, whatever the answers do; gives how long each took from the moment
/// it was due.
pub(crate) async fn paced(address: &str, request: &[u8], expected: &str, rate: f64, time: Duration) -> Vec<Duration> {
    const CONNECTIONS: u64 = 64;
    let total = (rate * time.as_secs_f64()) as u64;
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now() + Duration::from_millis(50);
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let next = Arc::clone(&next);
            let (address, request, expected) = (address.to_owned(), request.to_vec(), expected.to_owned());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 16 * 1024];
                let mut took = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        return took;
                    }
                    let due = began + Duration::from_secs_f64(number as f64 / rate);
                    tokio::time::sleep_until(due.into()).await;
                    stream.write_all(&request).await.unwrap();
                    read_answer(&mut stream, &mut buffer, &expected).await;
                    took.push(due.elapsed());
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all
}

/// How long each of `count` requests takes, one after the other.
pub(crate) async fn each(address: &str, request: &[u8], expected: &str, count: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut took = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        stream.write_all(request).await.unwrap();
        read_answer(&mut stream, &mut buffer, expected).await;
        took.push(began.elapsed());
    }
    took
}

/// A `GET` as it goes over the wire.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8], expected: &str) {
    let mut length = 0;
    while !is_whole(&buffer[..length], expected) {
        let read = stream.read(&mut buffer[length..]).await.unwrap();
        assert!(read > 0, "the connection was closed");
        length += read;
    }
}

/// Whether `answer` has come to its end; one with another status line than `expected` is a failure.
pub(crate) fn is_whole(answer: &[u8], expected: &str) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some(head) = text.find("\r\n\r\n") else { return false };
    assert!(text.starts_with(expected), "{text}");
    let body = text[..head]
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse::<usize>().unwrap())
        })
        .unwrap_or(0);
    answer.len() >= head + 4 + body
}

/// A `POST` of JSON as it goes over the wire.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
