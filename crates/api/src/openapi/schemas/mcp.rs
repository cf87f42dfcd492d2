//! Messages of the Model Context Protocol, as far as HTTP has to do with them: JSON-RPC 2.0.

use serde_json::{Value, json};

use super::{anything, closed, object, schema, text, with};

pub(super) fn all() -> Vec<(&'static str, Value)> {
    let version = || json!({"type": "string", "const": "2.0"});
    let id = || json!({"type": ["string", "integer"], "description": "Tells the request from others of the client."});
    let fault = object(
        "Why there is no result.",
        &[
            ("code", json!({"type": "integer", "description": "That of JSON-RPC."})),
            ("message", text("In a sentence.")),
            ("data?", json!({"description": "More about it."})),
        ],
    );
    let message = [
        ("jsonrpc", version()),
        ("id?", with(id(), "maximum", json!(i64::MAX))),
        ("method", with(text("Such as `tools/call`."), "minLength", json!(1))),
        ("params?", anything("What the method takes.")),
    ];
    let answer = [
        ("jsonrpc", version()),
        ("id?", json!({"type": ["string", "integer", "null"], "description": "That of the request."})),
        ("result?", anything("Where it was done.")),
        ("error?", schema("McpError")),
    ];
    vec![
        ("McpMessage", closed("A request, or without `id` a notification, of the client.", &message)),
        ("McpAnswer", object("The answer to a request.", &answer)),
        ("McpError", fault),
    ]
}
