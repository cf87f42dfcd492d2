#![doc = include_str!("../README.md")]

mod admin;
mod audit;
mod auth;
mod base;
mod batches;
mod body;
mod connection;
mod correlate;
mod error;
mod etag;
mod files;
mod health;
mod images;
mod jobs;
mod keys;
mod mcp;
mod metrics;
mod openapi;
mod outputs;
mod query;
mod routes;
mod server;
mod state;
mod stored;
mod target;
mod tls;
mod webhooks;
mod workflows;

pub use health::HealthServer;
pub use openapi::openapi;
pub use server::{BindError, Server, ServerHandle};
pub use state::{ApiState, Parts};
pub use tls::check_tls;
