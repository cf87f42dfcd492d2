//! A bad network between a test and its S3 server: passes requests on, and does to some what it is told.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What befalls a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It is answered with this status and code, and not passed on.
    Answer(u16, &'static str),
    /// Its connection ends, and it is not passed on.
    Cut,
    /// It is passed on, and the answer lost.
    Lost,
    /// It is passed on, and the answer ends after so many bytes.
    Short(usize),
    /// It is never answered.
    Silence,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<(&'static str, usize, Fault)>,
    seen: Vec<(String, usize)>,
}

/// The network, which ends when dropped.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// One to the server at `address`.
    pub(crate) async fn to(address: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, address.clone(), Arc::clone(&shared)));
            }
        });
        Self { endpoint, state, task }
    }

    /// The next `times` requests whose first line holds `what` get `fault`.
    pub(crate) fn spoil(&self, what: &'static str, times: usize, fault: Fault) {
        self.state.lock().unwrap().faults.push((what, times, fault));
    }

    /// How many requests are still to be spoilt.
    pub(crate) fn left(&self) -> usize {
        self.state.lock().unwrap().faults.iter().map(|(_, times, _)| times).sum()
    }

    /// First line and length of the body of each request since the last call.
    pub(crate) fn seen(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes one request on, and its answer back, and ends the connection.
async fn pass(mut client: TcpStream, address: String, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let (head, body) = request(&mut client).await?;
    let (first, rest) = head.split_once("\r\n").unwrap_or_default();
    let fault = next_fault(&state, first, body.len());
    match fault {
        Some(Fault::Answer(status, code)) => {
            let text = format!("<Error><Code>{code}</Code><Message>spoilt</Message></Error>");
            let length = text.len();
            let answer =
                format!("HTTP/1.1 {status} Spoilt\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}");
            return client.write_all(answer.as_bytes()).await;
        }
        Some(Fault::Cut) => return Ok(()),
        Some(Fault::Silence) => {
            // Until the client gives up.
            client.read_to_end(&mut Vec::new()).await?;
            return Ok(());
        }
        Some(Fault::Lost | Fault::Short(_)) | None => {}
    }
    let mut server = TcpStream::connect(address).await?;
    server.write_all(format!("{first}\r\nConnection: close\r\n{rest}").as_bytes()).await?;
    server.write_all(&body).await?;
    match fault {
        Some(Fault::Lost) => server.read_to_end(&mut Vec::new()).await.map(drop),
        Some(Fault::Short(bytes)) => {
            let mut part = server.take(bytes as u64);
            tokio::io::copy(&mut part, &mut client).await.map(drop)
        }
        _ => tokio::io::copy(&mut server, &mut client).await.map(drop),
    }
}

async fn request(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let length = head
        .to_ascii_lowercase()
        .split_once("\r\ncontent-length:")
        .map_or(0, |(_, rest)| rest.lines().next().unwrap_or_default().trim().parse::<usize>().unwrap());
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((head, body))
}

fn next_fault(state: &Mutex<State>, first: &str, length: usize) -> Option<Fault> {
    let mut state = state.lock().unwrap();
    state.seen.push((first.to_owned(), length));
    let (_, times, fault) = state.faults.iter_mut().find(|(what, times, _)| *times > 0 && first.contains(what))?;
    *times -= 1;
    Some(*fault)
}
