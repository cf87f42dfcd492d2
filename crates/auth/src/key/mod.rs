//! API keys: how the gateway makes them, how it keeps them, and those that the settings name. Stored keys are not its
//! business: it gives a store the identifier to look up and the hash to compare.

mod configured;
mod generated;
mod hash;

pub use configured::{ConfiguredKey, ConfiguredKeys, KeyListError};
pub use generated::{ApiKey, ParsedKey, parse};
pub use hash::{KeyHash, hash};

/// The longest key that is looked at.
pub const MAX_KEY_LENGTH: usize = 512;
