#![doc = include_str!("../README.md")]

mod load;
mod parse;
mod privacy;
mod settings;
mod source;
mod telemetry;
mod variables;

pub use load::{ConfigError, load};
pub use settings::{
    AccessSettings, CacheScope, CacheSettings, ComfyBackend, ComfySettings, DatabaseSettings, DatabaseTarget,
    Environment, FileSettings, HttpSettings, LimitSettings, LogFilter, LogFormat, LogSettings, Origins, QueueSettings,
    RateSettings, RawSettings, RedisSettings, RetentionSettings, S3Settings, Sampling, Settings, StorageBackend,
    StorageSettings, TlsSettings, TraceSettings, UrlSettings, WebhookSettings, WorkerSettings,
};
pub use source::Overrides;
pub use variables::{VARIABLES, Variable};
