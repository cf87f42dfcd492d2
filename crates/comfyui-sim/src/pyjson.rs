//! JSON the way Python reads and writes it: bare `NaN` and `Infinity`, a blank after `,` and `:`, ASCII only.
//! Also Python's `str()` and `repr()` of JSON values, which error texts are made of.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Stands for a number that JSON cannot hold; written without quotes.
const NAN: &str = "\u{F8FF}NaN";
const INFINITY: &str = "\u{F8FF}Infinity";
const NEGATIVE_INFINITY: &str = "\u{F8FF}-Infinity";

/// A float; `NaN` and the infinities are written as bare words.
pub(crate) fn float(float: f64) -> Value {
    match Number::from_f64(float) {
        Some(number) => Value::Number(number),
        None if float.is_nan() => Value::from(NAN),
        None => Value::from(if float > 0.0 { INFINITY } else { NEGATIVE_INFINITY }),
    }
}

/// The float behind one of the three values that JSON cannot hold.
pub(crate) fn special(text: &str) -> Option<f64> {
    match text {
        NAN => Some(f64::NAN),
        INFINITY => Some(f64::INFINITY),
        NEGATIVE_INFINITY => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Parses like `json.loads`.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(error) => {
            let Ok(text) = std::str::from_utf8(bytes) else { return Err(error) };
            serde_json::from_str(&quote_specials(text))
        }
    }
}

/// Puts the three bare words into quotes, leaving strings alone.
fn quote_specials(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    let mut in_string = false;
    while let Some(first) = rest.chars().next() {
        if !in_string {
            let word = [("NaN", NAN), ("-Infinity", NEGATIVE_INFINITY), ("Infinity", INFINITY)];
            if let Some((tail, mark)) = word.iter().find_map(|(word, mark)| Some((rest.strip_prefix(word)?, mark))) {
                let _ = write!(out, "\"{mark}\"");
                rest = tail;
                continue;
            }
        }
        out.push(first);
        let mut following = rest.chars();
        following.next();
        if in_string && first == '\\' {
            out.extend(following.next());
        } else if first == '"' {
            in_string = !in_string;
        }
        rest = following.as_str();
    }
    out
}

/// Writes like `json.dumps`.
pub(crate) fn to_string(value: &Value) -> String {
    let mut out = String::with_capacity(256);
    write_value(&mut out, value);
    out
}

/// Appends a value.
pub(crate) fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => write_number(out, number),
        Value::String(text) if special(text).is_some() => out.push_str(text.trim_start_matches('\u{F8FF}')),
        Value::String(text) => write_str(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_str(out, key);
                out.push_str(": ");
                write_value(out, item);
            }
            out.push('}');
        }
    }
}

/// Appends a quoted string, ASCII only.
pub(crate) fn write_str(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            other => {
                let mut units = [0_u16; 2];
                for unit in other.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

fn write_number(out: &mut String, number: &Number) {
    match number.as_f64() {
        Some(float) if number.is_f64() => out.push_str(&float_repr(float)),
        _ => {
            let _ = write!(out, "{number}");
        }
    }
}

/// Python's `repr` of a float.
pub(crate) fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = format!("{float:?}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => match exponent.strip_prefix('-') {
            Some(digits) => format!("{mantissa}e-{digits:0>2}"),
            None => format!("{mantissa}e+{exponent:0>2}"),
        },
        None => text,
    }
}

/// Python's `str()`.
pub(crate) fn py_str(value: &Value) -> String {
    match value {
        Value::String(text) => special(text).map_or_else(|| text.clone(), float_repr),
        other => py_repr(other),
    }
}

/// Python's `repr()`.
pub(crate) fn py_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => {
            let mut out = String::new();
            write_number(&mut out, number);
            out
        }
        Value::String(text) => special(text).map_or_else(|| quote(text), float_repr),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(py_repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let items: Vec<String> =
                map.iter().map(|(key, item)| format!("{}: {}", quote(key), py_repr(item))).collect();
            format!("{{{}}}", items.join(", "))
        }
    }
}

fn quote(text: &str) -> String {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(mark);
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            other if other == mark => {
                out.push('\\');
                out.push(other);
            }
            other => out.push(other),
        }
    }
    out.push(mark);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_words_survive_a_round_trip_and_strings_are_left_alone() {
        let value = parse(br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" Infinity"}"#).unwrap();
        assert_eq!(to_string(&value), r#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" Infinity"}"#);
    }

    #[test]
    fn numbers_and_text_are_written_as_python_does() {
        let value = serde_json::json!({"a": 1.0, "b": 1e-7, "c": 1e22, "d": u64::MAX, "e": "é😀\u{7f}"});
        assert_eq!(
            to_string(&value),
            r#"{"a": 1.0, "b": 1e-07, "c": 1e+22, "d": 18446744073709551615, "e": "\u00e9\ud83d\ude00\u007f"}"#
        );
    }

    #[test]
    fn repr_quotes_like_python() {
        assert_eq!(py_repr(&serde_json::json!(["it's", "x", null, true])), r#"["it's", 'x', None, True]"#);
    }
}
