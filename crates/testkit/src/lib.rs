#![doc = include_str!("../README.md")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't set up must stop with its reason"
)]

mod answer;
pub mod chaos;
mod common;
mod files;
mod gateway;
mod receiver;
pub mod stack;
mod wait;
mod workflows;

pub use answer::Answer;
pub use common::{from_now, in_an_hour, now_ms, sha256, text};
pub use files::{files_below, read_below};
pub use gateway::{TestBuilder, TestGateway};
pub use receiver::{Fate, Received, Receiver, Reply};
pub use wait::{DEADLINE, until, within};
pub use workflows::{copy_workflow, paint_workflow, sampler_workflow, tiny_workflow};
