//! When two jobs are the same: the name of a result in the cache, and whether two request bodies say the same. Stores
//! nothing.

use serde_json::{Map, Number, Value, json};
use sha2::{Digest as _, Sha256};

use crate::hex;

/// Whole numbers above this are not exact in the numbers of JSON's canonical form.
const EXACT: u64 = 1 << 53;

/// What a result depends on.
#[derive(Debug, Clone, Copy)]
pub struct Ingredients<'a> {
    /// The workflow.
    pub workflow_id: &'a str,
    /// Its graph in the version that runs: what another version has in common with this one does not count.
    pub content: &'a str,
    /// Inputs and params with all defaults in place; files by the hash of their content.
    pub resolved: &'a Map<String, Value>,
    /// The model files that the rendered graph names.
    pub models: &'a [String],
    /// What else shapes the outputs, such as their format.
    pub shape: &'a str,
    /// Whose result it is, where owners share none.
    pub owner: Option<&'a str>,
}

/// The name of a result: 64 hexadecimal digits, the same however keys are ordered and numbers are written.
pub fn key(ingredients: Ingredients<'_>) -> String {
    let Ingredients { workflow_id, content, resolved, models, shape, owner } = ingredients;
    digest(&json!({
        "workflowId": workflow_id,
        "content": hex::encode(Sha256::digest(content)),
        "resolved": resolved,
        "models": models,
        "shape": shape,
        "owner": owner,
    }))
}

/// SHA-256 of the canonical form (RFC 8785) of `value`, in hex. Whole numbers that this form would round keep all their
/// digits.
pub fn digest(value: &Value) -> String {
    let exact = exact(value);
    // What came out of a JSON document has a canonical form.
    let text = serde_json_canonicalizer::to_vec(&exact).unwrap_or_else(|_error| exact.to_string().into_bytes());
    hex::encode(Sha256::digest(text))
}

/// `value` with whole numbers beyond those that are exact in any JSON reader as strings that no caller can send: these
/// hold a NUL.
fn exact(value: &Value) -> Value {
    match value {
        Value::Number(number) if is_large(number) => Value::String(format!("\0{number}")),
        Value::Array(items) => Value::Array(items.iter().map(exact).collect()),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), exact(value))).collect(),
        other => other.clone(),
    }
}

fn is_large(number: &Number) -> bool {
    number.as_u64().is_some_and(|n| n > EXACT) || number.as_i64().is_some_and(|n| n.unsigned_abs() > EXACT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn key_order_white_space_and_the_spelling_of_numbers_do_not_count() {
        let one = digest(&parsed(r#"{"a": 100, "b": [1.0, "x"]}"#));
        for same in [r#"{"b":[1,"x"],"a":1e2}"#, r#"{"a":100.0,"b":[1,"\u0078"]}"#] {
            assert_eq!(digest(&parsed(same)), one, "{same}");
        }
        for other in [r#"{"a":100,"b":["x",1]}"#, r#"{"a":"100","b":[1,"x"]}"#, r#"{"a":100}"#] {
            assert_ne!(digest(&parsed(other)), one, "{other}");
        }
    }

    #[test]
    fn large_seeds_stay_apart() {
        let seeds = [
            "9007199254740992",
            "9007199254740993",
            "18446744073709551614",
            "18446744073709551615",
            "-9007199254740993",
        ];
        let digests: std::collections::HashSet<_> = seeds.iter().map(|seed| digest(&parsed(seed))).collect();
        assert_eq!(digests.len(), seeds.len());
    }

    #[test]
    fn each_ingredient_counts() {
        let resolved = parsed(r#"{"prompt": "x", "seed": 7}"#);
        let other = parsed(r#"{"prompt": "x", "seed": 8}"#);
        let models = [String::from("a.safetensors")];
        let base = Ingredients {
            workflow_id: "w",
            content: "{}",
            resolved: resolved.as_object().unwrap(),
            models: &models,
            shape: "",
            owner: None,
        };
        let changed = [
            Ingredients { workflow_id: "v", ..base },
            Ingredients { content: "{ }", ..base },
            Ingredients { resolved: other.as_object().unwrap(), ..base },
            Ingredients { models: &[], ..base },
            Ingredients { shape: "webp", ..base },
            Ingredients { owner: Some("a"), ..base },
        ];
        let keys: std::collections::HashSet<_> = changed.into_iter().chain([base]).map(key).collect();
        assert_eq!(keys.len(), 7);
        assert!(keys.iter().all(|key| key.len() == 64));
    }

    proptest! {
        #[test]
        fn the_order_of_keys_never_counts(mut pairs in prop::collection::hash_map("[a-z\u{20ac}\u{1f600}]{0,4}", -5i64..5, 0..8)) {
            let forward: Map<String, Value> = pairs.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            let mut sorted: Vec<_> = pairs.drain().collect();
            sorted.sort();
            let ordered: Map<String, Value> = sorted.into_iter().map(|(key, value)| (key, json!(value))).collect();
            prop_assert_eq!(digest(&Value::Object(forward)), digest(&Value::Object(ordered)));
        }
    }
}
