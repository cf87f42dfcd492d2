//! One struct a concern: what the parts of the gateway are built from. Parses nothing.

mod access;

use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_core::allowlist::Allowlist;
use gateway_core::webhook::SigningSecrets;
use secrecy::SecretString;

pub use access::{AccessSettings, Origins, RateSettings, RawSettings, TlsSettings};

pub use crate::images::{ImageModel, ImageModels, ImageSettings};
pub use crate::mcp::McpSettings;
pub use crate::telemetry::{LogFilter, LogFormat, LogSettings, Sampling, TraceSettings};

/// Everything that is configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Development, test or production.
    pub environment: Environment,
    /// The HTTP server.
    pub http: HttpSettings,
    /// The ComfyUI servers.
    pub comfyui: ComfySettings,
    /// The database.
    pub database: DatabaseSettings,
    /// Where outputs lie.
    pub storage: StorageSettings,
    /// The queue.
    pub queue: QueueSettings,
    /// The worker.
    pub worker: WorkerSettings,
    /// What a job may ask for.
    pub limits: LimitSettings,
    /// Messages to the owners of jobs.
    pub webhooks: WebhookSettings,
    /// Results that are used again.
    pub cache: CacheSettings,
    /// Files in and out.
    pub files: FileSettings,
    /// How long what is kept.
    pub retention: RetentionSettings,
    /// Tools for agents.
    pub mcp: McpSettings,
    /// OpenAI's images API.
    pub images: ImageSettings,
    /// Who may do what.
    pub access: AccessSettings,
    /// Logging.
    pub log: LogSettings,
    /// Where traces go; `None` for nowhere.
    pub traces: Option<TraceSettings>,
    /// Whether anything is measured for `/metrics`.
    pub metrics: bool,
    /// Sentences that the operator should read once at start, whatever the process does.
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    /// Sentences that the operator should read once at start of a process, which `works` where it runs jobs and sends
    /// webhooks.
    pub fn warnings(&self, works: bool) -> impl Iterator<Item = &str> {
        let unsigned =
            "WEBHOOK_SECRET is not set: webhooks are sent unsigned, and receivers can't tell them from forged ones";
        let unsigned = (works && self.webhooks.secrets.is_empty()).then_some(unsigned);
        unsigned.into_iter().chain(self.warnings.iter().map(String::as_str))
    }
}

/// What kind of place this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine.
    Development,
    /// A test run.
    Test,
    /// Users depend on it: insecure settings stop the start, internals are not shown.
    Production,
}

/// The HTTP server.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Address or host name to bind.
    pub host: String,
    /// Port to bind; 0 takes a free one.
    pub port: u16,
    /// Largest JSON body in bytes.
    pub max_json_bytes: usize,
    /// Largest body that asks for jobs, in bytes: it may hold files.
    pub max_job_bytes: usize,
    /// How long it goes on serving after a stop was asked for, no longer live for a load balancer.
    pub delay: Duration,
    /// Largest body that registers a workflow, in bytes.
    pub max_workflow_bytes: usize,
}

/// One ComfyUI server.
#[derive(Clone)]
pub struct ComfyBackend {
    /// The URL as configured; may hold credentials.
    pub url: SecretString,
    /// The URL without credentials.
    pub display_url: String,
}

impl std::fmt::Debug for ComfyBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.display_url)
    }
}

/// The ComfyUI servers and how they are talked to.
#[derive(Debug, Clone)]
pub struct ComfySettings {
    /// Whether the servers were named, or are the default.
    pub configured: bool,
    /// At least one.
    pub backends: Vec<ComfyBackend>,
    /// Extra headers for each request and socket.
    pub headers: Vec<(String, SecretString)>,
    /// Longest run of one job.
    pub timeout: Duration,
    /// How often open prompts are looked up.
    pub poll: Duration,
}

/// The database.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// Where it is.
    pub target: DatabaseTarget,
    /// Connections that read.
    pub connections: u32,
    /// How long one statement may take on a server.
    pub statement_timeout: Duration,
    /// Whether what jobs were about is taken out of their records when they end.
    pub redact: bool,
}

impl DatabaseSettings {
    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.target {
            DatabaseTarget::Sqlite { path } => Some(path),
            DatabaseTarget::Postgres { .. } => None,
        }
    }

    /// For people: a file, or a server without its credentials.
    pub fn shown(&self) -> String {
        match &self.target {
            DatabaseTarget::Sqlite { path } => path.display().to_string(),
            DatabaseTarget::Postgres { shown, .. } => shown.clone(),
        }
    }
}

