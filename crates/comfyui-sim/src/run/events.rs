//! The events of one prompt: their JSON, their order of fields, and who gets them.
//! Also keeps what goes into the history entry.

use std::sync::Arc;

use axum::extract::ws::Message;
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use crate::config::Profile;
use crate::hub::Kind;
use crate::life::Life;
use crate::pyjson;

/// The most that a preview is padded to.
const LARGEST_PREVIEW: usize = 64 << 20;

/// How far a node is.
#[derive(Debug, Clone)]
struct Progress {
    node: String,
    value: Value,
    max: Value,
    finished: bool,
}

/// What a preview shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PreviewFormat {
    Jpeg,
    Png,
}

/// Speaks for one prompt.
pub(super) struct Events {
    life: Arc<Life>,
    prompt_id: String,
    client: Option<Arc<str>>,
    progress: Vec<Progress>,
    messages: Vec<Value>,
}

impl Events {
    pub(super) fn new(life: Arc<Life>, prompt_id: &str, client: Option<&str>) -> Self {
        let client = client.map(Arc::from);
        Self { life, prompt_id: prompt_id.to_owned(), client, progress: Vec::new(), messages: Vec::new() }
    }

    pub(super) fn into_messages(self) -> Vec<Value> {
        self.messages
    }

    pub(super) fn has_client(&self) -> bool {
        self.client.is_some()
    }

    /// To the client of the prompt; to nobody without one.
    pub(super) fn to_client(&self, name: &str, data: &Value) {
        if let Some(client) = &self.client
            && self.life.hub.has_listener(Some(client))
        {
            self.life.hub.send(Some(client), Kind::Event, Message::text(event(name, data)));
        }
    }

    /// To the client of the prompt; to all without one.
    fn to_client_or_all(&self, kind: Kind, message: impl FnOnce() -> Message) {
        if self.life.hub.has_listener(self.client.as_deref()) {
            self.life.hub.send(self.client.as_ref(), kind, message());
        }
    }

    /// A message that the history keeps, with a timestamp. `broadcast`: without a client it goes to all.
    pub(super) fn record(&mut self, name: &str, mut data: Map<String, Value>, broadcast: bool) {
        data.insert("timestamp".to_owned(), Value::from(self.life.now()));
        let data = Value::Object(data);
        if broadcast {
            self.to_client_or_all(Kind::Event, || Message::text(event(name, &data)));
        } else {
            self.to_client(name, &data);
        }
        self.messages.push(json!([name, data]));
    }

    /// The error of a blocked node: to the client of the prompt, to all without one.
    pub(super) fn blocked(&self, data: &Value) {
        self.to_client_or_all(Kind::Event, || Message::text(event("execution_error", data)));
    }

    pub(super) fn executing(&self, node: &str) {
        self.to_client("executing", &json!({"node": node, "display_node": node, "prompt_id": self.prompt_id}));
    }

    /// The end of a prompt, after its history entry.
    pub(super) fn executing_nothing(life: &Life, prompt_id: &str, client: Option<&str>) {
        if let Some(client) = client {
            let data = json!({"node": null, "prompt_id": prompt_id});
            let client = Arc::from(client);
            life.hub.send(Some(&client), Kind::Event, Message::text(event("executing", &data)));
        }
    }

    pub(super) fn executed(&self, node: &str, output: Option<&Map<String, Value>>) {
        let data = json!({"node": node, "display_node": node, "output": output, "prompt_id": self.prompt_id});
        self.to_client("executed", &data);
    }

    /// A node begins.
    pub(super) fn start(&mut self, node: &str) {
        self.set(node, Value::from(0.0), Value::from(1.0), false);
        self.progress_state();
    }

    /// A node is done.
    pub(super) fn finish(&mut self, node: &str) {
        match self.progress.iter_mut().find(|progress| progress.node == node) {
            Some(progress) => {
                progress.value = progress.max.clone();
                progress.finished = true;
            }
            // What comes from the cache never began: its numbers are whole.
            None => self.set(node, Value::from(1), Value::from(1), true),
        }
        self.progress_state();
    }

    fn set(&mut self, node: &str, value: Value, max: Value, finished: bool) {
        match self.progress.iter_mut().find(|progress| progress.node == node) {
            Some(progress) => {
                progress.value = value;
                progress.max = max;
            }
            None => self.progress.push(Progress { node: node.to_owned(), value, max, finished }),
        }
    }

    /// A step of a node, with its picture if there is one.
    pub(super) fn step(&mut self, node: &str, step: (u32, u32), preview: Option<(PreviewFormat, Bytes)>) {
        let (value, max) = step;
        self.set(node, Value::from(value), Value::from(max), false);
        self.progress_state();
        let metadata = self.life.profile >= Profile::V0_3_64 && self.life.hub.wants_metadata(self.client.as_deref());
        if let (true, Some((format, picture))) = (metadata, &preview) {
            self.to_client_or_all(Kind::Preview, || Message::Binary(self.described_preview(node, *format, picture)));
        }
        let data = json!({"value": value, "max": max, "prompt_id": self.prompt_id, "node": node});
        self.to_client_or_all(Kind::Progress, || Message::text(event("progress", &data)));
        if let (false, Some((format, picture))) = (metadata, &preview) {
            self.to_client_or_all(Kind::Preview, || Message::Binary(plain_preview(*format, picture)));
        }
    }

