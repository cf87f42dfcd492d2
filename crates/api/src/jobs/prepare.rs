//! From what a caller sent to the graph that would run: validated, defaults filled, rendered, measured, held against
//! what the ComfyUI servers have.

use std::sync::Arc;

use gateway_core::Fault;
use gateway_core::workflow::{Missing, Needs, NodeCatalog, SizeLimits, Workflow, check_sizes};
use serde_json::{Map, Value};

use crate::error::ApiError;

/// JSON keeps whole numbers exact up to here in every client.
const LARGEST_DRAWN_SEED: u64 = (1 << 53) - 1;

/// Inputs that can be run.
pub(crate) struct Prepared {
    /// Inputs and params with defaults and the drawn seed.
    pub(crate) resolved: Map<String, Value>,
    /// The graph with them in place.
    pub(crate) graph: Map<String, Value>,
    /// Whether the seed was drawn: another job's result can't be meant then.
    pub(crate) drew_seed: bool,
}

/// The resolved inputs and the rendered graph, or every fault. `catalogs` are those of all servers, or none where they
/// are not known.
pub(crate) fn prepare(
    workflow: &Workflow,
    inputs: &Map<String, Value>,
    params: &Map<String, Value>,
    limits: &SizeLimits,
    catalogs: &[Arc<NodeCatalog>],
) -> Result<Prepared, ApiError> {
    let mut drew_seed = false;
    let mut draw_seed = || {
        drew_seed = true;
        rand::random::<u64>() & LARGEST_DRAWN_SEED
    };
    let resolved = workflow.resolve(inputs, params, &mut draw_seed).map_err(ApiError::invalid)?;
    let graph = workflow.render(&without_files(workflow, &resolved)).map_err(ApiError::invalid)?;
    let blame = |node: &str, input: &str| match workflow.placeholders(node, input).first() {
        Some(name) if params.contains_key(name) => format!("/params/{name}"),
        Some(name) => format!("/inputs/{name}"),
        None => String::from("/workflowId"),
    };
    let mut faults = check_sizes(&graph, limits, &blame);
    let lacking = lacking(&graph, catalogs, &blame);
    let recommendation = (!lacking.is_empty())
        .then_some("install what is missing on a ComfyUI server, or name what it has: a server is asked every minute");
    faults.extend(lacking);
    match (faults.is_empty(), recommendation) {
        (true, _) => Ok(Prepared { resolved, graph, drew_seed }),
        (false, None) => Err(ApiError::invalid(faults)),
        (false, Some(recommendation)) => Err(ApiError::invalid(faults).recommend(recommendation)),
    }
}

/// What the server lacks that lacks the least of `needs`.
pub(super) fn missing(needs: &Needs, catalogs: &[Arc<NodeCatalog>]) -> Vec<Missing> {
    catalogs.iter().map(|catalog| needs.missing_in(catalog)).min_by_key(Vec::len).unwrap_or_default()
}

/// What keeps every server from running `graph`.
fn lacking(
    graph: &Map<String, Value>,
    catalogs: &[Arc<NodeCatalog>],
    blame: &dyn Fn(&str, &str) -> String,
) -> Vec<Fault> {
    if catalogs.is_empty() {
        return Vec::new();
    }
    let least = missing(&Needs::of(graph), catalogs);
    let has = |node: &Value, class: &str| node.get("class_type").and_then(Value::as_str) == Some(class);
    let names = |node: &Value, input: &str, file: &str| {
        node.get("inputs").and_then(|inputs| inputs.get(input)).and_then(Value::as_str) == Some(file)
    };
    let mut faults = Vec::new();
    for missing in &least {
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
    faults.sort();
    faults.dedup();
    faults
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
        let found = lacking(graph.as_object().unwrap(), catalogs, &blame);
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
}
