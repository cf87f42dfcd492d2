//! From what a caller sent to the graph that would run: validated, defaults filled, rendered, measured, held against
//! what the ComfyUI servers have.

use std::sync::Arc;

use gateway_core::Fault;
use gateway_core::workflow::{Missing, Needs, NodeCatalog, SizeLimits, Workflow, check_sizes};
use serde_json::{Map, Value};

use crate::error::ApiError;

/// JSON keeps whole numbers exact up to here in every client.
const LARGEST_DRAWN_SEED: u64 = (1 << 53) - 1;

/// What a job may ask for, and how it is told what is wrong with it.
pub(crate) struct Rules {
    pub(crate) sizes: SizeLimits,
    /// Whether nothing of the values is repeated.
    pub(crate) discreet: bool,
}

/// Inputs that can be run.
pub(crate) struct Prepared {
    /// Inputs and params with defaults and the drawn seed.
    pub(crate) resolved: Map<String, Value>,
    /// The graph with them in place.
    pub(crate) graph: Map<String, Value>,
    /// What that needs of a server.
    pub(crate) needs: Needs,
    /// Whether the seed was drawn: another job's result can't be meant then.
    pub(crate) drew_seed: bool,
}

/// The resolved inputs and the rendered graph, or every fault. `catalogs` are those of all servers, or none where they
/// are not known.
pub(crate) fn prepare(
    workflow: &Workflow,
    inputs: &Map<String, Value>,
    params: &Map<String, Value>,
    rules: &Rules,
    catalogs: &[Arc<NodeCatalog>],
) -> Result<Prepared, ApiError> {
    let mut drew_seed = false;
    let mut draw_seed = || {
        drew_seed = true;
        rand::random::<u64>() & LARGEST_DRAWN_SEED
    };
    let unfit = |faults| ApiError::invalid(if rules.discreet { shallow(faults) } else { faults });
    let resolved = workflow.resolve(inputs, params, &mut draw_seed).map_err(unfit)?;
    let graph = workflow.render(&without_files(workflow, &resolved)).map_err(unfit)?;
    let blame = |node: &str, input: &str| match workflow.placeholders(node, input).first() {
        Some(name) if params.contains_key(name) => format!("/params/{name}"),
        Some(name) => format!("/inputs/{name}"),
        None => String::from("/workflowId"),
    };
    let mut faults = check_sizes(&graph, &rules.sizes, &blame);
    let needs = Needs::of(&graph);
    let mut lacking = lacking(&graph, &missing(&needs, catalogs), &blame);
    if rules.discreet {
        reword(&mut faults, &too_large(&rules.sizes));
        // What the workflow itself names is no secret.
        let (mut given, own): (Vec<_>, Vec<_>) = lacking.into_iter().partition(|fault| fault.path != "/workflowId");
        reword(&mut given, "names what no ComfyUI server has");
        lacking = given.into_iter().chain(own).collect();
    }
    let recommendation = (!lacking.is_empty())
        .then_some("install what is missing on a ComfyUI server, or name what it has: a server is asked every minute");
    faults.extend(lacking);
    match (faults.is_empty(), recommendation) {
        (true, _) => Ok(Prepared { resolved, graph, needs, drew_seed }),
        (false, None) => Err(ApiError::invalid(faults)),
        (false, Some(recommendation)) => Err(ApiError::invalid(faults).recommend(recommendation)),
    }
}

/// Faults of inputs as a whole: what is below may be named by who sent it.
fn shallow(mut faults: Vec<Fault>) -> Vec<Fault> {
    for fault in &mut faults {
        fault.path = fault.path.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    }
    Fault::in_order(faults)
}

/// Has all of `faults` say the same.
fn reword(faults: &mut Vec<Fault>, message: &str) {
    for fault in faults.iter_mut() {
        message.clone_into(&mut fault.message);
    }
    faults.dedup();
}

fn too_large(sizes: &SizeLimits) -> String {
    let SizeLimits { max_side, max_batch } = sizes;
    format!("asks for more than {max_side} pixels a side (MAX_IMAGE_SIZE) or {max_batch} pictures (MAX_BATCH_SIZE)")
}

/// What the server lacks that lacks the least of `needs`.
pub(super) fn missing(needs: &Needs, catalogs: &[Arc<NodeCatalog>]) -> Vec<Missing> {
    catalogs.iter().map(|catalog| needs.missing_in(catalog)).min_by_key(Vec::len).unwrap_or_default()
}

