//! Live events of a server, as typed values. Owns their shapes; reading them from frames, buffering and the connection
//! have modules of their own. Events are hints: what became of a prompt is told by the history alone.

mod buffer;
mod connect;
mod frame;
mod reader;
mod text;

use bytes::Bytes;

pub use self::connect::EventStream;
use crate::{failure::ExecutionFailure, output::NodeOutput, server_info::Features};

/// One message of a server. Prompts of other clients can show up too: compare the `prompt_id`.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The length of the queue, sent to everybody whenever it may have changed.
    Status {
        /// Prompts that run or wait.
        queue_remaining: u64,
    },
    /// A prompt starts. May arrive before the answer to its submission.
    ExecutionStart {
        /// The prompt.
        prompt_id: String,
    },
    /// Which nodes' results come from the cache; these will not run.
    Cached {
        /// The prompt.
        prompt_id: String,
        /// Ids of the nodes.
        nodes: Vec<String>,
    },
    /// A node starts; without a node, the prompt has ended and its history entry is there.
    Executing {
        /// The prompt; absent in the one message that a server replays after a reconnect.
        prompt_id: Option<String>,
        /// The node that starts.
        node: Option<String>,
        /// The node of the workflow that stands for it.
        display_node: Option<String>,
    },
    /// A step of one node.
    Progress {
        /// The prompt, if told.
        prompt_id: Option<String>,
        /// The node, if told.
        node: Option<String>,
        /// Steps done.
        value: f64,
        /// Steps in all.
        max: f64,
    },
    /// All nodes of a prompt that have started, each time anew. Cached nodes are not among them.
    ProgressState {
        /// The prompt.
        prompt_id: String,
        /// The nodes, in no particular order.
        nodes: Vec<NodeProgress>,
    },
    /// A node has produced something that can be shown.
    Executed {
        /// The prompt.
        prompt_id: String,
        /// The node.
        node: String,
        /// The node of the workflow that stands for it.
        display_node: Option<String>,
        /// What it produced; often files of an earlier run if the node was cached. Empty for nodes without results to show.
        items: Vec<NodeOutput>,
    },
    /// A prompt has run to its end. Its history entry may take a moment longer.
    Success {
        /// The prompt.
        prompt_id: String,
    },
    /// A node has failed.
    Error {
        /// The prompt.
        prompt_id: String,
        /// What happened.
        failure: ExecutionFailure,
        /// The node was only told not to run: the prompt goes on, and may well succeed.
        blocked: bool,
    },
    /// A prompt was interrupted.
    Interrupted {
        /// The prompt.
        prompt_id: String,
        /// The node that noticed.
        node_id: Option<String>,
    },
    /// What the server can do; its answer to the first message of the client.
    Features(Features),
    /// A picture. JPEG ones are previews; a PNG may be the result of a node that saves to the socket only.
    Preview {
        /// The prompt; absent on servers without preview metadata.
        prompt_id: Option<String>,
        /// The node; absent on servers without preview metadata.
        node_id: Option<String>,
        /// How the picture is encoded.
        format: PreviewFormat,
        /// The encoded picture.
        bytes: Bytes,
    },
    /// A text that a node shows while it runs. Sent to everybody, whoever owns the prompt.
    Text {
        /// The node, of whatever prompt.
        node_id: String,
        /// The text.
        text: String,
    },
    /// A message of a custom node, of a newer server, or one that cannot be read.
    Other {
        /// Its type; `unreadable` for what cannot be read.
        kind: String,
    },
}

/// Progress of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeProgress {
    /// The node.
    pub node_id: String,
    /// The node of the workflow that stands for it.
    pub display_node_id: Option<String>,
    /// Steps done.
    pub value: f64,
    /// Steps in all.
    pub max: f64,
    /// Whether it runs. Failed and interrupted nodes stay running.
    pub state: NodeState,
}

/// State of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// It runs, or failed while running.
    Running,
    /// It is done.
    Finished,
    /// It failed.
    Error,
    /// A state of a newer server.
    Other,
}

/// Encoding of a preview picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PreviewFormat {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
}

impl PreviewFormat {
    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

impl Event {
    /// What arrived but cannot be read.
    fn unreadable() -> Self {
        Self::Other { kind: "unreadable".to_owned() }
    }
}
