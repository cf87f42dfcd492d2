#![doc = include_str!("../README.md")]

pub mod cli;
mod commands;
mod exit;
mod gateway;
mod http;
mod output;
mod place;
mod stores;

pub use gateway::Gateway;
pub use stores::StartError;
