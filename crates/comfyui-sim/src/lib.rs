#![doc = include_str!("../README.md")]

mod app;
mod blob;
mod clock;
mod config;
mod connection;
mod definitions;
mod files;
mod fragment;
mod heap;
mod history;
mod http;
mod hub;
mod life;
mod nodes;
mod picture;
mod pyjson;
mod run;
mod simulator;
mod stats;
mod switches;
mod sync;
mod validate;

pub use config::{Profile, SimConfig, UnknownProfile};
pub use simulator::Simulator;
pub use stats::SimStats;
pub use switches::{FailNode, HostileFilenames, HttpFault, OomStyle, PreviewMethod, Switches, ViewFault};
