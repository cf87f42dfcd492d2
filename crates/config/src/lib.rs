#![doc = include_str!("../README.md")]

mod document;
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
    Environment, FileSettings, HttpSettings, LimitSettings, LogFormat, LogSettings, McpSettings, Origins,
    QueueSettings, RateSettings, RawSettings, RedisSettings, RetentionSettings, S3Settings, Settings, StorageBackend,
    StorageSettings, TlsSettings, UrlSettings, WebhookSettings, WorkerSettings,
};
pub use source::Overrides;
pub use telemetry::init as init_telemetry;
pub use variables::{Readers, VARIABLES, Variable};
