#![doc = include_str!("../README.md")]

pub mod access;
pub mod allowlist;
pub mod audit;
pub mod cache;
pub mod chain;
pub mod change;
pub mod comfyui_holes;
pub mod cursor;
pub mod error_code;
pub mod event;
pub mod fault;
pub mod hex;
pub mod ids;
pub mod job;
pub mod output;
pub mod owner;
pub mod progress;
pub mod record;
pub mod retry;
pub mod timestamp;
pub mod trace;
pub mod view;
pub mod webhook;
pub mod workflow;

pub use chain::chain;
pub use change::JobChange;
pub use cursor::CursorKey;
pub use error_code::ErrorCode;
pub use fault::Fault;
pub use ids::{BatchId, DeliveryId, IdError, JobId, JobIdSequence, UploadId};
pub use job::{JobError, JobStatus, NodeRef, Priority};
pub use output::OutputKind;
pub use owner::{Owner, Role, Scope};
pub use timestamp::Timestamp;
pub use trace::TraceParent;
