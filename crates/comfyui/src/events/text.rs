//! Text messages `{"type", "data"}` to events. Owns the leniency towards custom nodes and newer servers:
//! whatever does not fit becomes `Event::Other`, never an error.

use serde_json::{Map, Value};

use super::{Event, NodeProgress, NodeState};
use crate::{
    failure::{ExecutionFailure, id_text},
    history::is_blocked,
    json,
    output::{NodeOutput, items_of},
    server_info::Features,
};

/// Reads one text message.
pub(super) fn parse(text: &str) -> Event {
    let Ok(Value::Object(mut message)) = json::parse::<Value>(text.as_bytes()) else {
        return Event::unreadable();
    };
    let Some(Value::String(kind)) = message.remove("type") else {
        return Event::unreadable();
    };
    let data = message.remove("data").unwrap_or_default();
    known(&kind, data).unwrap_or(Event::Other { kind })
}

fn known(kind: &str, data: Value) -> Option<Event> {
    if kind == "feature_flags" {
        return Some(Event::Features(Features::from_value(data)));
    }
    let id = |key: &str| data.get(key).and_then(id_text);
    let event = match kind {
        "status" => Event::Status { queue_remaining: data.pointer("/status/exec_info/queue_remaining")?.as_u64()? },
        "execution_start" => Event::ExecutionStart { prompt_id: id("prompt_id")? },
        "execution_cached" => Event::Cached { prompt_id: id("prompt_id")?, nodes: ids(data.get("nodes")) },
        "executing" if data.is_object() => {
            Event::Executing { prompt_id: id("prompt_id"), node: id("node"), display_node: id("display_node") }
        }
        "progress" => {
            let (value, max) = steps(&data)?;
            Event::Progress { prompt_id: id("prompt_id"), node: id("node"), value, max }
        }
        "progress_state" => {
            let nodes = data.get("nodes").and_then(Value::as_object)?;
            Event::ProgressState {
                prompt_id: id("prompt_id")?,
                nodes: nodes.iter().filter_map(node_progress).collect(),
            }
        }
        "executed" => executed(id("prompt_id")?, id("node")?, id("display_node"), data.get("output")),
        "execution_success" => Event::Success { prompt_id: id("prompt_id")? },
        "execution_error" => {
            let (failure, blocked) = (ExecutionFailure::from_data(&data), is_blocked(&data));
            Event::Error { prompt_id: id("prompt_id")?, failure, blocked }
        }
        "execution_interrupted" => Event::Interrupted { prompt_id: id("prompt_id")?, node_id: id("node_id") },
        _ => return None,
    };
    Some(event)
}

fn executed(prompt_id: String, node: String, display_node: Option<String>, output: Option<&Value>) -> Event {
    let no_output = Map::new();
    let output = output.and_then(Value::as_object).unwrap_or(&no_output);
    let node_id = display_node.as_ref().unwrap_or(&node);
    let items = items_of(output).into_iter();
    let items = items.map(|(key, item)| NodeOutput { node_id: node_id.clone(), key, item }).collect();
    Event::Executed { prompt_id, node, display_node, items }
}

fn node_progress((id, node): (&String, &Value)) -> Option<NodeProgress> {
    let (value, max) = steps(node)?;
    let state = match node.get("state").and_then(Value::as_str) {
        Some("running") => NodeState::Running,
        Some("finished") => NodeState::Finished,
        Some("error") => NodeState::Error,
        _ => NodeState::Other,
    };
    let display_node_id = node.get("display_node_id").and_then(id_text);
    Some(NodeProgress { node_id: id.clone(), display_node_id, value, max, state })
}

fn steps(data: &Value) -> Option<(f64, f64)> {
    Some((data.get("value")?.as_f64()?, data.get("max")?.as_f64()?))
}

