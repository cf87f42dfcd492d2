//! Builds a whole gateway from settings: stores, API, worker; and stops it in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_api::{ApiState, Parts, Server, ServerHandle};
use gateway_broker::{Broker, MemoryBroker};
use gateway_config::{DatabaseSettings, Settings};
use gateway_core::workflow::{Workflow, WorkflowSource, bundled};
use gateway_db::{Access, Database, DbError, NewWorkflow};
use gateway_storage::{Storage, StorageError};
use gateway_worker::{Worker, WorkerParts};
use serde_json::Value;
use tokio::task::JoinHandle;

/// How long answers under way may take once a stop was asked for.
const ANSWERS: Duration = Duration::from_secs(10);

/// How long a process before this one may take to let go of the database.
const SUCCESSION: Duration = Duration::from_secs(2);

/// Why a gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// The database can't be opened or used.
    Database(DbError),
    /// The output folder or the bucket can't be used.
    Storage(StorageError),
    /// The port can't be bound.
    Bind {
        /// Host and port.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The worker did not start.
    Worker(gateway_worker::StartError),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Storage(error @ StorageError::Bucket { .. }) => f.write_str(&chain(error)),
            Self::Storage(error) => write!(f, "the output folder (STORAGE_LOCAL_PATH) can't be used: {}", chain(error)),
            Self::Bind { address, source } if source.kind() == std::io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use by another program: stop that, or choose another PORT")
            }
            Self::Bind { address, source } => write!(f, "{address} can't be bound (HOST, PORT): {source}"),
            Self::Worker(error) => f.write_str(&chain(error)),
        }
    }
}

impl std::error::Error for StartError {}

/// An error with its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A running gateway: the API and, in the same process, a worker.
pub struct Gateway {
    address: SocketAddr,
    database: Database,
    storage: Arc<dyn Storage>,
    handle: ServerHandle,
    server: JoinHandle<std::io::Result<()>>,
    worker: Worker,
}

impl Gateway {
    /// Opens the stores, binds the port, recovers what an earlier start left, serves.
    ///
    /// # Errors
    /// [`StartError`] where a part can't be had.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let database = open_alone(&settings.database).await.map_err(StartError::Database)?;
        let storage = gateway_storage::open(&settings.storage).await.map_err(StartError::Storage)?;
        let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(settings.queue.ageing));
        let parts = Parts {
            database: database.clone(),
            broker: Arc::clone(&broker),
            storage: Arc::clone(&storage),
            environment: settings.environment,
            http: settings.http.clone(),
            limits: settings.limits,
            queue: settings.queue.clone(),
            embedded: true,
            version: env!("CARGO_PKG_VERSION"),
        };
        let address = format!("{}:{}", settings.http.host, settings.http.port);
        let state = ApiState::new(parts).await.map_err(StartError::Database)?;
        let server = Server::bind(state, ANSWERS).map_err(|source| StartError::Bind { address, source })?;
        let worker = Worker::start(WorkerParts {
            database: database.clone(),
            broker,
            storage: Arc::clone(&storage),
            comfyui: settings.comfyui,
            queue: settings.queue,
            worker: settings.worker,
        })
        .await
        .map_err(StartError::Worker)?;
        let (address, handle) = (server.address(), server.handle());
        Ok(Self { address, database, storage, handle, server: tokio::spawn(server.run()), worker })
    }

    /// The address that is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL under which this machine reaches it.
    pub fn url(&self) -> String {
        let host = match self.address {
            address if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
            address => address.to_string(),
        };
        format!("http://{host}")
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The storage.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Stops accepting, lets answers and jobs under way end within their grace, hands back the rest.
    pub async fn stop(self) {
        self.handle.stop().await;
        self.worker.drain().await;
        match self.server.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the server ended with an error"),
            Err(error) => tracing::error!(%error, "the server was ended"),
        }
    }
}

/// Opens the database for a command: alone where it is a file, beside a gateway that runs where it is a server.
pub(crate) async fn open_beside(settings: &DatabaseSettings) -> Result<Database, DbError> {
    let access = if settings.file().is_some() { Access::Exclusive } else { Access::Shared };
    open(settings, access).await
}

/// Opens the database for this process alone. One that has just ended may hold it a moment longer: on a server, until
/// that has seen its connection go.
async fn open_alone(settings: &DatabaseSettings) -> Result<Database, DbError> {
    let began = Instant::now();
    loop {
        match open(settings, Access::Exclusive).await {
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

/// Registers the bundled workflows that are not there yet; returns their ids.
///
/// # Errors
/// [`DbError`] where the database fails.
pub(crate) async fn register_bundled(database: &Database) -> Result<Vec<&'static str>, DbError> {
    let mut registered = Vec::new();
    for workflow in bundled() {
        if database.find_workflow(workflow.id, None).await?.is_some() {
            continue;
        }
        let corrupt = |reason: String| DbError::Corrupt { row: format!("bundled workflow {}", workflow.id), reason };
        let graph: Value = serde_json::from_str(workflow.graph).map_err(|error| corrupt(error.to_string()))?;
        let schema: Value = serde_json::from_str(workflow.schema).map_err(|error| corrupt(error.to_string()))?;
        let source = WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] };
        Workflow::compile(source, None).map_err(|faults| corrupt(format!("{faults:?}")))?;
        let new = NewWorkflow {
            id: workflow.id.to_owned(),
            name: workflow.name.to_owned(),
            description: workflow.description.to_owned(),
            graph,
            input_schema: schema,
            outputs: Vec::new(),
            requirements: None,
        };
        match database.create_workflow(new).await {
            Ok(_) => registered.push(workflow.id),
            Err(DbError::Duplicate) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(registered)
}
