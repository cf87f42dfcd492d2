//! Servers for tests: one that answers by a function and remembers every request, and one that breaks connections.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Method, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use comfyui_client::{ClientConfig, ComfyClient};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Longest wait for anything in a test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.uri)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A server that answers by a function of the request.
pub(crate) struct TestServer {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl TestServer {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (record, answer) = (seen.clone(), Arc::new(answer));
        let app = Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (record, answer) = (record.clone(), answer.clone());
            async move {
                let request = Seen { method, uri, headers, body };
                record.lock().unwrap().push(request.clone());
                answer(&request)
            }
        });
        Self { address: serve(app).await, seen }
    }

    pub(crate) fn client(&self) -> ComfyClient {
        client(&format!("http://{}", self.address))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

/// Serves an app on a free port of the loopback address.
pub(crate) async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// A server that reads a request's beginning, writes fixed bytes and closes the connection.
pub(crate) async fn blunt(reply: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _read = socket.read(&mut buffer).await;
            let _written = socket.write_all(&reply).await;
        }
    });
    address
}

/// A server that accepts connections and stays silent.
pub(crate) async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            open.push(socket);
        }
    });
    address
}

/// An address where nothing listens.
pub(crate) async fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

pub(crate) fn client(url: &str) -> ComfyClient {
    ComfyClient::new(ClientConfig::new(url).unwrap()).unwrap()
}

/// A client that gives up on silence soon.
pub(crate) fn hasty_client(address: &str) -> ComfyClient {
    let mut config = ClientConfig::new(&format!("http://{address}")).unwrap();
    config.read_timeout = Duration::from_millis(200);
    config.connect_timeout = Duration::from_millis(200);
    ComfyClient::new(config).unwrap()
}

pub(crate) fn json(status: u16, body: &Value) -> Response {
    typed(status, "application/json; charset=utf-8", body.to_string())
}

pub(crate) fn typed(status: u16, content_type: &'static str, body: impl Into<String>) -> Response {
    let mut response = body.into().into_response();
    *response.status_mut() = status.try_into().unwrap();
    response.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
    response
}

/// Status without a body, as ComfyUI answers where it has nothing to say.
pub(crate) fn empty(status: u16) -> Response {
    let status: axum::http::StatusCode = status.try_into().unwrap();
    status.into_response()
}

pub(crate) fn html(status: u16) -> Response {
    typed(status, "text/html", "<html>Sign in</html>")
}

/// The whole chain of an error, as it would be logged, and its `Debug`.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error:?}");
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        text.push_str(&format!(" | {error}"));
        next = error.source();
    }
    text
}
