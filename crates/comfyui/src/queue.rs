//! ComfyUI's queue: what runs, what waits and in which order. Owns reading and removing entries;
//! stopping something that runs is `cancel`'s work. The prompts inside are skipped while reading: they can be large.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{Value, json};

use crate::{client::ComfyClient, error::CallError, failure::id_text};

const CREDENTIAL_KEYS: [&str; 2] = ["auth_token_comfy_org", "api_key_comfy_org"];

/// One prompt in the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueItem {
    /// Priority: lower runs first.
    pub number: f64,
    /// Id of the prompt.
    pub prompt_id: String,
    /// What was sent as `extra_data`, with `client_id` added and credentials of API nodes taken out.
    pub extra_data: Value,
}

/// The queue at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueSnapshot {
    /// What runs: one prompt at most.
    pub running: Vec<QueueItem>,
    /// What waits, in execution order.
    pub pending: Vec<QueueItem>,
}

/// Where a prompt is in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuePlace {
    /// It runs.
    Running,
    /// It waits behind this many other waiting prompts.
    Pending(usize),
}

impl QueueSnapshot {
    /// Where a prompt is; `None` if it neither runs nor waits.
    pub fn find(&self, prompt_id: &str) -> Option<QueuePlace> {
        if self.running.iter().any(|item| item.prompt_id == prompt_id) {
            return Some(QueuePlace::Running);
        }
        self.pending.iter().position(|item| item.prompt_id == prompt_id).map(QueuePlace::Pending)
    }

    /// Number of prompts that run or wait.
    pub fn len(&self) -> usize {
        self.running.len() + self.pending.len()
    }

    /// Whether nothing runs and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Deserialize)]
struct RawQueue {
    queue_running: Vec<QueueItem>,
    queue_pending: Vec<QueueItem>,
}

impl From<RawQueue> for QueueSnapshot {
    fn from(raw: RawQueue) -> Self {
        let mut pending = raw.queue_pending;
        // The server sends its heap as it lies in memory, which is not the order of execution.
        pending.sort_by(|a, b| a.number.total_cmp(&b.number).then_with(|| a.prompt_id.cmp(&b.prompt_id)));
        Self { running: raw.queue_running, pending }
    }
}

/// The head of `[number, prompt_id, prompt, extra_data, outputs, …]` as the queue and the history hold it.
pub(crate) struct PromptTuple {
    pub(crate) number: f64,
    pub(crate) prompt_id: String,
    pub(crate) extra_data: Value,
}

impl<'de> Deserialize<'de> for PromptTuple {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TupleVisitor)
    }
}

impl<'de> Deserialize<'de> for QueueItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let PromptTuple { number, prompt_id, extra_data } = PromptTuple::deserialize(deserializer)?;
        Ok(Self { number, prompt_id, extra_data })
    }
}

struct TupleVisitor;

impl<'de> Visitor<'de> for TupleVisitor {
    type Value = PromptTuple;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array [number, prompt_id, prompt, extra_data, outputs]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut tuple: A) -> Result<PromptTuple, A::Error> {
        // A number that is not finite comes as null; it has no defined place in the order.
        let number = tuple.next_element::<Option<f64>>()?.flatten().unwrap_or_default();
        let prompt_id = tuple.next_element::<Value>()?.as_ref().and_then(id_text);
        let prompt_id = prompt_id.ok_or_else(|| serde::de::Error::custom("no prompt_id"))?;
        tuple.next_element::<IgnoredAny>()?;
        let mut extra_data = tuple.next_element::<Value>()?.unwrap_or_default();
        if let Some(fields) = extra_data.as_object_mut() {
            // Servers before 0.3.67 show these to everybody who reads the queue.
            fields.retain(|key, _| !CREDENTIAL_KEYS.contains(&key.as_str()));
        }
        while tuple.next_element::<IgnoredAny>()?.is_some() {}
        Ok(PromptTuple { number, prompt_id, extra_data })
    }
}

impl ComfyClient {
    /// `GET /queue`: everything that runs or waits, other clients' prompts included.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn queue(&self) -> Result<QueueSnapshot, CallError> {
        let raw: RawQueue = self.transport().get_json("GET /queue", &["queue"]).await?;
        Ok(raw.into())
    }

    /// `POST /queue` with `delete`: removes waiting prompts. Does nothing to running, finished or unknown ones, and
    /// the server does not tell which it removed.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn delete_queued(&self, prompt_ids: &[&str]) -> Result<(), CallError> {
        self.transport().post(&["queue"], &json!({"delete": prompt_ids})).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn snapshot(text: &str) -> QueueSnapshot {
        json::parse::<RawQueue>(text.as_bytes()).unwrap().into()
    }

    #[test]
    fn waiting_prompts_are_put_into_execution_order() {
        let pending: Vec<String> =
            [("front2", -7.0), ("front1", -6.0), ("num0", 0.0), ("n2", 2.0), ("num-5.5", -5.5), ("n1", 1.0)]
                .iter()
                .map(|(id, number)| format!("[{number}, \"{id}\", {{}}, {{}}, []]"))
                .collect();
        let queue = snapshot(&format!(r#"{{"queue_running": [], "queue_pending": [{}]}}"#, pending.join(",")));
        let order: Vec<&str> = queue.pending.iter().map(|item| item.prompt_id.as_str()).collect();
        assert_eq!(order, ["front2", "front1", "num-5.5", "num0", "n1", "n2"]);
        assert_eq!(queue.find("num0"), Some(QueuePlace::Pending(3)));
        assert_eq!(queue.find("absent"), None);
    }

    #[test]
    fn items_are_read_whatever_their_length_and_with_bare_non_numbers_inside() {
        let queue = snapshot(
            r#"{"queue_running": [[18, "run", {"1": {"inputs": {"x": NaN}}}, {"client_id": "c", "own": 18446744073709551615}, ["9"], {"secret": 1}]],
                "queue_pending": [[19, "wait", {}]], "more": true}"#,
        );
        assert_eq!(queue.find("run"), Some(QueuePlace::Running));
        assert_eq!(queue.running[0].extra_data["own"].as_u64(), Some(u64::MAX));
        assert_eq!(queue.running[0].number, 18.0);
        assert_eq!(queue.pending[0].extra_data, Value::Null);
        assert_eq!(queue.len(), 2);
        assert!(!queue.is_empty() && QueueSnapshot::default().is_empty());
    }

    #[test]
    fn credentials_of_other_clients_are_not_kept() {
        let queue = snapshot(
            r#"{"queue_running": [[1, "a", {}, {"api_key_comfy_org": "key-1", "auth_token_comfy_org": "tok-1", "own": 1}, []]],
                "queue_pending": []}"#,
        );
        let text = format!("{queue:?}");
        assert!(!text.contains("key-1") && !text.contains("tok-1") && text.contains("own"), "{text}");
    }

    #[test]
    fn an_answer_that_is_no_queue_is_an_error_rather_than_an_empty_queue() {
        for bad in ["{}", r#"{"queue_running": []}"#, r#"{"queue_running": [[1]], "queue_pending": []}"#, "[]"] {
            assert!(json::parse::<RawQueue>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
