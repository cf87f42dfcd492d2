//! What operations have in common: parameters, headers, ways to show who one is; and the schemas and answers, gathered.

use serde_json::{Map, Value, json};

use super::build::{Operation, in_header, in_query};
use super::{problems, schemas, statuses};

/// All components of the document.
pub(super) fn all(operations: &[Operation]) -> Value {
    let named = |schemas: Vec<(&'static str, Value)>| schemas.into_iter().map(|(name, value)| (name.to_owned(), value));
    let mut schemas: Map<String, Value> = named(schemas::all()).collect();
    schemas.extend(problems::schemas(statuses(operations).into_iter()));
    schemas.sort_keys();
    json!({
        "schemas": schemas,
        "responses": problems::responses(operations),
        "parameters": parameters(),
        "headers": headers(),
        "securitySchemes": {
            "ApiKey": {
                "type": "apiKey",
                "in": "header",
                "name": "X-API-Key",
                "description": "A key: of API_KEYS, or one that was made with `POST /keys`.",
            },
            "Bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A token that the operator's issuer has signed; a key is taken, too.",
            },
        },
    })
}

fn parameters() -> Value {
    let text = || json!({"type": "string"});
    let time = || json!({"type": "string", "format": "date-time"});
    let cursor = json!({"type": "string", "minLength": 1});
    let key = json!({"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"});
    json!({
        "RequestId": in_header(
            "X-Request-Id",
            "Follows the request through every log line, and its job. Taken where it is 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`; else one is made.",
            text(),
            "my-request-1",
        ),
        "IfNoneMatch": in_header("If-None-Match", "304 where one of these ETags is still right.", text(), "\"1\""),
        "IdempotencyKey": in_header(
            "Idempotency-Key",
            "Makes the request one that may be sent again: the same as `metadata.requestId`. Kept for seven days; quotes around it do not count.",
            key,
            "order-17",
        ),
        "After": in_query("after", "At this time or later.", time()),
        "Before": in_query("before", "Before this time.", time()),
        "Cursor": in_query("cursor", "`nextCursor` of the page before, with the same filters.", cursor),
    })
}

fn headers() -> Map<String, Value> {
    let headers = OF_ALL.iter().chain(&OF_SOME).map(|(name, description, pattern)| {
        let mut schema = json!({"type": "string"});
        if let (Some(fields), false) = (schema.as_object_mut(), pattern.is_empty()) {
            fields.insert(String::from("pattern"), json!(pattern));
        }
        ((*name).to_owned(), json!({"description": description, "schema": schema}))
    });
    let mut headers: Map<String, Value> = headers.collect();
    if let Some(fields) = headers.get_mut("X-Request-Id").and_then(Value::as_object_mut) {
        fields.insert(String::from("required"), json!(true));
    }
    headers
}

/// Name, meaning, and what it looks like.
type Header = (&'static str, &'static str, &'static str);

const OF_ALL: [Header; 6] = [
    ("X-Request-Id", "The request's correlation id.", "^[A-Za-z0-9._-]{1,128}$"),
    (
        "RateLimit-Policy",
        "How many requests are allowed (`q`) in how many seconds (`w`).",
        "^\"default\";q=[0-9]+;w=[0-9]+$",
    ),
    (
        "RateLimit",
        "How many requests are left (`r`), and in how many seconds all are allowed again (`t`). Not there where the request was refused before it was counted.",
        "^\"default\";r=[0-9]+;t=[0-9]+$",
    ),
    ("X-RateLimit-Limit", "How many requests are allowed.", "^[0-9]+$"),
    ("X-RateLimit-Remaining", "How many requests are left.", "^[0-9]+$"),
    ("X-RateLimit-Reset", "In how many seconds all are allowed again.", "^[0-9]+$"),
];

const OF_SOME: [Header; 15] = [
    ("ETag", "What tells this state from another.", "^\"[^\"]+\"$"),
    ("Location", "Where it is.", ""),
    ("Retry-After", "In how many seconds to ask again.", "^[0-9]+$"),
    ("WWW-Authenticate", "What to show: `Bearer`, or a key in X-API-Key.", "^Bearer "),
    ("Allow", "The methods that the path has.", "^[A-Z]+(, [A-Z]+)*$"),
    ("Preference-Applied", "The preference that was followed.", "^wait=[0-9]+$"),
    ("Content-Range", "Which bytes of how many.", "^bytes ([0-9]+-[0-9]+|\\*)/[0-9]+$"),
    ("Accept-Ranges", "Ranges are of bytes.", "^bytes$"),
    (
        "Content-Disposition",
        "Whether it is shown or saved, and under which name.",
        "^(inline|attachment); filename=\"[^\"]+\"$",
    ),
    ("Cache-Control", "Who may keep it for how long.", ""),
    ("Content-Security-Policy", "What it may do in a browser.", ""),
    ("X-Content-Type-Options", "The type is not guessed.", "^nosniff$"),
    ("Cross-Origin-Resource-Policy", "Which pages may show it.", "^same-site$"),
    ("X-Accel-Buffering", "Proxies pass it on at once.", "^no$"),
    ("Referrer-Policy", "Nobody is told that it was read.", "^no-referrer$"),
];
