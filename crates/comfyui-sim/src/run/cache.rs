//! Results of nodes by what they were made of: class, literals and everything above.
//! Holds only what the last prompt used, as ComfyUI does by default.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::files::FileStore;
use crate::nodes::{Datum, annotated_key};
use crate::pyjson;
use crate::validate::structure;

/// Identifies a result.
pub(super) type Signature = u128;

/// What a node made.
#[derive(Debug, Default)]
pub(super) struct Cached {
    pub(super) values: Vec<Datum>,
    pub(super) ui: Option<Map<String, Value>>,
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Signature, Arc<Cached>>,
    /// Makes nodes differ that never may come from the cache.
    nonce: u64,
}

impl Cache {
    pub(super) fn get(&self, signature: Signature) -> Option<&Arc<Cached>> {
        self.entries.get(&signature)
    }

    pub(super) fn insert(&mut self, signature: Signature, cached: Arc<Cached>) {
        self.entries.insert(signature, cached);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The signatures of all nodes of a prompt; results of no node in it are forgotten.
    pub(super) fn enter<'a>(
        &mut self,
        prompt: &'a Map<String, Value>,
        files: &FileStore,
    ) -> HashMap<&'a str, Signature> {
        let order = structure::topological(prompt).map(|(order, _)| order).unwrap_or_default();
        let mut signatures = HashMap::with_capacity(order.len());
        for id in order {
            if let Some(node) = prompt.get(id) {
                let signature = self.sign(id, node, &signatures, files);
                signatures.insert(id, signature);
            }
        }
        self.entries.retain(|signature, _| signatures.values().any(|kept| kept == signature));
        signatures
    }

    fn sign(&mut self, id: &str, node: &Value, above: &HashMap<&str, Signature>, files: &FileStore) -> Signature {
        let class = node.get("class_type").and_then(Value::as_str).unwrap_or_default();
        let mut low = DefaultHasher::new();
        class.hash(&mut low);
        match class {
            "SaveImageWebsocket" => {
                self.nonce += 1;
                self.nonce.hash(&mut low);
            }
            "GetImageSize" => id.hash(&mut low),
            "LoadImage" | "LoadImageMask" | "LoadImageOutput" => {
                let name = node.pointer("/inputs/image").and_then(Value::as_str).unwrap_or_default();
                files.fingerprint(&annotated_key(name)).hash(&mut low);
            }
            _ => {}
        }
        let inputs = node.get("inputs").and_then(Value::as_object);
        let mut inputs: Vec<(&String, &Value)> = inputs.into_iter().flatten().collect();
        inputs.sort_by_key(|(name, _)| *name);
        let mut text = String::new();
        for (name, value) in inputs {
            name.hash(&mut low);
            match structure::link(value) {
                Some((parent, slot)) => (above.get(parent), slot).hash(&mut low),
                None => {
                    text.clear();
                    pyjson::write_value(&mut text, value);
                    text.hash(&mut low);
                }
            }
        }
        let mut high = low.clone();
        u8::MAX.hash(&mut high);
        Signature::from(high.finish()) << 64 | Signature::from(low.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn signatures(cache: &mut Cache, colour: u32) -> (Signature, Signature) {
        let prompt = json!({
            "1": {"class_type": "EmptyImage", "inputs": {"color": colour}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
        });
        let files = FileStore::open(None).unwrap();
        let found = cache.enter(prompt.as_object().unwrap(), &files);
        (found["1"], found["2"])
    }

    #[test]
    fn a_change_above_changes_everything_below() {
        let mut cache = Cache::default();
        let (first, second) = (signatures(&mut cache, 1), signatures(&mut cache, 2));
        assert!(first.0 != second.0 && first.1 != second.1);
        assert_eq!(first, signatures(&mut cache, 1));
    }

    #[test]
    fn only_results_of_the_last_prompt_are_kept() {
        let mut cache = Cache::default();
        let (image, _) = signatures(&mut cache, 1);
        cache.insert(image, Arc::default());
        signatures(&mut cache, 1);
        assert!(cache.get(image).is_some());
        signatures(&mut cache, 2);
        assert!(cache.get(image).is_none());
    }
}
