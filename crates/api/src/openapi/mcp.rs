//! The gateway for agents.

use gateway_core::ErrorCode;
use serde_json::{Value, json};

use super::build::{Answer, Operation, in_header, reference};

pub(super) fn operations() -> Vec<Operation> {
    vec![answer_message()]
}

fn list() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
}

fn call() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "list_jobs", "arguments": {"limit": 1}, "_meta": {"progressToken": "p-2"}},
    })
}

fn answered() -> Value {
    let text = "{\"items\":[],\"nextCursor\":null}";
    json!({"jsonrpc": "2.0", "id": 2, "result": {"content": [{"type": "text", "text": text}], "isError": false}})
}

/// A message that says why there is no result.
fn refusal(description: &str, code: i32, message: &str) -> Answer {
    let example = json!({"jsonrpc": "2.0", "id": 2, "error": {"code": code, "message": message}});
    Answer::json(description, "McpAnswer", example)
}

fn answer_message() -> Operation {
    let events = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"content\":[]}}\n\n";
    let stream = json!({"schema": {"type": "string"}, "examples": {"usual": {"value": events}}});
    let done = Answer::json(
        "The answer; or a stream of messages of which the answer is the last, where progress is told or it takes longer.",
        "McpAnswer",
        answered(),
    )
    .content("text/event-stream", stream)
    .header("Cache-Control")
    .header("X-Accel-Buffering");
    let problem = json!({"schema": reference("schemas", "Problem400")});
    let unusable = refusal("The message or its headers can't be used.", -32602, "Invalid params")
        .content("application/problem+json", problem);
    Operation::new("POST", "/mcp", "answerMessage", "Agents")
        .about(
            "Answer an agent",
            "The Model Context Protocol over streamable HTTP, without sessions. Each workflow that the caller may run is a tool; besides there are `list_jobs`, `job_status` and `cancel_job`. A call of a workflow is answered when its job has ended, with its pictures. At most 12 MiB.",
        )
        .with(in_header(
            "MCP-Protocol-Version",
            "The revision of the protocol that was agreed on.",
            json!({"type": "string"}),
            "2025-11-25",
        ))
        .takes("McpMessage", &[("list", "Which tools there are.", list()), ("call", "A call of one.", call())])
        .answers(200, done)
        .answers(202, Answer::empty("A notification was taken."))
        .answers(400, unusable)
        .answers(404, refusal("There is no such method.", -32601, "resources/list"))
        .fails(&[ErrorCode::Forbidden])
}
