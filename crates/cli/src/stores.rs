//! What every process of a gateway opens first: the database, the queue, the outputs; and a worker over them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_broker::{Broker, MemoryBroker, OpenError, RedisBroker};
use gateway_config::{DatabaseSettings, Environment, Settings, UrlSettings};
use gateway_core::chain;
use gateway_db::{Access, Database, DbError};
use gateway_egress::Policy;
use gateway_metrics::{Exposition, NotMeasured};
use gateway_storage::{Storage, StorageError};
use gateway_worker::{Worker, WorkerParts};

use crate::exit::Failure;

/// The version of the gateway.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a process before this one may take to let go of the database.
const SUCCESSION: Duration = Duration::from_secs(2);

/// Why a gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// The database can't be opened or used.
    Database(DbError),
    /// The output folder or the bucket can't be used.
    Storage(StorageError),
    /// TLS_CERT or TLS_KEY can't be used.
    Certificate(std::io::Error),
    /// The port can't be bound.
    Bind {
        /// Host and port.
        address: String,
        /// The variable that holds the port.
        variable: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The queue can't be used.
    Queue(OpenError),
    /// The worker did not start.
    Worker(gateway_worker::StartError),
    /// It would ask nobody for credentials, in production.
    Open,
    /// Nothing can be measured.
    Metrics(NotMeasured),
    /// Nothing can be sent: the system's trust in certificates can't be read.
    Egress(gateway_egress::BuildError),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Storage(error @ StorageError::Bucket { .. }) => write!(f, "{}", chain(error)),
            Self::Storage(error) => write!(f, "the output folder (STORAGE_LOCAL_PATH) can't be used: {}", chain(error)),
            Self::Bind { address, variable, source } if source.kind() == std::io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use by another program: stop that, or choose another {variable}")
            }
            Self::Certificate(error) => error.fmt(f),
            Self::Bind { address, variable, source } => {
                write!(f, "{address} can't be bound (HOST, {variable}): {source}")
            }
            Self::Queue(error) => error.fmt(f),
            Self::Worker(error) => write!(f, "{}", chain(error)),
            Self::Egress(error) => write!(f, "{}", chain(error)),
            Self::Metrics(error) => error.fmt(f),
            Self::Open => f.write_str(
                "NODE_ENV/GATEWAY_ENV is production, and no credentials would be asked for: anybody could run jobs. Set \
                 API_KEYS or JWT_SECRET, or make a key with `comfyui-gateway keys create`",
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl From<StartError> for Failure {
    /// What the settings ask for and can't be had is another end than what failed.
    fn from(error: StartError) -> Self {
        match error {
            StartError::Open => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

/// The stores.
pub(crate) struct Stores {
    pub(crate) database: Database,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) storage: Arc<dyn Storage>,
}

impl Stores {
    /// Opens them: for this process alone, or with a queue that processes share, beside others.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, StartError> {
        let ageing = settings.queue.ageing;
        let (access, broker): (_, Arc<dyn Broker>) = match &settings.queue.redis {
            Some(redis) => {
                let broker = RedisBroker::open(redis, ageing).await.map_err(StartError::Queue)?;
                (Access::Shared, Arc::new(broker))
            }
            None => (Access::Exclusive, Arc::new(MemoryBroker::new(ageing))),
        };
        let database = open_patiently(&settings.database, access).await.map_err(StartError::Database)?;
        let storage = gateway_storage::open(&settings.storage).await.map_err(StartError::Storage)?;
        Ok(Self { database, broker, storage })
    }

    /// Starts a worker over them, which `metrics` shows.
    pub(crate) async fn worker(self, settings: Settings, metrics: &Exposition) -> Result<Worker, StartError> {
        let hidden = settings.environment == Environment::Production;
        let parts = WorkerParts {
            database: self.database,
            broker: self.broker,
            storage: self.storage,
            comfyui: settings.comfyui,
            queue: settings.queue,
            worker: settings.worker,
            egress: way_out(&settings.webhooks.urls)?,
            webhooks: settings.webhooks,
            cache: settings.cache,
            files: settings.files,
            retention: settings.retention,
            privacy: settings.access.privacy,
            version: VERSION,
        };
        let worker = Worker::start(parts).await.map_err(StartError::Worker)?;
        metrics.add(worker.gauges(hidden));
        Ok(worker)
    }
}

/// A client for URLs that callers name.
pub(crate) fn way_out(urls: &UrlSettings) -> Result<gateway_egress::Client, StartError> {
    let policy = Policy { allow: urls.allow.clone(), require_https: urls.require_https };
    gateway_egress::Client::system(policy).map_err(StartError::Egress)
}

/// Opens the database for a command: alone where it is a file of one process, else beside a gateway that runs.
pub(crate) async fn open_beside(settings: &Settings) -> Result<Database, DbError> {
    let alone = settings.database.file().is_some() && settings.queue.redis.is_none();
    open(&settings.database, if alone { Access::Exclusive } else { Access::Beside }).await
}

/// Opens the database for a process that serves or works. One that has just ended may hold it a moment longer: on a
/// server, until that has seen its connection go.
async fn open_patiently(settings: &DatabaseSettings, access: Access) -> Result<Database, DbError> {
    let began = Instant::now();
    loop {
        match open(settings, access).await {
            Err(DbError::InUse { .. }) if began.elapsed() < SUCCESSION => tokio::time::sleep(SUCCESSION / 20).await,
            opened => return opened,
        }
    }
}

async fn open(settings: &DatabaseSettings, access: Access) -> Result<Database, DbError> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || Database::open(&settings, access))
        .await
        .unwrap_or_else(|error| Err(DbError::Unavailable { reason: error.to_string() }))
}
