#![doc = include_str!("../README.md")]

mod interface;
mod memory;

pub use interface::{
    BackendReport, BackendState, Broker, BrokerError, Control, Depth, Entry, EventReceiver, WorkerReport, WorkerState,
};
pub use memory::MemoryBroker;
