//! A file a command.

pub(crate) mod add_workflow;
pub(crate) mod audit;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod health;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod list_workflows;
pub(crate) mod mcp;
pub(crate) mod openapi;
pub(crate) mod run;
pub(crate) mod sim;
pub(crate) mod submit;
pub(crate) mod worker;
