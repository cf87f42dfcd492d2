//! A job's life against a ComfyUI that misbehaves, one kind of trouble a file.

mod events;
mod failures;
mod flow;
mod lost;
mod outages;
mod outputs;
mod profiles;
mod refusals;
mod restarts;
mod stuck;
pub(crate) mod support;
mod views;
