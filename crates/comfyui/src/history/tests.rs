use serde_json::{Value, json};

use super::{HistoryEntry, Outcome, raw::HistoryAnswer};
use crate::{
    failure::FailureClass,
    output::{FolderKind, OutputItem},
};

const ID: &str = "1c71d40b-0000-4000-8000-000000000000";

fn read(text: &str) -> Option<HistoryEntry> {
    let answer: HistoryAnswer = crate::json::parse(text.as_bytes()).unwrap();
    answer.into_entry(ID).map(HistoryEntry::from_raw)
}

fn entry(value: Value) -> HistoryEntry {
    read(&json!({ ID: value }).to_string()).unwrap()
}

fn ended(messages: Value) -> Outcome {
    entry(json!({"status": {"status_str": "error", "completed": false, "messages": messages}})).outcome
}

#[test]
fn a_recorded_success_is_read_whole() {
    let found = entry(json!({
        "prompt": [0, ID, {"1": {"class_type": "EmptyImage", "inputs": {}}}, {"client_id": "c", "gateway": {"job": "J"}}, ["3"]],
        "outputs": {"3": {"images": [{"filename": "p.png", "subfolder": "", "type": "temp"}]},
                    "2": {"images": [{"filename": "a1_00001_.png", "subfolder": "job", "type": "output"}], "animated": [false]}},
        "status": {"status_str": "success", "completed": true, "messages": [
            ["execution_start", {"prompt_id": ID, "timestamp": 1_795_481_980_582_i64}],
            ["execution_cached", {"nodes": ["1", 7], "prompt_id": ID, "timestamp": 1_795_481_980_583_i64}],
            ["execution_success", {"prompt_id": ID, "timestamp": 1_795_481_980_709_i64}]]},
        "meta": {"3": {"node_id": "3", "display_node": "3", "parent_node": null, "real_node_id": "3"}},
        "later_addition": 1,
    }));
    assert_eq!(found.outcome, Outcome::Succeeded);
    assert_eq!((found.started_at_ms, found.ended_at_ms), (Some(1_795_481_980_582), Some(1_795_481_980_709)));
    assert_eq!(found.cached_nodes, ["1", "7"]);
    assert_eq!(found.extra_data["gateway"]["job"], "J");
    let files: Vec<(&str, &str, FolderKind)> = found
        .outputs
        .iter()
        .map(|output| match &output.item {
            OutputItem::File(file) => (output.node_id.as_str(), file.filename.as_str(), file.kind),
            OutputItem::Text(text) => panic!("{text}"),
        })
        .collect();
    assert_eq!(files, [("3", "p.png", FolderKind::Temp), ("2", "a1_00001_.png", FolderKind::Output)]);
}

#[test]
fn messages_decide_whatever_the_status_says() {
    let error = json!({"exception_type": "ValueError", "exception_message": "bad value\n", "node_id": "2"});
    assert_eq!(ended(json!([["execution_start", {}], ["execution_interrupted", {}]])), Outcome::Interrupted);
    assert_eq!(ended(json!([["execution_error", error], ["execution_interrupted", {}]])), Outcome::Interrupted);
    assert_eq!(ended(json!([["execution_success", {}]])), Outcome::Succeeded);
    let after_a_good_run = entry(json!({"status": {"status_str": "success", "completed": true,
        "messages": [["execution_error", {"exception_type": "graph.DependencyCycleError"}]]}}));
    let Outcome::Failed(failure) = after_a_good_run.outcome else { panic!() };
    assert_eq!(failure.exception_type, "graph.DependencyCycleError");
    let Outcome::Failed(failure) = ended(json!([["execution_success", {}], ["execution_error", error]])) else {
        panic!()
    };
    assert_eq!((failure.message.as_str(), failure.class), ("bad value", FailureClass::NodeError));
}

#[test]
fn a_blocked_node_does_not_make_the_run_a_failure() {
    let blocked =
        json!({"exception_type": "ExecutionBlocked", "exception_message": "Execution Blocked: no face found"});
    assert_eq!(ended(json!([["execution_error", blocked], ["execution_success", {}]])), Outcome::Succeeded);
}

#[test]
fn without_messages_the_status_decides_and_without_that_nothing_is_claimed() {
    let status = |status: Value| entry(json!({ "status": status })).outcome;
    assert_eq!(status(json!({"status_str": "success", "completed": true, "messages": []})), Outcome::Succeeded);
    assert_eq!(status(json!({"completed": true})), Outcome::Succeeded);
    assert!(matches!(status(json!({"status_str": "error", "completed": true})), Outcome::Failed(_)));
    assert_eq!(status(json!({"completed": false})), Outcome::Unknown);
    assert_eq!(status(Value::Null), Outcome::Unknown);
    assert_eq!(entry(json!({})).outcome, Outcome::Unknown);
    assert_eq!(status(json!({"messages": [[], "x", [1, 2], null]})), Outcome::Unknown);
}

#[test]
fn entries_with_missing_or_odd_parts_are_read_as_far_as_they_go() {
    for odd in [
        json!({"outputs": null, "meta": null, "prompt": null, "status": null}),
        json!({"outputs": [], "meta": [], "prompt": {"a": 1}, "status": "x"}),
        json!({"outputs": {"1": null, "2": {"images": null}}, "prompt": "x"}),
    ] {
        let found = entry(odd.clone());
        assert_eq!((found.outputs.len(), found.extra_data), (0, Value::Null), "{odd}");
    }
}

#[test]
fn an_unknown_prompt_is_none_and_a_bare_entry_is_accepted() {
    assert_eq!(read("{}"), None);
    assert_eq!(read(r#"{"another-id": {"outputs": {}}}"#), None);
    assert_eq!(read(&json!({ ID: null }).to_string()), None);
    let bare =
        read(r#"{"status": {"messages": [["execution_success", {}]]}, "outputs": {"1": {"text": ["64"]}}}"#).unwrap();
    assert_eq!(bare.outcome, Outcome::Succeeded);
    assert_eq!(bare.outputs[0].item, OutputItem::Text("64".to_owned()));
}

#[test]
fn outputs_of_nodes_made_during_the_run_belong_to_the_workflow_node() {
    let expanded = |meta: Value| entry(json!({"outputs": {"1.0.0.3": {"text": ["x"]}}, "meta": {"1.0.0.3": meta}}));
    let full = json!({"node_id": "1.0.0.3", "display_node": "1", "parent_node": "1", "real_node_id": "1"});
    assert_eq!(expanded(full).outputs[0].node_id, "1");
    assert_eq!(expanded(json!({"display_node": "4"})).outputs[0].node_id, "4");
    assert_eq!(expanded(json!({"real_node_id": null})).outputs[0].node_id, "1.0.0.3");
}

#[test]
fn bare_non_numbers_anywhere_in_an_entry_are_survived() {
    let text = format!(
        r#"{{"{ID}": {{"prompt": [NaN, "{ID}", {{"1": {{"x": -Infinity}}}}, {{"x": NaN}}, []], "outputs": {{}}}}}}"#
    );
    assert_eq!(read(&text).unwrap().extra_data, json!({"x": null}));
}

#[test]
fn a_bare_entry_may_have_fields_that_nobody_knows() {
    let text = json!({"id": "x", "n": 1, "f": 0.5, "b": true, "nothing": null, "list": [1], "status": {"status_str": "success"}});
    assert_eq!(read(&text.to_string()).unwrap().outcome, Outcome::Succeeded);
}
