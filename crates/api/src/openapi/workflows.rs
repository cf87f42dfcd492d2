//! Workflows.

use gateway_core::ErrorCode;
use serde_json::{Value, json};

use super::build::{Answer, Operation, in_header, in_path, reference};
use super::examples;

const TAG: &str = "Workflows";

pub(super) fn operations() -> Vec<Operation> {
    vec![list(), create(), find(), update(), delete(), validate()]
}

fn id() -> Value {
    in_path("id", "The workflow.", reference("schemas", "WorkflowId"), "flat_color")
}

fn if_match() -> Value {
    let schema = json!({
        "type": "string",
        "pattern": "^(\\*|(W/)?\"?[0-9]{1,9}\"?( *, *(W/)?\"?[0-9]{1,9}\"?)*)$",
    });
    in_header(
        "If-Match",
        "Only where the workflow is at this version: the ETag of a GET, several, or `*`.",
        schema,
        "\"1\"",
    )
}

fn list() -> Operation {
    let example = json!({"items": [examples::workflow_summary()], "nextCursor": Value::Null});
    let answer = Answer::json("All of them.", "WorkflowList", example)
        .link("getWorkflow", &json!({"id": "$response.body#/items/0/id"}));
    Operation::new("GET", "/workflows", "listWorkflows", TAG)
        .about("List workflows", "All of them, without their graphs.")
        .answers(200, answer)
}

/// A whole workflow, with the ways on from it.
fn whole(description: &str) -> Answer {
    let id = json!({"id": "$response.body#/id"});
    Answer::json(description, "Workflow", examples::workflow())
        .header("ETag")
        .link("getWorkflow", &id)
        .link("updateWorkflow", &id)
        .link("deleteWorkflow", &id)
        .link("validateInputs", &id)
        .link_with_body("createJob", &json!({"workflowId": "$response.body#/id", "inputs": {}}))
}

fn create() -> Operation {
    let example = json!({"id": "flat_color", "name": "Flat colour", "workflow": examples::graph()});
    Operation::new("POST", "/workflows", "createWorkflow", TAG)
        .about(
            "Register a workflow",
            "A graph in ComfyUI's API format with `{{placeholders}}`. Every fault is named at once. At most 4 MiB.",
        )
        .admin()
        .takes("NewWorkflow", &[("flat", "A plain picture; needs no model.", example)])
        .answers(201, whole("It is registered.").header("Location"))
        .fails(&[ErrorCode::Conflict])
}

fn find() -> Operation {
    Operation::new("GET", "/workflows/{id}", "getWorkflow", TAG)
        .about("Show a workflow", "All of it, with its graph and the schema of its inputs.")
        .with(id())
        .with(reference("parameters", "IfNoneMatch"))
        .answers(200, whole("The workflow."))
        .answers(304, Answer::empty("It is still at that version.").header("ETag"))
        .fails(&[ErrorCode::WorkflowNotFound])
}

fn update() -> Operation {
    let example = json!({"name": "Flat colour", "workflow": examples::graph()});
    Operation::new("PUT", "/workflows/{id}", "updateWorkflow", TAG)
        .about(
            "Replace a workflow",
            "Makes a new version. Jobs keep the version that they began with. With `If-Match` only where nobody was faster.",
        )
        .admin()
        .with(id())
        .with(if_match())
        .takes("WorkflowReplacement", &[("flat", "A plain picture; needs no model.", example)])
        .answers(200, whole("It is replaced.").header("Location"))
        .fails(&[ErrorCode::WorkflowNotFound, ErrorCode::Conflict])
}

fn delete() -> Operation {
    Operation::new("DELETE", "/workflows/{id}", "deleteWorkflow", TAG)
        .about("Remove a workflow", "Jobs that began with it go on. With `If-Match` only where nobody has replaced it.")
        .admin()
        .with(id())
        .with(if_match())
        .reads()
        .answers(204, Answer::empty("It is removed."))
        .fails(&[ErrorCode::WorkflowNotFound, ErrorCode::Conflict])
}

fn validate() -> Operation {
    let inputs = json!({"width": 256, "color": 65_280});
    let example = json!({
        "valid": true,
        "resolvedInputs": {"width": 256, "height": 512, "color": 65_280},
        "workflow": examples::graph(),
    });
    Operation::new("POST", "/workflows/{id}/validate", "validateInputs", TAG)
        .about(
            "Try inputs",
            "What `POST /jobs` would make of them, or the faults that it would name. Nothing is queued, no file is fetched. At most 1 MiB.",
        )
        .with(id())
        .takes("InputsToCheck", &[("some", "Two of three inputs.", json!({"inputs": inputs}))])
        .answers(200, Answer::json("They are good.", "CheckedInputs", example))
        .fails(&[ErrorCode::WorkflowNotFound])
}
