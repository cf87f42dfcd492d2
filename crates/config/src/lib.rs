#![doc = include_str!("../README.md")]

mod load;
mod parse;
mod settings;
mod source;
mod telemetry;
mod variables;

pub use load::{ConfigError, load};
pub use settings::{
    ComfyBackend, ComfySettings, DatabaseSettings, DatabaseTarget, Environment, HttpSettings, LimitSettings, LogFormat,
    LogSettings, QueueSettings, RedisSettings, S3Settings, Settings, StorageBackend, StorageSettings, WorkerSettings,
};
pub use source::Overrides;
pub use telemetry::init as init_telemetry;
pub use variables::{VARIABLES, Variable};
