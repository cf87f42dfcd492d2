//! Listeners that count, record and misbehave, and lookups that answer by script.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use gateway_core::allowlist::Allowlist;
use gateway_egress::{Client, Lookup, Policy};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time,
};

/// Long enough for anything on this machine; a test that needs it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// How a listener answers each request.
#[derive(Clone)]
pub(crate) enum Script {
    /// Once, then the connection is closed.
    Whole(String),
    /// The head, then a byte now and then for ever.
    Drip(&'static str),
    /// The head, then bytes as fast as they are taken.
    Endless(&'static str),
    /// This, before anything was asked.
    Greeting(&'static str),
    /// Nothing ever.
    Silent,
}

/// A listener on 127.0.0.1, and on ::1 where the machine has it.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    accepted: watch::Receiver<usize>,
    requests: Arc<Mutex<Vec<String>>>,
    hung_up: mpsc::UnboundedReceiver<()>,
    probes: usize,
}

impl Receiver {
    pub(crate) async fn start(script: Script) -> Self {
        let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = v4.local_addr().unwrap().port();
        let v6 = TcpListener::bind(("::1", port)).await.ok();
        let (count, accepted) = watch::channel(0);
        let (gone, hung_up) = mpsc::unbounded_channel();
        let requests = Arc::new(Mutex::new(Vec::new()));
        for listener in [Some(v4), v6].into_iter().flatten() {
            let (count, gone, script, requests) = (count.clone(), gone.clone(), script.clone(), Arc::clone(&requests));
            tokio::spawn(async move {
                while let Ok((stream, _peer)) = listener.accept().await {
                    count.send_modify(|count| *count += 1);
                    let (gone, script, requests) = (gone.clone(), script.clone(), Arc::clone(&requests));
                    tokio::spawn(async move {
                        serve(stream, &script, &requests).await.ok();
                        gone.send(()).ok();
                    });
                }
            });
        }
        Self { port, accepted, requests, hung_up, probes: 0 }
    }

    pub(crate) async fn witness() -> Self {
        Self::start(Script::Whole(ok("witness"))).await
    }

    pub(crate) fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until a connection is over, from whichever side.
    pub(crate) async fn hung_up(&mut self) {
        time::timeout(LONG, self.hung_up.recv()).await.unwrap().unwrap();
    }

    /// How many connections came from others. Ones that still wait are counted, since they come before our own.
    pub(crate) async fn connections(&mut self) -> usize {
        for host in ["127.0.0.1", "::1"] {
            let before = *self.accepted.borrow();
            if let Ok(stream) = TcpStream::connect((host, self.port)).await {
                self.probes += 1;
                let more = self.accepted.wait_for(|count| *count > before);
                time::timeout(LONG, more).await.unwrap().unwrap();
                drop(stream);
            }
        }
        *self.accepted.borrow() - self.probes
    }
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// Reads one request and answers it by script.
pub(crate) async fn serve<S>(mut stream: S, script: &Script, requests: &Mutex<Vec<String>>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Script::Greeting(greeting) = script {
        stream.write_all(greeting.as_bytes()).await?;
    }
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    requests.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    match script {
        Script::Whole(answer) => {
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await
        }
        Script::Drip(head) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(b"x").await?;
                stream.flush().await?;
                time::sleep(Duration::from_millis(5)).await;
            }
        }
        Script::Endless(head) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&[b'y'; 8192]).await?;
            }
        }
        Script::Greeting(_) | Script::Silent => {
            let mut rest = [0; 1];
            stream.read(&mut rest).await.map(|_read| ())
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    body.len() >= length
}

/// Answers by the number of the question, counted from 0.
pub(crate) struct Scripted<F> {
    pub(crate) answer: F,
    pub(crate) asked: Arc<AtomicUsize>,
}

#[async_trait]
impl<F> Lookup for Scripted<F>
where
    F: Fn(usize) -> Option<io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
{
    async fn lookup(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        match (self.answer)(self.asked.fetch_add(1, Ordering::SeqCst)) {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

pub(crate) fn policy(allow: &str) -> Policy {
    Policy { allow: Allowlist::parse(allow).unwrap(), require_https: false }
}

/// A client whose lookups answer by script (`None` never does), and the count of lookups.
pub(crate) fn client<F>(allow: &str, answer: F) -> (Client, Arc<AtomicUsize>)
where
    F: Fn(usize) -> Option<io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
{
    let asked = Arc::new(AtomicUsize::new(0));
    let lookup = Scripted { answer, asked: Arc::clone(&asked) };
    (Client::new(policy(allow), Arc::new(lookup)).unwrap(), asked)
}

/// A client for which each name is at `addresses`.
pub(crate) fn client_at(allow: &str, addresses: &[&str]) -> Client {
    let addresses = ips(addresses);
    client(allow, move |_nth| Some(Ok(addresses.clone()))).0
}

pub(crate) fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}
