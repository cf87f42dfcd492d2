//! The rate limit: a formula, and a table for one process. Who is counted, by which rule, and what an answer says about
//! it is the caller's business.

mod gcra;
mod limiter;

pub use gcra::{Decision, Rule, check};
pub use limiter::Limiter;