/// What keeps every server from running `graph`, of which `missing` is the least that one lacks.
fn lacking(graph: &Map<String, Value>, missing: &[Missing], blame: &dyn Fn(&str, &str) -> String) -> Vec<Fault> {
    let has = |node: &Value, class: &str| node.get("class_type").and_then(Value::as_str) == Some(class);
    let names = |node: &Value, input: &str, file: &str| {
        node.get("inputs").and_then(|inputs| inputs.get(input)).and_then(Value::as_str) == Some(file)
    };
    let mut faults = Vec::new();
    for missing in missing {
        match missing {
            Missing::Class(_) => {
                faults.push(Fault::new("/workflowId", format!("no ComfyUI server has the {missing}")));
            }
            Missing::Model(model) => {
                let message = format!("no ComfyUI server has the {missing}");
                let nodes =
                    graph.iter().filter(|(_, node)| has(node, &model.class) && names(node, &model.input, &model.file));
                faults.extend(nodes.map(|(id, _)| Fault::new(blame(id, &model.input), message.clone())));
            }
        }
    }
    Fault::in_order(faults)
}

/// `resolved` with a name in place of each file: where it will lie in ComfyUI is known only there.
pub(super) fn without_files(workflow: &Workflow, resolved: &Map<String, Value>) -> Map<String, Value> {
    workflow.name_files(resolved, |name, _| name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog(checkpoints: &[&str]) -> Arc<NodeCatalog> {
        Arc::new(NodeCatalog::parse(&json!({
            "CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [checkpoints]}}},
        })))
    }

    fn faults(graph: &Value, catalogs: &[Arc<NodeCatalog>]) -> Vec<(String, String)> {
        let blame = |node: &str, input: &str| format!("/inputs/{node}-{input}");
        let graph = graph.as_object().unwrap();
        let found = lacking(graph, &missing(&Needs::of(graph), catalogs), &blame);
        found.into_iter().map(|fault| (fault.path, fault.message)).collect()
    }

    #[test]
    fn a_graph_that_one_server_can_run_is_fine_and_one_that_none_can_names_what_is_missing() {
        let load = |file: &str| json!({"4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": file}}});
        let servers = [catalog(&["a.safetensors"]), catalog(&["b.safetensors"])];
        assert_eq!(faults(&load("b.safetensors"), &servers), []);
        assert_eq!(faults(&load("c.safetensors"), &[]), []);
        let missing = "no ComfyUI server has the model c.safetensors (CheckpointLoaderSimple.ckpt_name)";
        let wanted = [(String::from("/inputs/4-ckpt_name"), missing.to_owned())];
        assert_eq!(faults(&load("c.safetensors"), &servers), wanted);
        let sorcery = json!({"1": {"class_type": "Sorcery", "inputs": {}}});
        let wanted = [(String::from("/workflowId"), String::from("no ComfyUI server has the node class Sorcery"))];
        assert_eq!(faults(&sorcery, &servers), wanted);
    }

    #[test]
    fn nothing_of_the_values_is_repeated_where_that_is_not_wanted() {
        use gateway_core::workflow::WorkflowSource;
        let graph = json!({
            "1": {"class_type": "EmptyImage", "inputs": {"width": "{{width}}", "height": 8, "batch_size": 1, "color": 0}},
            "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{{model}}"}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
            "4": {"class_type": "Options", "inputs": {"options": "{{options}}"}},
        });
        let schema = json!({"type": "object", "properties": {
            "width": {"type": "integer"},
            "model": {"type": "string"},
            "options": {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": false},
        }});
        let source = WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] };
        let workflow = Workflow::compile(source, None).unwrap();
        let told = |inputs: Value, discreet: bool| {
            let rules = Rules { sizes: SizeLimits { max_side: 64, max_batch: 1 }, discreet };
            let inputs = inputs.as_object().unwrap();
            let refused = prepare(&workflow, inputs, &Map::new(), &rules, &[catalog(&["a.safetensors"])]);
            format!("{:?}", refused.err().unwrap())
        };
        let large = json!({"width": 31_415, "model": "secret.safetensors", "options": {}});
        let deep = json!({"width": 8, "model": "a.safetensors", "options": {"secret": 1, "a": "secret"}});
        for inputs in [&large, &deep] {
            let text = told(inputs.clone(), true);
            assert!(!text.contains("secret") && !text.contains("31415"), "{text}");
        }
        let text = told(large.clone(), false);
        assert!(text.contains("secret.safetensors") && text.contains("31415"), "{text}");
    }
}
