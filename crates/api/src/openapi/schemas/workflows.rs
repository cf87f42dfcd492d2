//! Workflows: registered, shown, tried.

use gateway_core::ids::RAW_PREFIX;
use serde_json::{Value, json};

use super::{anything, closed, count, flag, list, matching, object, or_null, page, schema, text, time, with};

pub(super) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("WorkflowId", matching("A workflow: 1 to 64 of a-z, 0-9, _ and -.", "^[a-z0-9_-]{1,64}$")),
        ("Graph", graph()),
        ("NewWorkflow", closed("A workflow to be registered.", &request("id"))),
        ("WorkflowReplacement", closed("A workflow's next version.", &request("id?"))),
        ("WorkflowSummary", object("A workflow without its graph.", &listed())),
        (
            "WorkflowList",
            page("All workflows, in order of their ids. One page: `nextCursor` is null.", "WorkflowSummary"),
        ),
        ("Workflow", workflow()),
        ("InputsToCheck", inputs_to_check()),
        ("CheckedInputs", checked_inputs()),
    ]
}

fn graph() -> Value {
    let node = object(
        "A node.",
        &[
            ("class_type", with(text("Its class."), "minLength", json!(1))),
            ("inputs", anything("Values, placeholders, and links: `[\"node\", output]`.")),
            ("_meta?", json!({"description": "What ComfyUI's editor keeps, such as the title."})),
        ],
    );
    json!({
        "type": "object",
        "description": "Nodes by their ids, in ComfyUI's API format (Workflow, Export (API)). `{{name}}` and `{{name|default}}` in strings stand for values that a job gives.",
        "additionalProperties": with(node, "additionalProperties", json!(true)),
        "minProperties": 1,
        "maxProperties": 1000,
    })
}

fn request(id: &'static str) -> [(&'static str, Value); 7] {
    let schema_of_inputs = "A JSON Schema (draft 2020-12, 2019-09, 07 or 06) of an object; derived from the placeholders \
                            where none is given.";
    let outputs = "Ids of the nodes whose results count; all that save something where none is named.";
    [
        (id, new_id()),
        ("name?", or_null(with(text("For people; the id where there is none."), "maxLength", json!(200)))),
        ("description?", or_null(with(text("For people."), "maxLength", json!(4000)))),
        ("workflow", schema("Graph")),
        ("inputSchema?", or_null(anything(schema_of_inputs))),
        ("outputs?", or_null(list(outputs, text("A node's id.")))),
        ("requirements?", or_null(anything("Kept and shown."))),
    ]
}

/// Those that begin otherwise are of graphs that came with jobs.
fn new_id() -> Value {
    let id = matching("1 to 64 of a-z, 0-9, _ and -; not beginning with `raw_`.", "^[a-z0-9_-]{1,64}$");
    with(id, "not", json!({"pattern": format!("^{RAW_PREFIX}")}))
}

fn summary() -> [(&'static str, Value); 6] {
    [
        ("id", schema("WorkflowId")),
        ("name", text("For people.")),
        ("description", text("For people.")),
        ("version", count("1 for the first; one more with each replacement.", 1)),
        ("createdAt", time("When it was registered.")),
        ("updatedAt", time("When this version was made.")),
    ]
}

fn listed() -> Vec<(&'static str, Value)> {
    let mut fields = summary().to_vec();
    fields.push(("mayRun", flag("Whether your key may run it.")));
    fields
}

fn workflow() -> Value {
    let rest = [
        ("workflow", schema("Graph")),
        ("inputSchema", anything("The JSON Schema of `inputs` and `params`.")),
        (
            "outputs",
            list("Ids of the nodes whose results count; empty: all that save something.", text("A node's id.")),
        ),
        ("requirements?", anything("As it was given.")),
    ];
    object("A workflow, all of it.", &[&summary()[..], &rest].concat())
}

fn inputs_to_check() -> Value {
    closed(
        "What a job would be asked for.",
        &[
            ("inputs?", anything("Values of placeholders.")),
            ("params?", or_null(anything("Further values; one namespace with `inputs`."))),
        ],
    )
}

fn checked_inputs() -> Value {
    object(
        "What a job would be made of.",
        &[
            ("valid", json!({"type": "boolean", "const": true})),
            ("resolvedInputs", anything("With defaults and a drawn seed.")),
            ("workflow", anything("The graph with the values in place.")),
        ],
    )
}
