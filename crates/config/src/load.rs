//! Reads all variables, checks them together and builds [`Settings`]. Opens and creates nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::images;
use crate::mcp;
use crate::parse::Reader;
use crate::settings::{
    ComfyBackend, ComfySettings, Environment, HttpSettings, LimitSettings, QueueSettings, Settings, StorageBackend,
    WorkerSettings,
};
use crate::source::{Overrides, Source};

mod access;
mod database;
mod delivery;
mod redis;
mod storage;
mod telemetry;

/// Why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The `.env` file can't be read.
    #[error("{} can't be read: {reason}", path.display())]
    EnvFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
    /// One sentence a wrong variable.
    #[error("the configuration is wrong:\n  - {}", faults.join("\n  - "))]
    Invalid {
        /// The sentences.
        faults: Vec<String>,
    },
}

/// Loads the settings from `env_file` (which need not exist), the environment and `overrides`.
///
/// # Errors
/// [`ConfigError`] with every fault at once.
pub fn load(env_file: &Path, overrides: &Overrides) -> Result<Settings, ConfigError> {
    let source = Source::read(env_file, overrides)?;
    let mut reader = Reader::new(&source);
    let environment = environment(&mut reader);
    let mut settings = Settings {
        environment,
        http: http(&mut reader),
        comfyui: comfyui(&mut reader),
        database: database::read(&mut reader),
        storage: storage::read(&mut reader),
        queue: queue(&mut reader),
        worker: worker(&mut reader),
        limits: LimitSettings {
            max_image_size: reader.number("MAX_IMAGE_SIZE", 16, 65_536),
            max_batch_size: reader.number("MAX_BATCH_SIZE", 1, 4_096),
        },
        webhooks: delivery::webhooks(&mut reader, environment),
        cache: delivery::cache(&mut reader),
        files: delivery::files(&mut reader),
        retention: delivery::retention(&mut reader),
        images: images::read(&mut reader),
        mcp: mcp::read(&mut reader),
        access: access::read(&mut reader, environment),
        log: telemetry::log(&mut reader),
        traces: telemetry::traces(&mut reader),
        metrics: reader.flag("METRICS_ENABLED"),
        warnings: Vec::new(),
    };
    settings.warnings = warnings(&source.strangers);
    settings.warnings.extend(shared_warnings(&settings));
    settings.warnings.extend(access::warnings(&settings.access));
    if settings.access.privacy {
        settings.be_private();
    }
    if reader.faults.is_empty() { Ok(settings) } else { Err(ConfigError::Invalid { faults: reader.faults }) }
}

fn environment(reader: &mut Reader<'_>) -> Environment {
    let name = if reader.is_set("GATEWAY_ENV") { "GATEWAY_ENV" } else { "NODE_ENV" };
    reader
        .parse(name, "development, test or production", |text| match text {
            "development" => Some(Environment::Development),
            "test" => Some(Environment::Test),
            "production" => Some(Environment::Production),
            _ => None,
        })
        .unwrap_or(Environment::Development)
}

fn http(reader: &mut Reader<'_>) -> HttpSettings {
    let host = reader
        .parse("HOST", "an IP address or a host name", |text| {
            url::Host::parse(text).or_else(|_| url::Host::parse(&format!("[{text}]"))).ok().map(|_| text.to_owned())
        })
        .unwrap_or_default();
    HttpSettings {
        host,
        port: u16::try_from(reader.number("PORT", 0, 65_535)).unwrap_or(0),
        delay: Duration::from_secs(reader.number("SHUTDOWN_DELAY_SECONDS", 0, 300)),
        max_json_bytes: 1 << 20,
        max_job_bytes: 12 << 20,
        max_workflow_bytes: 4 << 20,
    }
}

