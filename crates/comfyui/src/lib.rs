#![doc = include_str!("../README.md")]

mod cancel;
mod client;
mod config;
mod error;
mod events;
mod failure;
mod history;
mod json;
mod output;
mod probe;
mod prompt;
mod queue;
mod redact;
mod refusal;
mod server_info;
mod submit;
mod transport;
mod upload;
mod version;
mod view;

pub use cancel::CancelSent;
pub use client::ComfyClient;
pub use config::{ClientConfig, ConfigError};
pub use error::{CallError, ConnectError, EventError};
pub use events::{Event, EventStream, NodeProgress, NodeState, PreviewFormat};
pub use failure::{ExecutionFailure, FailureClass};
pub use history::{HistoryEntry, Outcome};
pub use output::{FileRef, FolderKind, NodeOutput, OutputItem};
pub use prompt::{MAX_CHAIN, MAX_NODES, MAX_VALUE_DEPTH, PreparedPrompt, PromptFault, PromptFaultKind};
pub use queue::{QueueItem, QueuePlace, QueueSnapshot};
pub use refusal::{InputFault, NodeError, Refusal, RefusalReason};
pub use server_info::{Capabilities, Device, Features, ServerInfo, SystemStats};
pub use submit::{Accepted, SubmitError, SubmitOptions};
pub use upload::{Upload, UploadBody, Uploaded};
pub use version::ComfyVersion;
pub use view::Download;
