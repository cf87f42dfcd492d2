//! What the document says of answers to requests that failed: schemas, examples and answers, all made from the table of
//! error codes. Which operation fails how is the operations' to say.

use gateway_core::ErrorCode;
use serde_json::{Map, Value, json};

use super::build::{BARE, LIMITS, Operation, reference};
use crate::correlate::ERRORS_PAGE;

/// The codes that an answer with `status` may have.
pub(super) fn codes_of(status: u16) -> Vec<ErrorCode> {
    match status {
        // HTTP has a status for it, the table no code of its own.
        408 => vec![ErrorCode::BadRequest],
        _ => ErrorCode::ALL.iter().copied().filter(|code| code.status() == status).collect(),
    }
}

/// The name of the answer of `status` with these codes: `JobNotFoundOrOutputNotFound`.
pub(super) fn name(status: u16, codes: &[ErrorCode]) -> String {
    let name = codes.iter().map(|code| camel(code.as_str())).collect::<Vec<_>>().join("Or");
    let own = codes.iter().all(|code| code.status() == status);
    if own { name } else { format!("{name}{status}") }
}

fn camel(code: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next();
        first.into_iter().chain(letters.flat_map(char::to_lowercase)).collect::<String>()
    };
    code.split('_').map(word).collect()
}

/// The schema of all codes, and that of the problems of each status that `statuses` name.
pub(super) fn schemas(statuses: impl Iterator<Item = u16>) -> Vec<(String, Value)> {
    let lines = ErrorCode::ALL.iter().map(|code| format!("- `{code}`: {}", code.meaning()));
    let code = json!({
        "type": "string",
        "enum": ErrorCode::ALL,
        "description": format!("What went wrong, for programs.\n\n{}", lines.collect::<Vec<_>>().join("\n")),
    });
    let mut schemas = vec![(String::from("ErrorCode"), code)];
    schemas.extend(statuses.map(|status| (format!("Problem{status}"), schema(status))));
    schemas
}

fn schema(status: u16) -> Value {
    json!({
        "type": "object",
        "description": "Why a request failed (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail", "correlationId", "retryable"],
        "properties": {
            "type": {"type": "string", "format": "uri", "description": "Identifies the code; leads nowhere."},
            "title": {"type": "string", "description": "The code in words."},
            "status": {"type": "integer", "const": status},
            "code": {"type": "string", "enum": codes_of(status)},
            "detail": {"type": "string", "description": "What was wrong this time, for people."},
            "correlationId": {"type": "string", "description": "The request's X-Request-Id."},
            "retryable": {"type": "boolean", "description": "Whether sending the same again can help."},
            "recommendation": {"type": "string", "description": "What can be done, for people."},
            "errors": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "items": reference("schemas", "Fault"),
                "description": "Each fault with its place.",
            },
            "error": {
                "type": "object",
                "additionalProperties": false,
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": "string"},
                },
                "description": "The same in the words of OpenAI's API. Below /images/ alone.",
            },
        },
    })
}

/// The answers to which `operations` refer, by their names.
pub(super) fn responses(operations: &[Operation]) -> Map<String, Value> {
    let mut responses = Map::new();
    for operation in operations {
        for (status, codes) in operation.failures() {
            let name = name(status, &codes);
            let response = response(status, &codes);
            if operation.method == "HEAD" {
                let mut response = response;
                if let Some(fields) = response.as_object_mut() {
                    fields.shift_remove("content");
                }
                responses.insert(format!("{name}{BARE}"), response);
            } else {
                responses.insert(name, response);
            }
        }
    }
    responses.sort_keys();
    responses
}

fn response(status: u16, codes: &[ErrorCode]) -> Value {
    let lines: Vec<String> = codes.iter().map(|code| format!("`{code}`: {}", code.meaning())).collect();
    let examples: Map<String, Value> =
        codes.iter().map(|code| (code.to_string(), json!({"value": example(status, *code)}))).collect();
    let own = match status {
        401 => Some("WWW-Authenticate"),
        405 => Some("Allow"),
        416 => Some("Content-Range"),
        429 | 503 => Some("Retry-After"),
        _ => None,
    };
    let names = ["X-Request-Id"].into_iter().chain(own).chain(LIMITS);
    let headers: Map<String, Value> = names.map(|name| (name.to_owned(), reference("headers", name))).collect();
    json!({
        "description": lines.join("\n\n"),
        "headers": headers,
        "content": {
            "application/problem+json": {
                "schema": reference("schemas", &format!("Problem{status}")),
                "examples": examples,
            },
        },
    })
}

fn example(status: u16, code: ErrorCode) -> Value {
    let detail = match code {
        ErrorCode::ValidationError => "/inputs/steps: must be between 1 and 150",
        _ => code.meaning(),
    };
    let mut example = json!({
        "type": format!("{ERRORS_PAGE}{code}"),
        "title": code.title(),
        "status": status,
        "code": code,
        "detail": detail,
        "correlationId": "01a20be03e79746c8532e2f4bc9d68ef",
        "retryable": code.is_retryable(),
    });
    if let (ErrorCode::ValidationError, Some(fields)) = (code, example.as_object_mut()) {
        let fault = json!({"path": "/inputs/steps", "message": "must be between 1 and 150"});
        fields.insert(String::from("errors"), json!([fault]));
    }
    example
}
