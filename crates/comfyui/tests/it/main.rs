//! The client against small servers that answer what a real ComfyUI was seen to answer.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper of a test fails the test by panicking"
)]

mod calls;
mod cancel;
mod events;
mod files;
mod secrets;
mod server;
mod simulator;
mod submit;
