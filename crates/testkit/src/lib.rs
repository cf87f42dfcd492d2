#![doc = include_str!("../README.md")]
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test that can't set up must stop with its reason")]

mod answer;
pub mod chaos;
mod files;
mod gateway;
mod receiver;
pub mod stack;
mod wait;

pub use answer::Answer;
pub use files::{files_below, read_below};
pub use gateway::{TestBuilder, TestGateway, sampler_workflow, tiny_workflow};
pub use receiver::{Received, Receiver, Reply};
pub use wait::{DEADLINE, until};
