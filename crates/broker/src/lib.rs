#![doc = include_str!("../README.md")]

mod entry;
mod interface;
mod memory;
mod redis;
mod report;
#[cfg(test)]
mod suite;
mod watchers;

pub use entry::{Depth, Entry, Offer, Receipt, Run, Taken};
pub use interface::{Broker, BrokerError, EventReceiver, Heard, Replay};
pub use memory::MemoryBroker;
pub use redis::{OpenError, RedisBroker, RedisLook, RedisRefusal, RedisUnseen};
pub use report::{BackendReport, BackendState, Control, WorkerReport, WorkerState};
