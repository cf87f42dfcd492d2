//! A token taken apart. Knows its form and its header, not what the claims mean.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;

use super::TokenFault;

/// Fields that bring a key, say where one is, or change how the token is read.
const REFUSED: [&str; 8] = ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"];
/// What a token for access calls itself. Other kinds of token are not for logging in.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// The three parts, as they were written.
pub(super) struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    /// Header and payload with the dot between, which is what is signed.
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
}

/// What a header may say.
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
}

impl<'a> Parts<'a> {
    pub(super) fn split(token: &'a str) -> Result<Self, TokenFault> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        let whole = !header.is_empty() && !payload.is_empty() && !payload.contains('.') && !signature.is_empty();
        if whole { Ok(Self { header, payload, signed, signature }) } else { Err(TokenFault::Malformed) }
    }

    pub(super) fn header(&self) -> Result<Header, TokenFault> {
        let mut fields = object(self.header)?.0;
        if REFUSED.iter().any(|name| fields.contains_key(*name)) {
            return Err(TokenFault::Header);
        }
        if let Some(kind) = text(fields.remove("typ"))? {
            let kind = kind.to_ascii_lowercase();
            if !TYPES.contains(&kind.strip_prefix("application/").unwrap_or(&kind)) {
                return Err(TokenFault::Header);
            }
        }
        let alg = text(fields.remove("alg"))?.ok_or(TokenFault::Malformed)?;
        Ok(Header { alg, kid: text(fields.remove("kid"))? })
    }

    pub(super) fn payload(&self) -> Result<Object, TokenFault> {
        object(self.payload)
    }
}

fn text(value: Option<Value>) -> Result<Option<String>, TokenFault> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenFault::Malformed),
    }
}

fn object(part: &str) -> Result<Object, TokenFault> {
    let json = URL_SAFE_NO_PAD.decode(part).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok()).ok_or(TokenFault::Malformed)
}

/// A JSON object in which no name is there twice: readers that take the first and readers that take the last would see
/// two different tokens.
pub(super) struct Object(BTreeMap<String, Value>);

impl Object {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name is there twice"));
                    }
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}
