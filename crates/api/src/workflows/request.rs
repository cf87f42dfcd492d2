//! The body of `POST /workflows` and `PUT /workflows/{id}`: read, checked, compiled; every fault at once.

use gateway_core::ids::is_workflow_id;
use gateway_core::workflow::{NodeCatalog, Workflow, WorkflowSource};
use gateway_core::Fault;
use gateway_db::NewWorkflow;
use serde_json::{Map, Value};

use crate::error::ApiError;

const MAX_NAME: usize = 200;
const MAX_DESCRIPTION: usize = 4_000;
const FIELDS: &str = "id, name, description, workflow, inputSchema, outputs, requirements";

/// Reads a workflow from `body`. `path_id` is the id in the URL of a `PUT`.
pub(super) fn read(
    mut body: Map<String, Value>,
    path_id: Option<&str>,
    catalog: Option<&NodeCatalog>,
) -> Result<NewWorkflow, ApiError> {
    let mut faults = Vec::new();
    let id = read_id(body.remove("id"), path_id, &mut faults);
    let name = text(body.remove("name"), "/name", MAX_NAME, &mut faults);
    let description = text(body.remove("description"), "/description", MAX_DESCRIPTION, &mut faults);
    let graph = body.remove("workflow");
    let input_schema = body.remove("inputSchema").filter(|schema| !schema.is_null());
    let outputs = strings(body.remove("outputs"), "/outputs", &mut faults);
    let requirements = body.remove("requirements").filter(|requirements| !requirements.is_null());
    if requirements.as_ref().is_some_and(|requirements| !requirements.is_object()) {
        faults.push(Fault::new("/requirements", "must be an object"));
    }
    for field in body.keys() {
        faults.push(Fault::new(format!("/{field}"), format!("unknown field; there are: {FIELDS}")));
    }
    let Some(graph) = graph else {
        faults.push(Fault::new("/workflow", "is missing: the graph in ComfyUI's API format"));
        return Err(ApiError::invalid(faults));
    };
    let source = WorkflowSource { graph: &graph, input_schema: input_schema.as_ref(), outputs: &outputs };
    match Workflow::compile(source, catalog) {
        Ok(workflow) if faults.is_empty() => Ok(NewWorkflow {
            name: if name.is_empty() { id.clone() } else { name },
            id,
            description,
            input_schema: workflow.input_schema().clone(),
            graph,
            outputs,
            requirements,
        }),
        Ok(_) => Err(ApiError::invalid(faults)),
        Err(more) => {
            faults.extend(more);
            Err(ApiError::invalid(faults))
        }
    }
}

fn read_id(given: Option<Value>, path_id: Option<&str>, faults: &mut Vec<Fault>) -> String {
    let id = match (&given, path_id) {
        (Some(Value::String(id)), Some(path_id)) if id != path_id => {
            faults.push(Fault::new("/id", "differs from the id in the path"));
            String::new()
        }
        (Some(Value::String(id)), _) => id.clone(),
        (Some(_), _) => String::new(),
        (None, Some(path_id)) => path_id.to_owned(),
        (None, None) => String::new(),
    };
    if !is_workflow_id(&id) {
        faults.push(Fault::new("/id", "must be 1 to 64 characters of a-z, 0-9, _ and -"));
    }
    id
}

fn text(value: Option<Value>, path: &str, max: usize, faults: &mut Vec<Fault>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text.chars().count() <= max => text,
        Some(_) => {
            faults.push(Fault::new(path, format!("must be a string of at most {max} characters")));
            String::new()
        }
    }
}

fn strings(value: Option<Value>, path: &str, faults: &mut Vec<Fault>) -> Vec<String> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Vec::new();
    };
    let items: Option<Vec<String>> =
        value.as_array().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    items.unwrap_or_else(|| {
        faults.push(Fault::new(path, "must be an array of node ids (strings)"));
        Vec::new()
    })
}
