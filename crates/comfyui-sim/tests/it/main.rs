//! The simulator as its clients see it: over HTTP and websockets, against recordings and rules of the real server.
#![cfg(test)]

mod contract;
mod faults;
mod lifecycle;
mod pictures;
mod profiles;
mod prompts;
mod queue;
mod sockets;
mod support;
