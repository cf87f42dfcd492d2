//! The body of `POST /workflows` and `PUT /workflows/{id}`: read, checked, compiled; every fault at once.

use gateway_core::Fault;
use gateway_core::ids::{RAW_PREFIX, is_raw_workflow_id, is_workflow_id};
use gateway_core::workflow::{NodeCatalog, Workflow, WorkflowSource};
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
    match compile(source, catalog) {
        Ok((input_schema, outputs)) if faults.is_empty() => Ok(NewWorkflow {
            name: if name.is_empty() { id.clone() } else { name },
            id,
            description,
            input_schema,
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

/// The schema and the output nodes to store, so that the workflow means the same to whoever reads it without a
/// catalog: a worker, or this gateway while ComfyUI is away.
pub(crate) fn compile(
    source: WorkflowSource<'_>,
    catalog: Option<&NodeCatalog>,
) -> Result<(Value, Vec<String>), Vec<Fault>> {
    let known = Workflow::compile(source, catalog)?;
    let schema = known.input_schema().clone();
    let alone = |outputs: &[String]| {
        Workflow::compile(WorkflowSource { graph: source.graph, input_schema: Some(&schema), outputs }, None)
    };
    let declared = !source.outputs.is_empty();
    match alone(source.outputs) {
        Ok(same) if declared || same.output_nodes() == known.output_nodes() => {
            return Ok((schema.clone(), source.outputs.to_vec()));
        }
        Err(faults) if declared => return Err(faults),
        _ => {}
    }
    let found = known.output_nodes();
    let named = alone(found)?;
    // To name a preview would ask for its temp files, which nobody did.
    let lasting: Vec<String> = found.iter().filter(|id| !named.is_preview(id)).cloned().collect();
    alone(&lasting).map(|_| (schema.clone(), lasting.clone()))
}

fn read_id(given: Option<Value>, path_id: Option<&str>, faults: &mut Vec<Fault>) -> String {
    let id = match (&given, path_id) {
        (Some(Value::String(id)), Some(path_id)) if id != path_id => {
            faults.push(Fault::new("/id", "differs from the id in the path"));
            path_id.to_owned()
        }
        (Some(Value::String(id)), _) => id.clone(),
        (Some(_), _) => String::new(),
        (None, Some(path_id)) => path_id.to_owned(),
        (None, None) => String::new(),
    };
    if !is_workflow_id(&id) {
        faults.push(Fault::new("/id", "must be 1 to 64 characters of a-z, 0-9, _ and -"));
    } else if is_raw_workflow_id(&id) {
        let message = format!("must not begin with {RAW_PREFIX}: that is for graphs which come with a job");
        faults.push(Fault::new("/id", message));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog() -> NodeCatalog {
        let picture = |output_node: bool, outputs: Value| {
            json!({"input": {"required": {"images": ["IMAGE", {}]}}, "output": outputs, "output_node": output_node,
                "python_module": "custom_nodes.pack"})
        };
        NodeCatalog::parse(&json!({
            "EmptyImage": {"input": {"required": {"width": ["INT", {"min": 1, "max": 64}]}}, "output": ["IMAGE"],
                "output_node": false, "python_module": "nodes"},
            "S3Uploader": picture(true, json!([])),
            "PassingUploader": picture(true, json!(["IMAGE"])),
            "Showcase": picture(false, json!(["IMAGE"])),
            "PreviewImage": picture(true, json!([])),
            "PreviewBridge": picture(true, json!(["IMAGE"])),
            "SaveImage": picture(true, json!([])),
        }))
    }

    /// A picture that goes through nodes of these classes one after the other.
    fn chain(classes: &[&str]) -> Value {
        let mut graph = json!({"0": {"class_type": "EmptyImage", "inputs": {"width": "{{width}}"}}});
        for (at, class) in classes.iter().enumerate() {
            graph[(at + 1).to_string()] = json!({"class_type": class, "inputs": {"images": [at.to_string(), 0]}});
        }
        graph
    }

    fn registered(graph: Value, outputs: Value, catalog: Option<&NodeCatalog>) -> Result<NewWorkflow, ApiError> {
        let body = json!({"id": "w", "workflow": graph, "outputs": outputs});
        read(body.as_object().unwrap().clone(), None, catalog)
    }

    fn works_alone(workflow: &NewWorkflow) -> Workflow {
        let (graph, schema) = (&workflow.graph, &workflow.input_schema);
        let source = WorkflowSource { graph, input_schema: Some(schema), outputs: &workflow.outputs };
        Workflow::compile(source, None).unwrap()
    }

    #[test]
    fn output_nodes_that_only_comfyui_knows_are_stored_so_that_the_workflow_works_without_asking_it() {
        let catalog = catalog();
        for (classes, stored) in [
            (&["S3Uploader"][..], &["1"][..]),
            (&["PassingUploader", "SaveImage"], &["1", "2"]),
            (&["PassingUploader", "PreviewImage"], &["1"]),
            (&["Showcase", "S3Uploader"], &["2"]),
            // The same with and without a catalog: whatever saves counts.
            (&["SaveImage"], &[]),
        ] {
            let workflow = registered(chain(classes), json!([]), Some(&catalog)).unwrap();
            assert_eq!(workflow.outputs, stored, "{classes:?}");
            let alone = works_alone(&workflow);
            assert_eq!(alone.input_schema()["properties"]["width"]["maximum"], 64);
            for id in stored {
                assert!(alone.is_output(id), "{classes:?}");
                assert!(!alone.is_preview(id), "{classes:?}: nobody asked for the temp files of {id}");
            }
        }
    }

    #[test]
    fn a_node_that_comfyui_says_is_no_output_does_not_become_one_by_its_name() {
        let mut graph = chain(&["SaveImage"]);
        graph["9"] = json!({"class_type": "Showcase", "inputs": {"images": ["0", 0]}});
        let workflow = registered(graph, json!([]), Some(&catalog())).unwrap();
        assert_eq!(works_alone(&workflow).output_nodes(), ["1"]);
    }

    #[test]
    fn previews_that_only_comfyui_knows_must_be_named_to_be_kept() {
        let mut graph = chain(&["PreviewBridge"]);
        graph["9"] = json!({"class_type": "Plain", "inputs": {"images": ["1", 0]}});
        let error = registered(graph.clone(), json!([]), Some(&catalog())).unwrap_err();
        assert_eq!(error.faults.iter().map(|fault| fault.path.as_str()).collect::<Vec<_>>(), ["/outputs"]);
        let workflow = registered(graph, json!(["1"]), Some(&catalog())).unwrap();
        assert!(works_alone(&workflow).is_declared("1"));
    }

    #[test]
    fn declared_outputs_are_stored_as_they_are() {
        let workflow = registered(chain(&["PassingUploader", "SaveImage"]), json!(["1"]), Some(&catalog())).unwrap();
        assert_eq!(workflow.outputs, ["1"]);
    }
}
