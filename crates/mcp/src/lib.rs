#![doc = include_str!("../README.md")]

mod departure;
mod gateway;
pub mod http;
mod jobs;
mod naming;
mod pictures;
mod progress;
mod run;
mod schema;
mod server;
mod stdio;
mod words;

pub use gateway::{Form, Gateway, Job, JobPage, Output, PageWish, Problem, WorkflowInfo};
pub use server::{Limits, Server};
pub use stdio::{ServeError, serve_stdio};
