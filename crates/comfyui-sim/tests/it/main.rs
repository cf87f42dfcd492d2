//! The simulator as its clients see it: over HTTP and websockets, against recordings and rules of the real server.

mod contract;
mod faults;
mod lifecycle;
mod pictures;
mod profiles;
mod prompts;
mod queue;
mod sockets;
mod support;
