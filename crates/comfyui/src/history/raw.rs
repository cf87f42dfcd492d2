//! The history answer as it comes over the wire: `{id: entry}`, or leniently a bare entry.
//! Skips the prompt's graph while reading. Draws no conclusions.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::Value;

use crate::queue::PromptTuple;

/// One entry; absent parts are null.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawEntry {
    pub(super) prompt: MaybeTuple,
    pub(super) outputs: Value,
    pub(super) status: Value,
    pub(super) meta: Value,
}

/// The prompt of an entry, if it has the known form.
#[derive(Default)]
pub(super) struct MaybeTuple(pub(super) Option<PromptTuple>);

impl<'de> Deserialize<'de> for MaybeTuple {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaybeTupleVisitor)
    }
}

struct MaybeTupleVisitor;

impl<'de> Visitor<'de> for MaybeTupleVisitor {
    type Value = MaybeTuple;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a prompt")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, tuple: A) -> Result<MaybeTuple, A::Error> {
        PromptTuple::deserialize(SeqAccessDeserializer::new(tuple)).map(|tuple| MaybeTuple(Some(tuple)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MaybeTuple, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(MaybeTuple(None))
    }

    fn visit_unit<E>(self) -> Result<MaybeTuple, E> {
        Ok(MaybeTuple(None))
    }

    fn visit_str<E>(self, _text: &str) -> Result<MaybeTuple, E> {
        Ok(MaybeTuple(None))
    }
}

/// The value of a key that is none of an entry's own: an entry if it is an object, else nothing.
struct MaybeEntry(Option<RawEntry>);

impl<'de> Deserialize<'de> for MaybeEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaybeEntryVisitor)
    }
}

struct MaybeEntryVisitor;

impl<'de> Visitor<'de> for MaybeEntryVisitor {
    type Value = MaybeEntry;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a history entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MaybeEntry, A::Error> {
        RawEntry::deserialize(MapAccessDeserializer::new(map)).map(|entry| MaybeEntry(Some(entry)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<MaybeEntry, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(MaybeEntry(None))
    }

    fn visit_bool<E>(self, _value: bool) -> Result<MaybeEntry, E> {
        Ok(MaybeEntry(None))
    }

    fn visit_i64<E>(self, _value: i64) -> Result<MaybeEntry, E> {
        Ok(MaybeEntry(None))
    }

    fn visit_u64<E>(self, _value: u64) -> Result<MaybeEntry, E> {
        Ok(MaybeEntry(None))
    }

    fn visit_f64<E>(self, _value: f64) -> Result<MaybeEntry, E> {
        Ok(MaybeEntry(None))
    }

    fn visit_str<E>(self, _value: &str) -> Result<MaybeEntry, E> {
        Ok(MaybeEntry(None))
    }

    fn visit_unit<E>(self) -> Result<MaybeEntry, E> {
        Ok(MaybeEntry(None))
    }
}

/// The whole answer to `GET /history` or `GET /history/{id}`.
#[derive(Default)]
pub(super) struct HistoryAnswer {
    entries: Vec<(String, RawEntry)>,
    bare: Option<RawEntry>,
}

impl HistoryAnswer {
    /// The entry of that prompt, whichever form the answer has.
    pub(super) fn into_entry(self, prompt_id: &str) -> Option<RawEntry> {
        let keyed = self.entries.into_iter().find(|(id, _)| id == prompt_id).map(|(_, entry)| entry);
        keyed.or(self.bare)
    }

    /// All entries with the ids of their prompts.
    pub(super) fn into_entries(self) -> impl Iterator<Item = (String, RawEntry)> {
        self.entries.into_iter()
    }
}

impl<'de> Deserialize<'de> for HistoryAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnswerVisitor)
    }
}

struct AnswerVisitor;

impl<'de> Visitor<'de> for AnswerVisitor {
    type Value = HistoryAnswer;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of history entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HistoryAnswer, A::Error> {
        let mut answer = HistoryAnswer::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "prompt" => answer.bare.get_or_insert_default().prompt = map.next_value()?,
                "outputs" => answer.bare.get_or_insert_default().outputs = map.next_value()?,
                "status" => answer.bare.get_or_insert_default().status = map.next_value()?,
                "meta" => answer.bare.get_or_insert_default().meta = map.next_value()?,
                _ => {
                    if let MaybeEntry(Some(entry)) = map.next_value()? {
                        answer.entries.push((key, entry));
                    }
                }
            }
        }
        Ok(answer)
    }
}
