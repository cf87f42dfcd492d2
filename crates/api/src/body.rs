//! Reads JSON bodies strictly. What two readers could understand differently (duplicate keys, NUL, numbers
//! that lose digits) is refused, and so is what costs more than it says (size, depth).

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::{FromRequest, HttpRequest, dev, web};
use futures_util::StreamExt as _;
use gateway_core::{ErrorCode, Fault};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::ApiError;
use crate::query::Query;

/// How deep arrays and objects may nest.
const MAX_DEPTH: usize = 64;
/// How many values a body may hold.
const MAX_VALUES: usize = 300_000;
/// Largest body of a request that takes none.
const MAX_NOTHING: usize = 64 * 1024;
/// How long a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(60);
/// 2^64: whole numbers from here on have lost digits when they arrive.
const TOO_LARGE_FOR_EXACT: f64 = 18_446_744_073_709_551_616.0;

/// Reads the body of `request` as one JSON object of at most `limit` bytes.
pub(crate) async fn read_object(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<Map<String, Value>, ApiError> {
    Ok(read_with_text(request, payload, limit).await?.0)
}

/// The same, and the body as it came: for who reads it once more.
pub(crate) async fn read_with_text(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<(Map<String, Value>, Vec<u8>), ApiError> {
    check_headers(request, limit)?;
    let bytes = collect(payload, limit).await?;
    if bytes.is_empty() {
        return Err(ApiError::bad_request("the body is empty; a JSON object is expected"));
    }
    match parse(&bytes)? {
        Value::Object(object) => Ok((object, bytes)),
        _ => Err(ApiError::fault("", "must be a JSON object")),
    }
}

/// A request that takes neither parameters nor a body: extracted, it was found to have none.
pub(crate) struct Nothing;

impl FromRequest for Nothing {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let (request, payload) = (request.clone(), web::Payload::from_request(request, payload).into_inner());
        Box::pin(async move {
            Query::read(&request, &[])?.check()?;
            let payload = payload.map_err(|error| ApiError::bad_request(format!("the body can't be read: {error}")))?;
            read_nothing(&request, payload).await?;
            Ok(Self)
        })
    }
}

/// Reads the body of a request that takes none: nothing, or an object without fields.
async fn read_nothing(request: &HttpRequest, payload: web::Payload) -> Result<(), ApiError> {
    let bytes = collect(payload, MAX_NOTHING).await?;
    if bytes.is_empty() {
        return Ok(());
    }
    check_headers(request, MAX_NOTHING)?;
    match parse(&bytes)? {
        Value::Object(fields) if fields.is_empty() => Ok(()),
        Value::Object(fields) => {
            let unknown = |name: &String| Fault::new(pointer(name), "unknown field; this request takes none");
            Err(ApiError::invalid(fields.keys().map(unknown).collect()))
        }
        _ => Err(ApiError::fault("", "must be a JSON object without fields, or nothing")),
    }
}

/// The JSON pointer to a field of the body.
fn pointer(name: &str) -> String {
    let shown: String = name.chars().take(64).collect();
    format!("/{}", shown.replace('~', "~0").replace('/', "~1"))
}

fn check_headers(request: &HttpRequest, limit: usize) -> Result<(), ApiError> {
    let headers = request.headers();
    refuse_compressed(headers)?;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = text(CONTENT_TYPE).split(';').map(|part| part.trim().to_ascii_lowercase());
    let json = parts.next().is_some_and(|media| media == "application/json");
    let utf8 = parts.all(|parameter| match parameter.strip_prefix("charset=") {
        Some(charset) => matches!(charset.trim_matches('"'), "utf-8" | "utf8"),
        None => true,
    });
    if !json || !utf8 {
        let detail = "the body must be JSON in UTF-8: send Content-Type: application/json";
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail));
    }
    let declared: Option<usize> = text(CONTENT_LENGTH).parse().ok();
    if declared.is_some_and(|length| length > limit) { Err(too_large(limit)) } else { Ok(()) }
}

/// What a body holds is measured as it arrives, and what is compressed is larger than that.
pub(crate) fn refuse_compressed(headers: &HeaderMap) -> Result<(), ApiError> {
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if matches!(encoding.to_ascii_lowercase().as_str(), "" | "identity") {
        return Ok(());
    }
    let detail = "compressed bodies are not read; send it without Content-Encoding";
    Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail))
}

