//! Starts simulators and speaks to them. Every wait has a deadline; none is a fixed sleep.

use std::time::Duration;

use bytes::Bytes;
use comfyui_sim::{SimConfig, Simulator, Switches};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const DEADLINE: Duration = Duration::from_secs(20);

/// An answer, read to its end.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

/// A running simulator with a client.
pub(crate) struct Server {
    pub(crate) sim: Simulator,
    pub(crate) http: reqwest::Client,
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(DEADLINE).pool_max_idle_per_host(0).build().unwrap()
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(SimConfig::default()).await
    }

    pub(crate) async fn switched(change: impl FnOnce(&mut Switches)) -> Self {
        let server = Self::start().await;
        server.sim.update(change);
        server
    }

    pub(crate) async fn with(config: SimConfig) -> Self {
        Self { sim: Simulator::start(config).await.unwrap(), http: client() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.sim.url()))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        read(self.request(Method::GET, path)).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        read(self.request(Method::POST, path).body(body)).await.unwrap()
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Reply {
        self.post(path, body.to_string()).await
    }

    /// Queues a prompt that must be accepted; returns its id.
    pub(crate) async fn submit(&self, body: Value) -> String {
        let reply = self.post_json("/prompt", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["prompt_id"].as_str().unwrap().to_owned()
    }

    /// The history entry of a prompt, as soon as there is one.
    pub(crate) async fn finished(&self, prompt_id: &str) -> Value {
        let path = format!("/history/{prompt_id}");
        let found = wait_for(async || {
            let mut entries = self.get(&path).await.json();
            entries.as_object_mut()?.remove(prompt_id)
        });
        found.await
    }

    /// Runs a prompt to its end.
    pub(crate) async fn run(&self, prompt: Value) -> Value {
        let prompt_id = self.submit(json!({"prompt": prompt})).await;
        self.finished(&prompt_id).await
    }

    pub(crate) async fn remaining(&self) -> u64 {
        self.get("/prompt").await.json()["exec_info"]["queue_remaining"].as_u64().unwrap()
    }

    pub(crate) async fn idle(&self) {
        wait_for(async || (self.remaining().await == 0).then_some(())).await;
    }

    pub(crate) async fn running(&self, prompt_id: &str) {
        wait_for(async || (self.get("/queue").await.json()["queue_running"][0][1] == prompt_id).then_some(())).await;
    }

    pub(crate) async fn socket(&self, client_id: &str) -> Socket {
        let mut socket = Socket::open(&self.sim.url(), client_id).await;
        socket.sid = socket.next_json().await["data"]["sid"].as_str().unwrap().to_owned();
        socket
    }

    /// Uploads bytes as a file.
    pub(crate) async fn upload(&self, name: &str, bytes: Vec<u8>, fields: &[(&str, &str)]) -> Reply {
        let part = reqwest::multipart::Part::bytes(bytes).file_name(name.to_owned());
        let mut form = reqwest::multipart::Form::new().part("image", part);
        for (name, value) in fields {
            form = form.text((*name).to_owned(), (*value).to_owned());
        }
        read(self.request(Method::POST, "/upload/image").multipart(form)).await.unwrap()
    }

    /// The bytes of the first picture of an entry.
    pub(crate) async fn first_picture(&self, entry: &Value) -> Bytes {
        let outputs = entry["outputs"].as_object().unwrap();
        let file = &outputs.values().next().unwrap()["images"][0];
        let (name, subfolder) = (file["filename"].as_str().unwrap(), file["subfolder"].as_str().unwrap());
        let kind = file["type"].as_str().unwrap();
        let request = self.request(Method::GET, "/view");
        let reply = read(request.query(&[("filename", name), ("subfolder", subfolder), ("type", kind)])).await.unwrap();
        assert_eq!(reply.status, 200);
        reply.body
    }
}

pub(crate) async fn read(request: RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    Ok(Reply { status, kind, headers, body: response.bytes().await? })
}

