//! `POST /prompt`. Owns the one question that matters afterwards: was it queued, was it certainly not, or is that unknown.
//! Never sends a prompt twice.

use std::fmt;

use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    client::ComfyClient,
    error::CallError,
    failure::id_text,
    prompt::PreparedPrompt,
    refusal::Refusal,
    transport::{Answer, BodyKind, send, status_error},
};

const OPERATION: &str = "POST /prompt";

/// What goes along with a prompt. `Debug` leaves out `extra_data`, which may hold credentials.
#[derive(Clone)]
pub struct SubmitOptions {
    /// Id for this attempt; make a new one for each.
    pub prompt_id: Uuid,
    /// Client id of the [`EventStream`](crate::EventStream) that shall get the events. Without one, most events are lost and the
    /// others go to everybody.
    pub client_id: Option<String>,
    /// Kept by the server and shown in queue and history. A `client_id` in here and a null `extra_pnginfo` are not sent: the
    /// first can end the server process, the second makes it fail later.
    pub extra_data: Map<String, Value>,
}

impl SubmitOptions {
    /// Options with a fresh id and nothing else.
    pub fn new() -> Self {
        Self { prompt_id: Uuid::new_v4(), client_id: None, extra_data: Map::new() }
    }
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SubmitOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SubmitOptions")
            .field("prompt_id", &self.prompt_id)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// The server has queued the whole prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The id to use from now on: the one that was sent, or the server's own before 0.3.45.
    pub prompt_id: String,
    /// Its place in the order of priority: lower runs first.
    pub number: f64,
    /// Whether `prompt_id` is the one that was sent.
    pub own_id: bool,
}

/// A prompt that was not, or maybe not, or only partly queued.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The server found faults. With [`Refusal::partial`] a part of it **is queued**.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// It may or may not be queued: look into queue and history before sending it again.
    #[error("it is unknown whether ComfyUI took the workflow")]
    Unknown(#[source] CallError),
    /// Certainly not sent.
    #[error("ComfyUI could not be reached, so the workflow was not sent")]
    Unreachable(#[source] CallError),
    /// The server does not take bodies of that size; not queued.
    #[error("the workflow is larger than this ComfyUI accepts")]
    TooLarge,
    /// Something that is not ComfyUI answered, or it wants credentials; not queued. Holds a sentence.
    #[error("{0}")]
    Misconfigured(String),
}

#[derive(Serialize)]
struct Body<'a> {
    prompt: &'a Map<String, Value>,
    prompt_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    extra_data: &'a Map<String, Value>,
}

impl ComfyClient {
    /// `POST /prompt`: queues a prompt. Sends once and never repeats.
    ///
    /// # Errors
    /// [`SubmitError`] tells whether the prompt is queued in part, maybe, or certainly not.
    pub async fn submit(&self, prompt: &PreparedPrompt, options: &SubmitOptions) -> Result<Accepted, SubmitError> {
        let sent_id = options.prompt_id.hyphenated().to_string();
        let body = encode(prompt, options, &sent_id)?;
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if self.capabilities().and_then(|known| known.max_upload_size).is_some_and(|limit| length > limit) {
            return Err(SubmitError::TooLarge);
        }
        let url = self.transport().url(&["prompt"]).map_err(not_sent)?;
        let request = self.transport().upload(url, length).header(CONTENT_TYPE, "application/json").body(body);
        let answer = send(request).await.map_err(not_sent)?;
        match (answer.status.as_u16(), answer.body) {
            (200..=299, BodyKind::Html) => Err(SubmitError::Misconfigured(
                "a web page came back instead of ComfyUI's answer: the address leads to another program".to_owned(),
            )),
            (200..=299, _) => self.read_accepted(answer, &sent_id).await,
            (400, BodyKind::Json) => Err(self.read_refused(answer).await),
            (413, _) => Err(SubmitError::TooLarge),
            _ => Err(failed(&answer)),
        }
    }

    async fn read_accepted(&self, answer: Answer, sent_id: &str) -> Result<Accepted, SubmitError> {
        let body: Value = self.transport().read_json(OPERATION, answer).await.map_err(SubmitError::Unknown)?;
        let Some(prompt_id) = body.get("prompt_id").and_then(id_text) else {
            let reason = "there is no prompt_id".to_owned();
            return Err(SubmitError::Unknown(CallError::Malformed { operation: OPERATION, reason }));
        };
        if let Some(refusal) = Refusal::from_accepted_body(&body, &prompt_id) {
            return Err(SubmitError::Refused(Box::new(refusal)));
        }
        let number = body.get("number").and_then(Value::as_f64).unwrap_or_default();
        Ok(Accepted { own_id: prompt_id == sent_id, prompt_id, number })
    }

    async fn read_refused(&self, answer: Answer) -> SubmitError {
        match self.transport().read_json::<Value>(OPERATION, answer).await {
            Ok(body) => match Refusal::from_error_body(&body) {
                Some(refusal) => SubmitError::Refused(Box::new(refusal)),
                None => SubmitError::Misconfigured(FOREIGN_400.to_owned()),
            },
            Err(error) => SubmitError::Unknown(error),
        }
    }
}

const FOREIGN_400: &str = "the request was refused in a way that is not ComfyUI's: a proxy or another program answers";

fn encode(prompt: &PreparedPrompt, options: &SubmitOptions, sent_id: &str) -> Result<Vec<u8>, SubmitError> {
    let mut extra_data = options.extra_data.clone();
    extra_data.shift_remove("client_id");
    // Other than an object that holds a workflow, it breaks the server's list of jobs.
    let sound = |info: &Value| info.is_object() && !info.get("workflow").is_some_and(Value::is_null);
    if extra_data.get("extra_pnginfo").is_some_and(|info| !sound(info)) {
        extra_data.shift_remove("extra_pnginfo");
    }
    let body = Body {
        prompt: prompt.graph(),
        prompt_id: sent_id.to_owned(),
        client_id: options.client_id.as_deref(),
        extra_data: &extra_data,
    };
    // Values of serde_json always encode; a failure still must not count as sent.
    serde_json::to_vec(&body)
        .map_err(|_never| SubmitError::Misconfigured("the workflow cannot be written as JSON".to_owned()))
}

/// A failure before an answer came.
fn not_sent(error: CallError) -> SubmitError {
    match error {
        CallError::Unreachable { .. } | CallError::BuildRequest { .. } | CallError::InvalidArgument { .. } => {
            SubmitError::Unreachable(error)
        }
        _ => SubmitError::Unknown(error),
    }
}

/// A status that ComfyUI does not use for refusals.
fn failed(answer: &Answer) -> SubmitError {
    match status_error(answer.status, answer.body) {
        CallError::Misconfigured { reason, .. } => SubmitError::Misconfigured(reason.to_owned()),
        CallError::Status { status: 400, .. } => SubmitError::Misconfigured(FOREIGN_400.to_owned()),
        CallError::Status { status: 404 | 405, .. } => SubmitError::Misconfigured(
            "there is no ComfyUI at this address: it does not know POST /prompt (is the path prefix right?)".to_owned(),
        ),
        error => SubmitError::Unknown(error),
    }
}
