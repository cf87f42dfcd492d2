//! The guarded way out, against real listeners on this machine.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test by panicking")]

mod exchanges;
mod hostile;
mod names;
mod server;
mod spellings;
mod tables;
mod tls;
