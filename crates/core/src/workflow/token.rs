//! The `{{name}}` and `{{name|default}}` tokens inside one string of a template.
//! Knows nothing of nodes, schemas or values.

use serde_json::Value;

/// One placeholder as it stands in a string.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) name: String,
    pub(super) default: Option<Value>,
}

/// A stretch of a string: text or a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Token(Token),
}

/// Splits `text` into its pieces; the error is a sentence about the first malformed token.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((body, tail)) = after.split_once("}}") else {
            return Err("has `{{` without a closing `}}`".to_owned());
        };
        push_text(&mut pieces, before);
        pieces.push(Piece::Token(parse_body(body)?));
        rest = tail;
    }
    push_text(&mut pieces, rest);
    Ok(pieces)
}

/// Whether `name` can be the name of a placeholder: `[A-Za-z_][A-Za-z0-9_]*`.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|each| each.is_ascii_alphanumeric() || each == '_')
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

fn parse_body(body: &str) -> Result<Token, String> {
    if body.contains("{{") {
        return Err("has a placeholder within a placeholder".to_owned());
    }
    let (name, default) = match body.split_once('|') {
        Some((name, default)) => (name.trim(), Some(parse_default(default.trim()))),
        None => (body.trim(), None),
    };
    if name.is_empty() {
        return Err("has a placeholder without a name".to_owned());
    }
    if !is_name(name) {
        return Err(format!(
            "has a malformed placeholder `{}`: a name is made of letters, digits and `_`, and starts with no digit",
            super::value::shorten(name, 40)
        ));
    }
    Ok(Token { name: name.to_owned(), default })
}

fn parse_default(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(name: &str, default: Option<Value>) -> Piece {
        Piece::Token(Token { name: name.to_owned(), default })
    }

    #[test]
    fn a_whole_string_token_is_one_piece_with_or_without_spaces() {
        for text in ["{{steps}}", "{{ steps }}", "{{\tsteps\n}}"] {
            assert_eq!(parse(text).unwrap(), vec![token("steps", None)], "{text}");
        }
    }

    #[test]
    fn text_around_tokens_is_kept_as_it_is() {
        let pieces = parse("a {{x}}{{y}} }} b").unwrap();
        let expected = vec![Piece::Text("a ".into()), token("x", None), token("y", None), Piece::Text(" }} b".into())];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn a_default_is_json_where_it_is_valid_json_and_text_otherwise() {
        let table = [
            ("{{a|30}}", json!(30)),
            ("{{a|7.5}}", json!(7.5)),
            ("{{a|true}}", json!(true)),
            ("{{a|null}}", json!(null)),
            ("{{a|\"30\"}}", json!("30")),
            ("{{a|a cat}}", json!("a cat")),
            ("{{ a | a | b }}", json!("a | b")),
            ("{{a|}}", json!("")),
            ("{{a|18446744073709551615}}", json!(u64::MAX)),
        ];
        for (text, default) in table {
            assert_eq!(parse(text).unwrap(), vec![token("a", Some(default))], "{text}");
        }
    }

    #[test]
    fn malformed_tokens_are_refused() {
        for text in [
            "{{",
            "a {{b",
            "{{}}",
            "{{ }}",
            "{{|x}}",
            "{{a b}}",
            "{{1a}}",
            "{{a-b}}",
            "{{{{a}}}}",
            "{{é}}",
            "{{a|{{b}}}}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strings_without_double_braces_are_plain_text() {
        for text in ["", "{a}", "}}", "{ {a} }", "{a|b}"] {
            assert!(!parse(text).unwrap().iter().any(|piece| matches!(piece, Piece::Token(_))), "{text}");
        }
    }
}
