//! Workflows: what can be asked for. A file an operation.

mod read;
mod request;
mod validate;
mod write;

pub(crate) use read::{find_workflow, list_workflows};
pub(crate) use request::compile;
pub(crate) use validate::validate_inputs;
pub(crate) use write::{create_workflow, delete_workflow, update_workflow};

use gateway_core::ids::is_workflow_id;

use crate::error::ApiError;

/// Looks at the id in a path: what can't be one names no workflow, whatever a database makes of it.
fn check_id(id: &str) -> Result<(), ApiError> {
    if is_workflow_id(id) { Ok(()) } else { Err(ApiError::workflow_not_found()) }
}
