#![doc = include_str!("../README.md")]

mod active;
mod backend;
mod context;
mod control;
mod failure;
mod hint;
mod lease;
mod notify;
mod run;
mod sweep;
mod worker;

pub use context::WorkerParts;
pub use worker::{StartError, Worker};