fn comfyui(reader: &mut Reader<'_>) -> ComfySettings {
    let allowed = "http:// or https:// URLs, comma-separated, with no query and no fragment";
    let backends = reader
        .parse("COMFYUI_URL", allowed, |text| text.split(',').map(backend).collect::<Option<Vec<_>>>())
        .unwrap_or_default();
    let headers = reader
        .parse("COMFYUI_HEADERS", "`Name: value` pairs separated by `|`", |text| {
            text.split('|').filter(|pair| !pair.trim().is_empty()).map(header).collect::<Option<Vec<_>>>()
        })
        .unwrap_or_default();
    ComfySettings {
        configured: reader.is_set("COMFYUI_URL"),
        backends,
        headers,
        timeout: Duration::from_millis(reader.number("COMFYUI_TIMEOUT_MS", 1_000, 21_600_000)),
        poll: Duration::from_millis(reader.number("COMFYUI_POLL_MS", 50, 60_000)),
    }
}

fn backend(text: &str) -> Option<ComfyBackend> {
    let url = Url::parse(text.trim()).ok()?;
    let plain = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
    if !plain || url.host_str().is_none_or(str::is_empty) {
        return None;
    }
    let mut shown = url.clone();
    shown.set_username("").ok()?;
    shown.set_password(None).ok()?;
    Some(ComfyBackend {
        url: SecretString::from(url.as_str()),
        display_url: shown.as_str().trim_end_matches('/').to_owned(),
    })
}

fn header(pair: &str) -> Option<(String, SecretString)> {
    let (name, value) = pair.split_once(':')?;
    let name = name.trim();
    let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let printable = value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    (token && printable).then(|| (name.to_owned(), SecretString::from(value.trim())))
}

fn queue(reader: &mut Reader<'_>) -> QueueSettings {
    QueueSettings {
        redis: redis::read(reader),
        max_depth: reader.number("QUEUE_MAX_DEPTH", 1, 100_000_000),
        owner_running: u32::try_from(reader.number("OWNER_RUNNING_LIMIT", 0, 1_000_000)).ok().filter(|jobs| *jobs > 0),
        ageing: Duration::from_secs(reader.number("QUEUE_AGEING_SECONDS", 1, 86_400)),
        max_attempts: i32::try_from(reader.number("JOB_MAX_ATTEMPTS", 1, 20)).unwrap_or(3),
        backoff_scale: 1.0,
    }
}

fn worker(reader: &mut Reader<'_>) -> WorkerSettings {
    WorkerSettings {
        node: node(reader),
        port: u16::try_from(reader.number("WORKER_PORT", 0, 65_535)).unwrap_or(0),
        concurrency: usize::try_from(reader.number("MAX_CONCURRENCY", 1, 256)).unwrap_or(1),
        lease: Duration::from_secs(reader.number("WORKER_LEASE_SECONDS", 6, 3_600)),
        grace: Duration::from_secs(reader.number("SHUTDOWN_GRACE_SECONDS", 0, 3_600)),
    }
}

/// The machine's name, where the operator gives no other.
fn node(reader: &mut Reader<'_>) -> String {
    if !reader.is_set("WORKER_NODE") {
        return gethostname::gethostname().to_string_lossy().into_owned();
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    reader
        .parse("WORKER_NODE", "1 to 128 of A-Z, a-z, 0-9, -, _ and .", |text| {
            ((1..=128).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
        })
        .unwrap_or_default()
}

fn warnings(strangers: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    if !strangers.is_empty() {
        warnings.push(format!("unknown names in .env are ignored: {}", strangers.join(", ")));
    }
    warnings
}

/// What processes that share a queue must share besides.
fn shared_warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.queue.redis.is_none() {
        return warnings;
    }
    if settings.database.file().is_some() {
        warnings.push(String::from(
            "REDIS_URL is set and DATABASE_URL is a file: all processes must run on this machine; several machines need \
             Postgres",
        ));
    }
    if matches!(settings.storage.backend, StorageBackend::Local { .. }) {
        warnings.push(String::from(
            "REDIS_URL is set and outputs go to a local folder (STORAGE_PROVIDER=local): every process must see that \
             folder; several machines need s3",
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
