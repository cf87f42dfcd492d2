//! Builds a whole gateway from settings: stores, API, worker; and stops it in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_api::{ApiState, BindError, Parts, Server, ServerHandle};
use gateway_config::{Environment, Settings};
use gateway_core::workflow::{Workflow, WorkflowSource, bundled};
use gateway_db::{Database, DbError, NewWorkflow};
use gateway_storage::Storage;
use gateway_worker::Worker;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::measure::{self, Upkeep};
use crate::stores::{StartError, Stores, VERSION, way_out};

/// How long answers under way may take once a stop was asked for.
const ANSWERS: Duration = Duration::from_secs(10);

/// A running gateway: the API and, in the same process where that is asked for, a worker.
pub struct Gateway {
    address: SocketAddr,
    /// Whether it is reached over TLS.
    secure: bool,
    database: Database,
    storage: Arc<dyn Storage>,
    handle: ServerHandle,
    server: JoinHandle<std::io::Result<()>>,
    worker: Option<Worker>,
    _upkeep: Upkeep,
}

impl Gateway {
    /// Opens the stores, binds the port, recovers what an earlier start left, serves. Without a queue that processes
    /// share there is always a worker; with one only where `with_worker` asks for it.
    ///
    /// # Errors
    /// [`StartError`] where a part can't be had.
    pub async fn start(settings: Settings, with_worker: bool) -> Result<Self, StartError> {
        Self::begin(settings, with_worker, false).await
    }

    /// The same, with a worker; the bundled workflows are there before anything is answered.
    ///
    /// # Errors
    /// [`StartError`] where a part can't be had.
    pub(crate) async fn start_with_bundled(settings: Settings) -> Result<Self, StartError> {
        Self::begin(settings, true, true).await
    }

    async fn begin(settings: Settings, with_worker: bool, bundled: bool) -> Result<Self, StartError> {
        let metrics = measure::begin(settings.metrics)?;
        let Stores { database, broker, storage } = Stores::open(&settings).await?;
        if bundled {
            register_bundled(&database).await.map_err(StartError::Database)?;
        }
        let upkeep = measure::watch(&metrics, &database);
        let embedded = !broker.is_shared();
        let secure = settings.access.tls.is_some();
        let parts = Parts {
            database: database.clone(),
            broker: Arc::clone(&broker),
            storage: Arc::clone(&storage),
            environment: settings.environment,
            http: settings.http.clone(),
            limits: settings.limits.clone(),
            queue: settings.queue.clone(),
            cache: settings.cache.clone(),
            files: settings.files.clone(),
            mcp: settings.mcp,
            images: settings.images.clone(),
            access: settings.access.clone(),
            callbacks: way_out(&settings.webhooks.urls)?,
            sources: way_out(&settings.files.urls)?,
            embedded,
            metrics: Arc::clone(&metrics),
            version: VERSION,
        };
        let address = format!("{}:{}", settings.http.host, settings.http.port);
        check_open(&settings, &database).await?;
        let state = ApiState::new(parts).await.map_err(StartError::Database)?;
        let server = Server::bind(state, ANSWERS).map_err(|error| match error {
            BindError::Certificate(error) => StartError::Certificate(error),
            BindError::Address(source) => StartError::Bind { address, variable: "PORT", source },
        })?;
        let worker = if embedded || with_worker {
            let stores = Stores { database: database.clone(), broker, storage: Arc::clone(&storage) };
            Some(stores.worker(settings, &metrics).await?)
        } else {
            None
        };
        let (address, handle) = (server.address(), server.handle());
        let server = tokio::spawn(server.run());
        Ok(Self { address, secure, database, storage, handle, server, worker, _upkeep: upkeep })
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
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{host}")
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
        if let Some(worker) = self.worker {
            worker.drain().await;
        }
        match self.server.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the server ended with an error"),
            Err(error) => tracing::error!(%error, "the server was ended"),
        }
    }
}

/// Whether callers are asked who they are.
pub(crate) async fn asks(settings: &Settings, database: &Database) -> Result<bool, DbError> {
    Ok(settings.access.knows_callers() || database.has_keys().await?)
}

/// A gateway that asks nobody for credentials says so, and is no gateway for production.
async fn check_open(settings: &Settings, database: &Database) -> Result<(), StartError> {
    if asks(settings, database).await.map_err(StartError::Database)? {
        return Ok(());
    }
    if settings.environment == Environment::Production {
        return Err(StartError::Open);
    }
    tracing::warn!(
        "no credentials are asked for: whoever reaches this port may use it; set API_KEYS, or keep it on a private network"
    );
    Ok(())
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
