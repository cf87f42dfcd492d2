//! What became of a prompt: one entry of ComfyUI's history. Owns the decision between success, failure and
//! interruption, which the entry's own `status_str` gets wrong.

mod raw;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use self::raw::{HistoryAnswer, RawEntry};
use crate::{
    client::ComfyClient,
    error::CallError,
    failure::{ExecutionFailure, id_text},
    output::{NodeOutput, items_of},
};

/// A prompt that has ended, as the history shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// How it ended.
    pub outcome: Outcome,
    /// What it produced. Failed runs list what was finished before; servers up to 0.3.67 may list cached results of
    /// earlier runs too.
    pub outputs: Vec<NodeOutput>,
    /// What was sent as `extra_data`; null if the entry does not hold it.
    pub extra_data: Value,
    /// When it started, in milliseconds since 1970 by the server's clock.
    pub started_at_ms: Option<i64>,
    /// When it ended, in milliseconds since 1970 by the server's clock.
    pub ended_at_ms: Option<i64>,
    /// Nodes whose results were taken from the cache.
    pub cached_nodes: Vec<String>,
}

/// How a prompt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ran to its end. It may still have produced nothing.
    Succeeded,
    /// A node failed.
    Failed(ExecutionFailure),
    /// Somebody interrupted it.
    Interrupted,
    /// The entry exists, but does not say.
    Unknown,
}

impl ComfyClient {
    /// `GET /history/{id}`: how a prompt ended; `None` while it waits or runs, and if the server does not know it.
    ///
    /// # Errors
    /// [`CallError`] as for every call. An entry that the server cannot write as JSON is a 500 until it is deleted.
    pub async fn history(&self, prompt_id: &str) -> Result<Option<HistoryEntry>, CallError> {
        let answer: HistoryAnswer = self.transport().get_json("GET /history", &["history", prompt_id]).await?;
        Ok(answer.into_entry(prompt_id).map(HistoryEntry::from_raw))
    }

    /// `GET /history` with `max_items`: among the latest `count` entries the one whose `extra_data` is `wanted`, with the
    /// id of its prompt. For servers that name prompts themselves.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn find_in_history(
        &self,
        count: u32,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Option<(String, HistoryEntry)>, CallError> {
        let mut latest = self.latest(count).await?;
        Ok(latest.find(|(_, entry)| wanted(&entry.extra_data)))
    }

    /// `GET /history` with `max_items`: the ids of the latest `count` prompts that have ended, each with its `extra_data`.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn latest_in_history(&self, count: u32) -> Result<Vec<(String, Value)>, CallError> {
        let latest = self.latest(count).await?;
        Ok(latest.map(|(id, entry)| (id, entry.extra_data)).collect())
    }

    async fn latest(&self, count: u32) -> Result<impl Iterator<Item = (String, HistoryEntry)>, CallError> {
        let count = count.to_string();
        let answer = self.transport().get(&["history"], &[("max_items", &count)]).await?;
        let answer: HistoryAnswer = self.transport().read_json("GET /history", answer).await?;
        Ok(answer.into_entries().map(|(id, raw)| (id, HistoryEntry::from_raw(raw))))
    }

    /// `POST /history` with `delete`: forgets one entry. Files stay. Unknown ids are fine.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn delete_history(&self, prompt_id: &str) -> Result<(), CallError> {
        self.delete_history_entries(&[prompt_id]).await
    }

    /// `POST /history` with `delete`: forgets several entries in one call.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn delete_history_entries(&self, prompt_ids: &[&str]) -> Result<(), CallError> {
        self.transport().post(&["history"], &json!({"delete": prompt_ids})).await.map(drop)
    }
}

impl HistoryEntry {
    fn from_raw(raw: RawEntry) -> Self {
        let status = &raw.status;
        let find = |names: &[&str]| messages(status).find(|(name, _)| names.contains(name)).map(|(_, data)| data);
        let timestamp = |data: Option<&Value>| data.and_then(|data| data.get("timestamp")).and_then(Value::as_i64);
        let cached = find(&["execution_cached"]).and_then(|data| data.get("nodes")).and_then(Value::as_array);
        Self {
            outcome: decide(status),
            outputs: collect_outputs(&raw),
            started_at_ms: timestamp(find(&["execution_start"])),
            ended_at_ms: timestamp(find(&["execution_interrupted", "execution_error", "execution_success"])),
            cached_nodes: cached.into_iter().flatten().filter_map(id_text).collect(),
            extra_data: raw.prompt.0.map(|prompt| prompt.extra_data).unwrap_or_default(),
        }
    }
}

/// The `[name, data]` messages of a status.
fn messages(status: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let list = status.get("messages").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|message| match message.as_array()?.as_slice() {
        [Value::String(name), data, ..] => Some((name.as_str(), data)),
        _ => None,
    })
}

/// Messages are trusted before `status_str` and `completed`: an interruption is filed as "error", and a loop found
/// during a run keeps the flag of the run before.
fn decide(status: &Value) -> Outcome {
    let mut outcome = None;
    for (name, data) in messages(status) {
        match name {
            "execution_interrupted" => return Outcome::Interrupted,
            "execution_error" if !is_blocked(data) => {
                outcome = Some(Outcome::Failed(ExecutionFailure::from_data(data)))
            }
            "execution_success" if outcome.is_none() => outcome = Some(Outcome::Succeeded),
            _ => {}
        }
    }
    outcome.unwrap_or_else(|| match (status.get("status_str").and_then(Value::as_str), status.get("completed")) {
        (Some("error"), _) => Outcome::Failed(ExecutionFailure::unexplained()),
        (Some("success"), _) | (None, Some(Value::Bool(true))) => Outcome::Succeeded,
        _ => Outcome::Unknown,
    })
}

/// A node that was told not to run reports an error, but the run goes on.
pub(crate) fn is_blocked(data: &Value) -> bool {
    data.get("exception_type").and_then(Value::as_str) == Some("ExecutionBlocked")
}

fn collect_outputs(raw: &RawEntry) -> Vec<NodeOutput> {
    let mut outputs = Vec::new();
    for (id, output) in raw.outputs.as_object().into_iter().flatten() {
        let Some(output) = output.as_object() else { continue };
        let node_id = workflow_node(&raw.meta, id);
        let items = items_of(output).into_iter();
        outputs.extend(items.map(|(key, item)| NodeOutput { node_id: node_id.clone(), key, item }));
    }
    outputs
}

/// The node of the sent workflow behind an id that may have come up during the run.
fn workflow_node(meta: &Value, id: &str) -> String {
    let of_node = meta.get(id);
    let named = |key: &str| of_node?.get(key).and_then(id_text);
    named("real_node_id").or_else(|| named("display_node")).unwrap_or_else(|| id.to_owned())
}