/// All of a body of at most `limit` bytes, which has to arrive in time.
async fn collect(payload: web::Payload, limit: usize) -> Result<Vec<u8>, ApiError> {
    let collected = tokio::time::timeout(DEADLINE, collect_all(payload, limit)).await;
    collected.unwrap_or_else(|_elapsed| Err(ApiError::late("the body did not arrive in time")))
}

async fn collect_all(mut payload: web::Payload, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| ApiError::bad_request(format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(ErrorCode::PayloadTooLarge, format!("the body is larger than the {limit} bytes allowed"))
}

/// What, beyond plain syntax, can be wrong; serde's errors carry only text.
#[derive(Clone, Copy)]
enum Refusal {
    TooDeep,
    TooMany,
    Nul,
    Inexact,
}

/// Parses `bytes` as one JSON value.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    let (refusal, values) = (Cell::new(None), Cell::new(0));
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = Strict { depth: 0, values: &values, refusal: &refusal }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| match refusal.get() {
        Some(Refusal::TooDeep) => ApiError::fault("", format!("nests deeper than {MAX_DEPTH} levels")),
        Some(Refusal::TooMany) => ApiError::fault("", format!("holds more than {MAX_VALUES} values")),
        Some(Refusal::Nul) => {
            ApiError::fault("", format!("has a NUL in a string, which is not allowed ({})", place(&error)))
        }
        Some(Refusal::Inexact) => {
            ApiError::fault("", format!("has a whole number that is not below 2^64 ({})", place(&error)))
        }
        None => ApiError::bad_request(format!("the body is not JSON: {error}")),
    })
}

fn place(error: &serde_json::Error) -> String {
    format!("line {} column {}", error.line(), error.column())
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    values: &'a Cell<usize>,
    refusal: &'a Cell<Option<Refusal>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, refusal: Refusal) -> E {
        self.refusal.set(Some(refusal));
        E::custom("refused")
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(Refusal::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn checked<E: serde::de::Error>(self, text: String) -> Result<String, E> {
        if text.contains('\0') { Err(self.refuse(Refusal::Nul)) } else { Ok(text) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES {
            return Err(self.refuse(Refusal::TooMany));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        if value.fract() == 0.0 && value.abs() >= TOO_LARGE_FOR_EXACT {
            return Err(self.refuse(Refusal::Inexact));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| self.refuse(Refusal::Inexact))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.checked(value).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let key = self.checked(key)?;
            if object.contains_key(&key) {
                return Err(serde::de::Error::custom("an object has the same key twice"));
            }
            let value = access.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<ErrorCode> {
        parse(text.as_bytes()).err().map(|error| error.code)
    }

    #[test]
    fn what_is_not_json_is_a_bad_request_with_its_place() {
        for text in [
            "{",
            "{\"a\":1,}",
            "{} x",
            "\u{feff}{}",
            "NaN",
            "Infinity",
            "01",
            "1e400",
            "\"\\ud800\"",
            "{\"a\":1,\"a\":2}",
        ] {
            assert_eq!(code(text), Some(ErrorCode::BadRequest), "{text}");
        }
        assert_eq!(parse(b"\"\xff\"").err().map(|e| e.code), Some(ErrorCode::BadRequest));
        assert!(parse(b"{\n  nope}").err().is_some_and(|e| e.detail.contains("line 2 column")));
    }

    #[test]
    fn nul_depth_number_of_values_and_lost_digits_are_validation_errors() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        for text in ["\"a\\u0000b\"", "{\"\\u0000\":1}", "18446744073709551616", "-1e30", &deep(65)] {
            assert_eq!(code(text), Some(ErrorCode::ValidationError), "{text}");
        }
        assert_eq!(code(&deep(64)), None);
        assert_eq!(code(&"[".repeat(1 << 20)), Some(ErrorCode::ValidationError));
        let many = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
        assert_eq!(code(&many(MAX_VALUES)), None);
        assert_eq!(code(&many(MAX_VALUES + 1)), Some(ErrorCode::ValidationError));
    }

    #[test]
    fn numbers_stay_exact() {
        for text in ["9007199254740993", "18446744073709551615", "-9223372036854775808", "1.5", "0.1"] {
            assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
        }
    }
}