/// Where the database is.
#[derive(Debug, Clone)]
pub enum DatabaseTarget {
    /// A file of SQLite's.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// A server.
    Postgres {
        /// The URL as configured; may hold credentials.
        url: SecretString,
        /// The URL without credentials.
        shown: String,
    },
}

/// Where outputs lie.
#[derive(Debug, Clone)]
pub struct StorageSettings {
    /// Which engine keeps them.
    pub backend: StorageBackend,
    /// Largest output in bytes.
    pub max_output_bytes: u64,
}

/// The engine that keeps outputs.
#[derive(Debug, Clone)]
pub enum StorageBackend {
    /// A folder on local disk.
    Local {
        /// The folder.
        root: PathBuf,
    },
    /// A bucket of an S3 server.
    S3(S3Settings),
}

/// A bucket of an S3 server, and how it is reached.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The server's URL without a `/` at its end; `None` for AWS.
    pub endpoint: Option<String>,
    /// The bucket.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The id of the key.
    pub access_key: SecretString,
    /// The key.
    pub secret_key: SecretString,
    /// Whether the bucket is the first part of the path, or of the host name.
    pub path_style: bool,
    /// What all keys begin with, without `/` at its ends; may be empty.
    pub prefix: String,
}

/// A Redis server that carries the queue.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// The URL as configured; may hold credentials.
    pub url: SecretString,
    /// The URL without credentials.
    pub shown: String,
    /// What all keys begin with, as a hash tag.
    pub prefix: String,
}

/// The queue.
#[derive(Debug, Clone)]
pub struct QueueSettings {
    /// The server that processes share; `None` for a queue in this process.
    pub redis: Option<RedisSettings>,
    /// Jobs that may wait.
    pub max_depth: u64,
    /// Jobs of one owner that may run at once; `None`: as many as there is room for.
    pub owner_running: Option<u32>,
    /// Waiting this long lifts a job by one priority.
    pub ageing: Duration,
    /// Attempts before a job fails.
    pub max_attempts: i32,
    /// Multiplies the waits between attempts; 1.0 outside tests.
    pub backoff_scale: f64,
}

/// The worker.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The machine it runs on: tells ComfyUI servers on loopback addresses of several machines apart.
    pub node: String,
    /// The port on which a worker alone says how it is; 0 for none.
    pub port: u16,
    /// Prompts that one ComfyUI is given to run; one more waits there.
    pub concurrency: usize,
    /// How long a claim holds without renewal.
    pub lease: Duration,
    /// How long running jobs may go on after a stop was asked for.
    pub grace: Duration,
}

/// What a job may ask for.
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// Largest width or height.
    pub max_image_size: u64,
    /// Largest batch.
    pub max_batch_size: u64,
}

/// Which URLs of callers may be called.
#[derive(Debug, Clone)]
pub struct UrlSettings {
    /// The hosts.
    pub allow: Allowlist,
    /// Whether plain HTTP is only for hosts that are named.
    pub require_https: bool,
}

/// Messages to the owners of jobs.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// What they are signed with; none: they are not signed.
    pub secrets: SigningSecrets,
    /// Where they may go.
    pub urls: UrlSettings,
    /// Multiplies the waits between tries; 1.0 outside tests.
    pub retry_scale: f64,
}

/// Who may get whose results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Owners get their own only.
    Owner,
    /// Anybody gets anybody's.
    Global,
}

/// Results that are used again.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// How long a result is good; `None`: results are not used again.
    pub ttl: Option<Duration>,
    /// Who may get whose.
    pub scope: CacheScope,
}

/// Files in and out.
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// Largest file that a caller may hand in, in bytes.
    pub max_upload_bytes: u64,
    /// How long one is kept that no job uses.
    pub upload_ttl: Duration,
    /// Where files may be fetched from.
    pub urls: UrlSettings,
    /// Most bytes of outputs that one answer holds as Base64.
    pub max_inline_bytes: u64,
    /// Whether outputs are stored without what ComfyUI writes into them of prompt and workflow.
    pub strip_metadata: bool,
    /// Pictures that are converted at the same time.
    pub conversions: usize,
}

/// How long what is kept; `None` is for ever.
#[derive(Debug, Clone, Copy)]
pub struct RetentionSettings {
    /// Ended jobs.
    pub jobs: Option<Duration>,
    /// The bytes of their outputs.
    pub outputs: Option<Duration>,
}
