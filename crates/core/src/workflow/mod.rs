//! Workflow templates: a ComfyUI graph with placeholders and the schema of what fills them.
//!
//! Owns what is checked when a workflow is registered ([`Workflow::compile`]), what is checked of a caller's values
//! ([`Workflow::resolve`]), how the two become a graph ([`Workflow::render`]), what a rendered graph may ask of a
//! server ([`NodeCatalog::check_graph`], [`check_sizes`]), and how a graph that a caller sends whole becomes such a
//! template ([`RawGraph`], [`NodePolicy`]). It does no I/O, asks no server and has no clock: catalogs and random numbers
//! are handed in.

mod bundled;
mod catalog;
mod catalog_check;
mod compiled;
mod consistency;
mod core_classes;
mod dangerous;
mod derive;
mod files;
mod flow;
mod graph;
mod guard;
mod links;
mod needs;
mod node_policy;
mod outputs;
mod pointer;
mod policy;
mod raw;
mod resolve;
mod schema;
mod schema_refs;
mod sizes;
mod template;
mod token;
mod value;
mod violation;
mod words;

pub use bundled::{BundledWorkflow, bundled};
pub use catalog::NodeCatalog;
pub use compiled::{Workflow, WorkflowSource};
pub use files::FileKind;
pub use graph::looks_like_ui_export;
pub use needs::{Missing, ModelFile, Needs, NeedsId};
pub use node_policy::NodePolicy;
pub use raw::RawGraph;
pub use sizes::{SizeLimits, check_sizes};
pub use value::deeper_than;

#[cfg(test)]
mod bundled_tests;
#[cfg(test)]
mod catalog_tests;
#[cfg(test)]
mod compile_tests;
#[cfg(test)]
mod derive_tests;
#[cfg(test)]
mod raw_tests;
#[cfg(test)]
mod render_tests;
#[cfg(test)]
mod resolve_tests;
#[cfg(test)]
mod size_tests;
