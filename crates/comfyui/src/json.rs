//! Lenient JSON: Python writes bare `NaN`, `Infinity` and `-Infinity`, which strict parsers refuse.
//! Valid documents take the strict path unchanged; only after a failed parse are those words replaced by `null`,
//! and only outside of strings.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];

/// Parses a document, tolerating Python's bare non-numbers as `null`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes).or_else(|error| match sanitize(bytes) {
        Cow::Borrowed(_) => Err(error),
        Cow::Owned(clean) => serde_json::from_slice(&clean),
    })
}

/// Replaces bare `NaN`, `Infinity` and `-Infinity` outside of strings by `null`; borrows if there are none.
pub(crate) fn sanitize(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut clean: Vec<u8> = Vec::new();
    let mut kept = 0;
    let mut at = 0;
    let mut in_string = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'-' | b'I' | b'N' if !in_string => {
                let rest = bytes.get(at..).unwrap_or_default();
                if let Some(word) = WORDS.iter().find(|word| rest.starts_with(word)) {
                    clean.extend_from_slice(bytes.get(kept..at).unwrap_or_default());
                    clean.extend_from_slice(b"null");
                    at += word.len();
                    kept = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if kept == 0 {
        return Cow::Borrowed(bytes);
    }
    clean.extend_from_slice(bytes.get(kept..).unwrap_or_default());
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn bare_non_numbers_become_null_outside_of_strings_only() {
        let text = br#"{"a": NaN, "b": [-Infinity, Infinity, -1], "c": "NaN \" -Infinity", "NaN": "\\", "d": NaN}"#;
        let value: Value = parse(text).unwrap();
        assert_eq!(value, json!({"a": null, "b": [null, null, -1], "c": "NaN \" -Infinity", "NaN": "\\", "d": null}));
    }

    #[test]
    fn seeds_up_to_the_largest_u64_stay_exact() {
        let value: Value = parse(br#"{"seed": 18446744073709551615, "x": NaN}"#).unwrap();
        assert_eq!(value["seed"].as_u64(), Some(u64::MAX));
    }

    #[test]
    fn broken_documents_stay_broken() {
        for bad in ["", "{", "NaNx", "[NaN", "\"NaN", "{\"a\":Nan}", "[1]x"] {
            assert!(parse::<Value>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
            "(NaN|-?Infinity|\"|\\\\){0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("(NaN|-Infinity|[a-z\"\\\\]){0,5}", inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn valid_json_is_left_as_it_is(value in any_json()) {
            let text = serde_json::to_vec(&value).unwrap();
            prop_assert!(matches!(sanitize(&text), Cow::Borrowed(_)));
            prop_assert_eq!(parse::<Value>(&text).unwrap(), serde_json::from_slice::<Value>(&text).unwrap());
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = parse::<Value>(&bytes);
        }
    }
}
