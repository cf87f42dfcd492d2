#![doc = include_str!("../README.md")]

mod document;
mod images;
mod load;
mod mcp;
mod parse;
mod privacy;
mod secrets;
mod settings;
mod shown;
mod source;
mod telemetry;
mod variables;

pub use document::{env_example, page};
pub use load::{ConfigError, load};
pub use secrets::secrets_in;
pub use settings::{
    AccessSettings, CacheScope, CacheSettings, ComfyBackend, ComfySettings, DatabaseSettings, DatabaseTarget,
    Environment, FileSettings, HttpSettings, ImageModel, ImageModels, ImageSettings, LimitSettings, LogFilter,
    LogFormat, LogSettings, McpSettings, Origins, QueueSettings, RateSettings, RawSettings, RedisSettings,
    RetentionSettings, S3Settings, Sampling, Settings, StorageBackend, StorageSettings, TlsSettings, TraceSettings,
    UrlSettings, WebhookSettings, WorkerSettings,
};
pub use source::Overrides;
pub use variables::{Readers, VARIABLES, Variable};
