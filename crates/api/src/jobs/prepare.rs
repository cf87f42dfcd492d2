//! From what a caller sent to the graph that would run: validated, defaults filled, rendered, measured.

use gateway_core::Fault;
use gateway_core::workflow::{SizeLimits, Workflow, check_sizes};
use serde_json::{Map, Value};

use crate::error::ApiError;

/// JSON keeps whole numbers exact up to here in every client.
const LARGEST_DRAWN_SEED: u64 = (1 << 53) - 1;

/// The resolved inputs, and the graph with them in place.
pub(crate) type Prepared = (Map<String, Value>, Map<String, Value>);

/// The resolved inputs and the rendered graph, or every fault.
pub(crate) fn prepare(
    workflow: &Workflow,
    inputs: &Map<String, Value>,
    params: &Map<String, Value>,
    limits: &SizeLimits,
) -> Result<Prepared, ApiError> {
    let files = workflow.file_inputs().filter_map(|(name, _)| file_fault(name, inputs, params));
    let files: Vec<Fault> = files.collect();
    if !files.is_empty() {
        return Err(ApiError::invalid(files));
    }
    let mut draw_seed = || rand::random::<u64>() & LARGEST_DRAWN_SEED;
    let resolved = workflow.resolve(inputs, params, &mut draw_seed).map_err(ApiError::invalid)?;
    let graph = workflow.render(&resolved).map_err(ApiError::invalid)?;
    let blame = |node: &str, input: &str| match workflow.placeholders(node, input).first() {
        Some(name) if params.contains_key(name) => format!("/params/{name}"),
        Some(name) => format!("/inputs/{name}"),
        None => String::from("/workflowId"),
    };
    let faults = check_sizes(&graph, limits, &blame);
    if faults.is_empty() { Ok((resolved, graph)) } else { Err(ApiError::invalid(faults)) }
}

/// A file cannot be handed in yet; saying so beats a fault about its form.
fn file_fault(name: &str, inputs: &Map<String, Value>, params: &Map<String, Value>) -> Option<Fault> {
    let place = [("inputs", inputs), ("params", params)].into_iter().find(|(_, given)| given.contains_key(name))?.0;
    Some(Fault::new(format!("/{place}/{name}"), "is a file, and this gateway takes no files as inputs"))
}