    /// A text of a node; it always goes to all.
    pub(super) fn text(&self, node: &str, text: &str) {
        let mut frame = BytesMut::new();
        frame.put_u32(3);
        frame.put_u32(u32::try_from(node.len()).unwrap_or(0));
        frame.put_slice(node.as_bytes());
        frame.put_slice(text.as_bytes());
        self.life.hub.send(None, Kind::Event, Message::Binary(frame.freeze()));
    }

    fn progress_state(&self) {
        if self.life.profile < Profile::V0_3_64 {
            return;
        }
        self.to_client_or_all(Kind::Progress, || {
            let mut id = String::new();
            pyjson::write_str(&mut id, &self.prompt_id);
            let mut text = String::with_capacity(128 + 256 * self.progress.len());
            text.push_str("{\"type\": \"progress_state\", \"data\": {\"prompt_id\": ");
            text.push_str(&id);
            text.push_str(", \"nodes\": {");
            for (place, progress) in self.progress.iter().enumerate() {
                if place > 0 {
                    text.push_str(", ");
                }
                progress.write(&mut text, &id);
            }
            text.push_str("}}}");
            Message::text(text)
        });
    }

    fn described_preview(&self, node: &str, format: PreviewFormat, picture: &Bytes) -> Bytes {
        let kind = if format == PreviewFormat::Jpeg { "image/jpeg" } else { "image/png" };
        let about = pyjson::to_string(&json!({
            "node_id": node, "prompt_id": self.prompt_id, "display_node_id": node, "parent_node_id": null,
            "real_node_id": node, "image_type": kind,
        }));
        let mut frame = BytesMut::with_capacity(8 + about.len() + picture.len());
        frame.put_u32(4);
        frame.put_u32(u32::try_from(about.len()).unwrap_or(0));
        frame.put_slice(about.as_bytes());
        frame.put_slice(picture);
        frame.freeze()
    }

    /// Progress of a prompt that does not exist here.
    pub(super) fn foreign(&self) {
        let data = json!({"value": 7, "max": 9, "prompt_id": uuid::Uuid::new_v4(), "node": "999"});
        self.life.hub.send(None, Kind::Progress, Message::text(event("progress", &data)));
    }

    /// What a client has never heard of.
    pub(super) fn unknown(&self) {
        let monitor = json!({"cpu_utilization": 7.5, "gpus": [{"vram_used_percent": 12}]});
        self.life.hub.send(None, Kind::Event, Message::text(event("crystools.monitor", &monitor)));
        self.life.hub.send(None, Kind::Event, Message::Binary(Bytes::from_static(b"\0\0\0\x63from the future")));
    }
}

impl Progress {
    fn write(&self, text: &mut String, prompt_id: &str) {
        let mut node = String::new();
        pyjson::write_str(&mut node, &self.node);
        text.push_str(&node);
        text.push_str(": {\"value\": ");
        pyjson::write_value(text, &self.value);
        text.push_str(", \"max\": ");
        pyjson::write_value(text, &self.max);
        text.push_str(if self.finished { ", \"state\": \"finished\"" } else { ", \"state\": \"running\"" });
        for (name, value) in [
            ("node_id", node.as_str()),
            ("prompt_id", prompt_id),
            ("display_node_id", &node),
            ("parent_node_id", "null"),
            ("real_node_id", &node),
        ] {
            text.push_str(", \"");
            text.push_str(name);
            text.push_str("\": ");
            text.push_str(value);
        }
        text.push('}');
    }
}

fn event(name: &str, data: &Value) -> String {
    let mut text = String::with_capacity(256);
    text.push_str("{\"type\": \"");
    text.push_str(name);
    text.push_str("\", \"data\": ");
    pyjson::write_value(&mut text, data);
    text.push('}');
    text
}

fn plain_preview(format: PreviewFormat, picture: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + picture.len());
    frame.put_u32(1);
    frame.put_u32(if format == PreviewFormat::Jpeg { 1 } else { 2 });
    frame.put_slice(picture);
    frame.freeze()
}

/// Adds zeros behind a picture, which decoders ignore.
pub(super) fn padded(mut picture: Vec<u8>, at_least: u64) -> Bytes {
    let wanted = usize::try_from(at_least).unwrap_or(LARGEST_PREVIEW).min(LARGEST_PREVIEW);
    if picture.len() < wanted {
        picture.resize(wanted, 0);
    }
    picture.into()
}