fn ids(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(id_text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{failure::FailureClass, output::OutputItem};

    fn event(kind: &str, data: Value) -> Event {
        parse(&json!({"type": kind, "data": data}).to_string())
    }

    fn other(kind: &str) -> Event {
        Event::Other { kind: kind.to_owned() }
    }

    #[test]
    fn messages_that_are_foreign_or_broken_never_fail() {
        for text in ["", "null", "[]", "{}", "{\"type\": 5}", "not json", "{\"type\"", "\"status\""] {
            assert_eq!(parse(text), other("unreadable"), "{text}");
        }
        assert_eq!(event("crystools.monitor", json!({"cpu": 1})), other("crystools.monitor"));
        assert_eq!(parse(r#"{"type":"logs"}"#), other("logs"));
        for kind in
            ["status", "execution_start", "executing", "progress", "progress_state", "executed", "execution_error"]
        {
            assert_eq!(event(kind, Value::Null), other(kind), "{kind}");
            assert_eq!(event(kind, json!([1])), other(kind), "{kind}");
        }
    }

    #[test]
    fn the_end_of_a_prompt_and_the_replay_after_a_reconnect_are_told_apart() {
        let end = event("executing", json!({"node": null, "prompt_id": "p"}));
        assert_eq!(end, Event::Executing { prompt_id: Some("p".to_owned()), node: None, display_node: None });
        let replay = event("executing", json!({"node": "1"}));
        assert_eq!(replay, Event::Executing { prompt_id: None, node: Some("1".to_owned()), display_node: None });
    }

    #[test]
    fn executed_without_output_has_no_items_and_with_output_names_the_workflow_node() {
        let empty = event("executed", json!({"node": "3", "display_node": "3", "output": null, "prompt_id": "p"}));
        assert!(matches!(empty, Event::Executed { items, .. } if items.is_empty()));
        let expanded = event(
            "executed",
            json!({"node": "1.0.0.3", "display_node": "1", "prompt_id": "p",
                "output": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}], "text": ["t"]}}),
        );
        let Event::Executed { items, node, .. } = expanded else { panic!("{expanded:?}") };
        assert_eq!(node, "1.0.0.3");
        assert_eq!(
            items.iter().map(|item| (item.node_id.as_str(), item.key.as_str())).collect::<Vec<_>>(),
            [("1", "images"), ("1", "text")]
        );
        assert_eq!(items[1].item, OutputItem::Text("t".to_owned()));
    }

    #[test]
    fn progress_takes_integers_floats_and_bare_non_numbers() {
        let mixed = parse(r#"{"type":"progress","data":{"value":1,"max":2.0,"prompt_id":"p","node":7}}"#);
        let expected =
            Event::Progress { prompt_id: Some("p".to_owned()), node: Some("7".to_owned()), value: 1.0, max: 2.0 };
        assert_eq!(mixed, expected);
        assert_eq!(parse(r#"{"type":"progress","data":{"value":NaN,"max":2}}"#), other("progress"));
        let state = event(
            "progress_state",
            json!({"prompt_id": "p", "nodes": {
                "1": {"value": 1.0, "max": 1.0, "state": "finished", "display_node_id": "1"},
                "5.0": {"value": 1, "max": 4, "state": "running", "display_node_id": "5"},
                "6": {"value": 0, "max": 1, "state": "paused"}, "7": null}}),
        );
        let Event::ProgressState { nodes, .. } = state else { panic!("{state:?}") };
        let states: Vec<_> = nodes.iter().map(|node| (node.node_id.as_str(), node.state)).collect();
        assert_eq!(states, [("1", NodeState::Finished), ("5.0", NodeState::Running), ("6", NodeState::Other)]);
        assert_eq!(nodes[1].display_node_id.as_deref(), Some("5"));
    }

    #[test]
    fn errors_are_classified_and_blocked_nodes_are_marked() {
        let oom = event(
            "execution_error",
            json!({"prompt_id": "p", "node_id": "2", "node_type": "KSampler",
            "exception_type": "torch.OutOfMemoryError", "exception_message": "Allocation on device \n"}),
        );
        assert!(
            matches!(oom, Event::Error { failure, blocked: false, .. } if failure.class == FailureClass::OutOfMemory)
        );
        let blocked = event(
            "execution_error",
            json!({"prompt_id": "p", "node_id": "3", "exception_type": "ExecutionBlocked",
            "exception_message": "Execution Blocked: no face found", "traceback": [], "current_inputs": []}),
        );
        assert!(matches!(blocked, Event::Error { blocked: true, .. }));
    }
}
