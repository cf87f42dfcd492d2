//! Graphs that callers send in place of a workflow's id: who may, which nodes they may have, and the workflow that such a
//! graph becomes, under an id that is made of it. From there on its job is like any other.

use gateway_core::workflow::RawGraph;
use gateway_core::{ErrorCode, Fault, Role};
use gateway_db::{DbError, NewWorkflow};
use serde_json::Value;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::jobs::request::JobRequest;
use crate::state::{ApiState, Ready};
use crate::workflows::compile;

/// What such a workflow is called.
const NAME: &str = "A graph that came with a job";

/// Whether `caller` may send graphs: the error says what is missing.
pub(super) fn permit(state: &ApiState, caller: &Caller) -> Result<(), ApiError> {
    if !state.parts.access.raw.enabled {
        let detail = "graphs are not taken here: ALLOW_RAW_WORKFLOWS is off";
        return Err(ApiError::new(ErrorCode::Forbidden, detail)
            .recommend("name a registered workflow in workflowId; GET /workflows lists them"));
    }
    // An administrator's key that is for certain workflows alone is for no others.
    let admin = caller.role == Role::Admin && caller.rights.workflows.is_none();
    if admin || caller.rights.raw {
        return Ok(());
    }
    let detail = "you may not send graphs: that takes an administrator, or a key with the right raw";
    Err(ApiError::new(ErrorCode::Forbidden, detail)
        .recommend("name a registered workflow in workflowId; GET /workflows lists them"))
}

/// Whether a graph may have its nodes that was sent, now or before: what is allowed may have changed since.
pub(super) async fn check_classes(state: &ApiState, ready: &Ready) -> Result<(), ApiError> {
    let faults = state.node_policy().await?.check(&ready.record.graph);
    if faults.is_empty() { Ok(()) } else { Err(ApiError::invalid(faults)) }
}

/// Takes the graph of `request`, where it has one: checks it, and has the request name the workflow that it becomes, with
/// its values as inputs. What is wrong with it is added to `faults`; it is kept only where there are none.
pub(super) async fn take(
    state: &ApiState,
    caller: &Caller,
    request: &mut JobRequest,
    faults: &mut Vec<Fault>,
) -> Result<Option<RawGraph>, ApiError> {
    let Some(graph) = request.graph.take() else { return Ok(None) };
    permit(state, caller)?;
    check_size(&graph, state.parts.http.max_workflow_bytes)?;
    let policy = state.node_policy().await?;
    let (raw, found) = RawGraph::read(graph, &policy);
    faults.extend(found);
    match compile(raw.source(), state.catalog().await.as_deref()) {
        Ok((input_schema, outputs)) if faults.is_empty() => keep(state, &raw, input_schema, outputs).await?,
        Ok(_) => {}
        Err(more) => faults.extend(raw.told(more)),
    }
    *faults = Fault::in_order(std::mem::take(faults));
    request.workflow_id = raw.id().to_owned();
    request.inputs = raw.inputs().clone();
    Ok(Some(raw))
}

/// `error` as it is told to who sent a graph and knows of no workflow.
pub(super) fn told(raw: Option<&RawGraph>, error: ApiError) -> ApiError {
    match raw {
        Some(raw) if !error.faults.is_empty() => {
            let ApiError { recommendation, faults, .. } = error;
            ApiError { recommendation, ..ApiError::invalid(raw.told(faults)) }
        }
        _ => error,
    }
}

/// Stores the workflow, unless it is there.
async fn keep(state: &ApiState, raw: &RawGraph, input_schema: Value, outputs: Vec<String>) -> Result<(), ApiError> {
    match state.workflow(raw.id()).await {
        Ok(_) => return Ok(()),
        Err(error) if error.code == ErrorCode::WorkflowNotFound => {}
        Err(error) => return Err(error),
    }
    let workflow = NewWorkflow {
        id: raw.id().to_owned(),
        name: NAME.to_owned(),
        description: String::new(),
        graph: raw.graph().clone(),
        input_schema,
        outputs,
        requirements: None,
    };
    match state.parts.database.create_workflow(workflow).await {
        // Somebody else has sent the same at the same moment.
        Ok(_) | Err(DbError::Duplicate) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The files in it count elsewhere.
fn check_size(graph: &Value, limit: usize) -> Result<(), ApiError> {
    let size = serde_json::to_vec(graph).map_or(usize::MAX, |text| text.len());
    if size.saturating_sub(bytes_of_files(graph)) <= limit {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::PayloadTooLarge, format!("the graph is larger than the {limit} bytes allowed")))
}

fn bytes_of_files(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(bytes_of_files).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) if name == "base64" => text.len(),
                other => bytes_of_files(other),
            })
            .sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_graph_has_a_size_in_which_files_do_not_count() {
        let graph = json!({"1": {"inputs": {"text": "x".repeat(100)}}});
        let size = graph.to_string().len();
        assert!(check_size(&graph, size).is_ok());
        assert_eq!(check_size(&graph, size - 1).map_err(|error| error.code), Err(ErrorCode::PayloadTooLarge));
        let file = json!({"1": {"inputs": {"image": {"base64": "x".repeat(100_000)}}}});
        assert!(check_size(&file, 100).is_ok());
    }
}
