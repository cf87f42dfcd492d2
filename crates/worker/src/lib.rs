#![doc = include_str!("../README.md")]

mod active;
mod backend;
mod context;
mod control;
mod failure;
mod gauges;
mod hint;
mod lease;
mod notify;
mod privacy;
mod run;
mod runs;
mod sweep;
mod worker;

pub use context::WorkerParts;
pub use notify::webhook_headers;
pub use worker::{StartError, Worker};