/// Asks again until there is an answer.
pub(crate) async fn wait_for<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.expect("the condition came true in time")
}

/// One frame of the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    Json(Value),
    Binary(Bytes),
    Closed,
}

/// The client's end of a websocket.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) sid: String,
}

impl Socket {
    pub(crate) async fn open(url: &str, client_id: &str) -> Self {
        let url = format!("{}/ws?clientId={client_id}", url.replacen("http", "ws", 1));
        let connecting = tokio_tungstenite::connect_async(url);
        let (stream, _) = tokio::time::timeout(DEADLINE, connecting).await.unwrap().unwrap();
        Self { stream, sid: String::new() }
    }

    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            let message = tokio::time::timeout(DEADLINE, self.stream.next()).await.expect("a frame comes in time");
            return match message {
                Some(Ok(Message::Text(text))) => Frame::Json(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes),
                Some(Ok(Message::Close(_)) | Err(_)) | None => Frame::Closed,
                Some(Ok(_)) => continue,
            };
        }
    }

    pub(crate) async fn next_json(&mut self) -> Value {
        match self.next().await {
            Frame::Json(value) => value,
            other => panic!("{other:?} is no JSON"),
        }
    }

    /// Everything up to the first message of a type, that one included.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Frame> {
        self.until_match(|message| message["type"] == kind).await
    }

    pub(crate) async fn until_match(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            assert_ne!(frame, Frame::Closed, "closed after {frames:?}");
            let found = matches!(&frame, Frame::Json(message) if wanted(message));
            frames.push(frame);
            if found {
                return frames;
            }
        }
    }

    /// Everything of one prompt, up to its end.
    pub(crate) async fn until_end(&mut self) -> Vec<Frame> {
        self.until_match(|message| message["type"] == "executing" && message["data"]["node"].is_null()).await
    }

    pub(crate) async fn send(&mut self, value: &Value) {
        self.send_text(&value.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.try_send_text(text).await.unwrap();
    }

    pub(crate) async fn try_send_text(&mut self, text: &str) -> tokio_tungstenite::tungstenite::Result<()> {
        self.stream.send(Message::text(text.to_owned())).await
    }

    /// Proves that nothing came before this point: the server answers a ping behind all it has sent.
    pub(crate) async fn is_silent(&mut self) -> bool {
        self.stream.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
        loop {
            match tokio::time::timeout(DEADLINE, self.stream.next()).await.expect("a pong comes in time") {
                Some(Ok(Message::Pong(_))) => return true,
                Some(Ok(Message::Text(_) | Message::Binary(_))) => return false,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn close(mut self) {
        let _ = self.stream.close(None).await;
        while let Some(Ok(_)) = self.stream.next().await {}
    }
}

/// The types of JSON messages, in order.
pub(crate) fn types(frames: &[Frame]) -> Vec<&str> {
    let types = frames.iter().filter_map(|frame| match frame {
        Frame::Json(message) => message["type"].as_str(),
        _ => None,
    });
    types.collect()
}

pub(crate) fn messages<'a>(frames: &'a [Frame], kind: &str) -> Vec<&'a Value> {
    let messages = frames.iter().filter_map(|frame| match frame {
        Frame::Json(message) if message["type"] == kind => Some(&message["data"]),
        _ => None,
    });
    messages.collect()
}

/// EmptyImage → SaveImage.
pub(crate) fn small(colour: u32) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": colour}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "small"}},
    })
}

/// A whole text-to-image graph.
pub(crate) fn sampler(seed: u64, steps: u32, text: &str) -> Value {
    json!({
        "3": {"class_type": "KSampler", "inputs": {"seed": seed, "steps": steps, "cfg": 7.0, "sampler_name": "euler",
            "scheduler": "normal", "denoise": 1, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
            "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-random.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 128, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "ks"}},
    })
}

/// A prompt that runs until it is interrupted; needs `step_ms`.
pub(crate) fn endless(seed: u64) -> Value {
    sampler(seed, 10_000, "endless")
}
