//! Workflows: what can be asked for. A file an operation.

mod read;
mod request;
mod validate;
mod write;

pub(crate) use read::{find_workflow, list_workflows};
pub(crate) use request::compile;
pub(crate) use validate::validate_inputs;
pub(crate) use write::{create_workflow, delete_workflow, update_workflow};
