//! Who asks, and whether it may.

mod caller;
mod identify;

pub(crate) use caller::{Admin, Caller};
pub(crate) use identify::identify;
