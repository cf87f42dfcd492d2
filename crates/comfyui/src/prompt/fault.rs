//! What can be wrong with a graph before it is sent, in words for its author. Decides nothing.

use std::fmt;

use super::{MAX_CHAIN, MAX_NODES, MAX_VALUE_DEPTH};

/// One reason why a graph is not sent. `Display` gives a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptFault {
    /// The node at fault, if it is one node.
    pub node_id: Option<String>,
    /// The input at fault, if it is one input.
    pub input: Option<String>,
    /// What is wrong.
    pub kind: PromptFaultKind,
}

/// What is wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptFaultKind {
    /// The graph has no nodes.
    Empty,
    /// The graph has more nodes than allowed.
    TooManyNodes {
        /// How many it has.
        nodes: usize,
    },
    /// A node id is empty or holds a NUL character.
    BadNodeId,
    /// A node is not a JSON object.
    NotAnObject,
    /// A node has no `class_type` that is a non-empty string.
    MissingClassType,
    /// A node has no `inputs` that is an object, which kills ComfyUI's worker.
    MissingInputs,
    /// A text holds a NUL character.
    NulInText,
    /// A value is nested too deep.
    NestedTooDeep,
    /// An input is an array but no link `["node id", slot]`.
    BadLink,
    /// A link leads to a node that does not exist.
    LinkToMissingNode {
        /// The id that the link names.
        source_node: String,
    },
    /// No output node was named.
    NoOutputs,
    /// A node named as output does not exist.
    OutputMissing,
    /// Links form a loop.
    Cycle {
        /// The nodes of the loop, each fed by the next.
        nodes: Vec<String>,
    },
    /// A chain of links is too long.
    ChainTooLong {
        /// How many nodes it has.
        nodes: usize,
    },
}

impl PromptFault {
    pub(super) const fn whole(kind: PromptFaultKind) -> Self {
        Self { node_id: None, input: None, kind }
    }

    pub(super) fn node(id: &str, kind: PromptFaultKind) -> Self {
        Self { node_id: Some(id.to_owned()), input: None, kind }
    }

    pub(super) fn input(id: &str, name: &str, kind: PromptFaultKind) -> Self {
        Self { node_id: Some(id.to_owned()), input: Some(name.to_owned()), kind }
    }
}

impl fmt::Display for PromptFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.node_id, &self.input) {
            (Some(node), Some(input)) => write!(formatter, "node {node:?}, input {input:?}: {}", self.kind),
            (Some(node), None) => write!(formatter, "node {node:?}: {}", self.kind),
            _ => write!(formatter, "the workflow {}", self.kind),
        }
    }
}

impl std::error::Error for PromptFault {}

impl fmt::Display for PromptFaultKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(formatter, "has no nodes"),
            Self::TooManyNodes { nodes } => write!(formatter, "has {nodes} nodes, more than {MAX_NODES}"),
            Self::BadNodeId => write!(formatter, "the id is empty or holds a NUL character"),
            Self::NotAnObject => write!(formatter, "it is not an object"),
            Self::MissingClassType => write!(formatter, "it has no class_type"),
            Self::MissingInputs => write!(formatter, "it has no object \"inputs\""),
            Self::NulInText => write!(formatter, "a text holds a NUL character"),
            Self::NestedTooDeep => write!(formatter, "the value is nested deeper than {MAX_VALUE_DEPTH} levels"),
            Self::BadLink => {
                write!(
                    formatter,
                    "an array must be a link [\"node id\", slot]; wrap a list as {{\"__value__\": [...]}}"
                )
            }
            Self::LinkToMissingNode { source_node } => {
                write!(formatter, "it is linked to node {source_node:?}, which does not exist")
            }
            Self::NoOutputs => write!(formatter, "has no output node"),
            Self::OutputMissing => write!(formatter, "it is named as an output but does not exist"),
            Self::Cycle { nodes } => write!(formatter, "it feeds itself through {}", path(nodes)),
            Self::ChainTooLong { nodes } => {
                write!(formatter, "it ends a chain of {nodes} nodes; ComfyUI can follow {MAX_CHAIN}")
            }
        }
    }
}

/// The start of a loop is enough to find it.
fn path(nodes: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<&str> = nodes.iter().take(SHOWN).map(String::as_str).collect();
    let rest = if nodes.len() > SHOWN { " ← …" } else { "" };
    format!("{}{rest}", shown.join(" ← "))
}
