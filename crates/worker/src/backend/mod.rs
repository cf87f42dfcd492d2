//! One ComfyUI server: its client, its health, the prompts that wait for it.

mod ability;
mod busy;
mod claims;
mod files;
mod history;
mod monitor;
mod poll;
mod prompts;
mod socket;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use comfyui_client::{ClientConfig, ComfyClient, ConfigError};
use gateway_broker::{BackendReport, BackendState};
use gateway_config::{ComfyBackend, ComfySettings, WorkerSettings};
use secrecy::ExposeSecret as _;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

pub(crate) use ability::Ability;
use files::GivenFiles;

use crate::context::Context;
pub(crate) use poll::Stuck;
pub(crate) use prompts::{OpenPrompts, Registration, Update};

/// How long jobs wait for the event stream.
const SOCKET_SOON: Duration = Duration::from_millis(500);

/// How long jobs wait for what a server says of its node classes: megabytes, where it has many custom nodes.
const CLASSES_SOON: Duration = Duration::from_secs(5);

/// How a server is, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Health {
    pub(crate) state: BackendState,
    pub(crate) problem: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) devices: Vec<String>,
    pub(crate) checkpoints: Vec<String>,
    pub(crate) node_classes: Option<usize>,
    pub(crate) node_catalog: Option<String>,
}

/// Memory of a device, in bytes, as far as the server says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceMemory {
    pub(crate) total: Option<u64>,
    pub(crate) free: Option<u64>,
}

/// An event stream at one moment: the same at two moments says that nothing was missed in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stream {
    client_id: String,
    lost: u64,
}

impl Stream {
    /// The id to submit prompts under.
    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }
}

/// One ComfyUI server.
pub(crate) struct Backend {
    /// What jobs remember it by.
    name: String,
    concurrency: usize,
    pub(crate) client: ComfyClient,
    pub(crate) prompts: OpenPrompts,
    /// Prompts that may be in ComfyUI at once: those that run, and one ahead, so that it never idles between two.
    pub(crate) slots: Arc<Semaphore>,
    /// The id of the event stream that is open.
    pub(crate) client_id: Mutex<Option<String>>,
    /// Whether an event stream is open, or was tried for in vain.
    pub(crate) socket_tried: watch::Sender<bool>,
    /// Events of that stream that came faster than they were read.
    pub(crate) events_lost: AtomicU64,
    pub(crate) poll: Duration,
    /// Longest run of one job.
    patience: Duration,
    health: watch::Sender<Health>,
    /// Of its devices, at the last look.
    memory: Mutex<Vec<DeviceMemory>>,
    /// Why it counts as stuck, while it does.
    stuck: Mutex<Option<Stuck>>,
    ability: Mutex<Ability>,
    /// Input files that it was given.
    pub(crate) files: GivenFiles,
    /// Whether it was asked for its node classes, be it in vain.
    pub(crate) classes_asked: watch::Sender<bool>,
    /// Told when what it can run has changed.
    pub(crate) abilities: watch::Sender<()>,
    /// Wakes the poll before its time.
    hurry: Notify,
    ended: Mutex<Vec<String>>,
}

impl Backend {
    pub(crate) fn new(
        backend: &ComfyBackend,
        settings: &ComfySettings,
        worker: &WorkerSettings,
        shared: bool,
    ) -> Result<Self, ConfigError> {
        let concurrency = worker.concurrency;
        let mut config = ClientConfig::new(backend.url.expose_secret())?;
        config.headers =
            settings.headers.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect();
        config.trace_parent = Some(|| gateway_telemetry::current_trace().map(|trace| trace.to_string()));
        let health = Health {
            state: BackendState::Unknown,
            problem: None,
            version: None,
            devices: Vec::new(),
            checkpoints: Vec::new(),
            node_classes: None,
            node_catalog: None,
        };
        let client = ComfyClient::new(config)?;
        Ok(Self {
            name: name_of(client.display_url(), shared.then_some(&worker.node)),
            concurrency,
            client,
            prompts: OpenPrompts::default(),
            slots: Arc::new(Semaphore::new(concurrency + 1)),
            client_id: Mutex::default(),
            socket_tried: watch::channel(false).0,
            events_lost: AtomicU64::new(0),
            poll: settings.poll,
            patience: settings.timeout,
            health: watch::channel(health).0,
            memory: Mutex::default(),
            stuck: Mutex::default(),
            ability: Mutex::default(),
            files: GivenFiles::default(),
            classes_asked: watch::channel(false).0,
            abilities: watch::channel(()).0,
            hurry: Notify::new(),
            ended: Mutex::default(),
        })
    }

    /// The URL without credentials.
    pub(crate) fn url(&self) -> &str {
        self.client.display_url()
    }

    /// What jobs remember it by: its URL, and where that is a loopback address of one of several machines, the machine.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Looks at what it can run, or changes that.
    pub(crate) fn with_ability<T>(&self, look: impl FnOnce(&mut Ability) -> T) -> T {
        look(&mut self.ability.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many jobs it could begin at once, of whose slots `taken` are in the hands of who asks.
    pub(crate) fn room(&self, taken: usize) -> usize {
        let free = self.slots.available_permits() + taken;
        let busy = (self.concurrency + 1).saturating_sub(free);
        self.concurrency.saturating_sub(busy)
    }

    pub(crate) fn state(&self) -> BackendState {
        self.health.borrow().state
    }

    /// Why no jobs can be given to this server, where that is so.
    pub(crate) fn problem(&self) -> Option<String> {
        self.health.borrow().problem.clone()
    }

    pub(crate) fn watch_health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Waits until jobs can be given to this server.
    pub(crate) async fn ready(&self) {
        let mut health = self.health.subscribe();
        // The sender lives in self, so the channel can't be closed here.
        let _ = health.wait_for(|health| health.state == BackendState::Ready).await;
    }

    /// Waits until no jobs can be given to this server.
    pub(crate) async fn unready(&self) {
        let mut health = self.health.subscribe();
        // The sender lives in self, so the channel can't be closed here.
        let _ = health.wait_for(|health| health.state != BackendState::Ready).await;
    }

    /// Memory of its devices at the last look; none while it can't be looked at.
    pub(crate) fn memory(&self) -> Vec<DeviceMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_memory(&self, memory: Vec<DeviceMemory>) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
    }

    /// Notes how the server is; logs where that is a change.
    pub(crate) fn set_state(&self, state: BackendState, problem: Option<String>) {
        self.prompts.set_up(state == BackendState::Ready);
        if matches!(state, BackendState::Unreachable | BackendState::Misconfigured) {
            self.set_memory(Vec::new());
        }
        self.health.send_if_modified(|health| {
            let changed = health.state != state;
            if changed && state == BackendState::Unreachable {
                self.files.forget();
            }
            if changed {
                let state = state.as_str();
                match &problem {
                    Some(problem) => tracing::warn!(backend = self.name(), state, problem, "ComfyUI can't be used"),
                    None => tracing::info!(backend = self.name(), state, "ComfyUI can be used"),
                }
            }
            let news = changed || health.problem != problem;
            health.state = state;
            health.problem = problem;
            news
        });
    }

    /// Something in front of the server, or in its place, lets nobody through: `reason`.
    pub(crate) fn mark_misconfigured(&self, reason: &str) {
        let problem = format!("{reason}; check COMFYUI_URL and COMFYUI_HEADERS");
        self.set_state(BackendState::Misconfigured, Some(problem));
    }

    pub(crate) fn current_client_id(&self) -> Option<String> {
        self.client_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The event stream that is open, and how much of it was lost so far; `None` while none is.
    pub(crate) fn stream(&self) -> Option<Stream> {
        let client_id = self.current_client_id()?;
        Some(Stream { client_id, lost: self.events_lost.load(Ordering::Relaxed) })
    }

    /// Waits a moment for the event stream of a server that has just come up: a prompt that is sent before has no
    /// progress.
    pub(crate) async fn socket_soon(&self) {
        let mut tried = self.socket_tried.subscribe();
        // In time or not, jobs go on.
        let _ = tokio::time::timeout(SOCKET_SOON, tried.wait_for(|tried| *tried)).await;
    }

    /// Waits for what a server that has just come up says of its node classes: without it, jobs would be taken that it
    /// can't run.
    pub(crate) async fn classes_soon(&self) {
        let mut asked = self.classes_asked.subscribe();
        // In time or not, jobs go on.
        let _ = tokio::time::timeout(CLASSES_SOON, asked.wait_for(|asked| *asked)).await;
    }

    /// Lets the poll look now.
    pub(crate) fn hurry_poll(&self) {
        self.hurry.notify_one();
    }

    /// What is told of it; `discreet`: without what its latest job named.
    pub(crate) fn report(&self, discreet: bool) -> BackendReport {
        let health = self.health.borrow().clone();
        BackendReport {
            name: self.name.clone(),
            url: self.url().to_owned(),
            state: health.state,
            problem: health.problem,
            version: health.version,
            devices: health.devices,
            node_classes: health.node_classes,
            node_catalog: health.node_catalog,
            checkpoints: health.checkpoints,
            loaded: if discreet { Vec::new() } else { self.with_ability(|ability| ability.loaded()) },
            concurrency: self.concurrency,
            in_flight: self.prompts.count(),
        }
    }
}

fn name_of(url: &str, node: Option<&String>) -> String {
    let loopback = || match url::Url::parse(url).ok()?.host()? {
        url::Host::Domain(name) => Some(name == "localhost" || name.ends_with(".localhost")),
        url::Host::Ipv4(address) => Some(address.is_loopback()),
        url::Host::Ipv6(address) => Some(address.is_loopback()),
    };
    match node {
        Some(node) if loopback().unwrap_or(false) => format!("{url}@{node}"),
        _ => url.to_owned(),
    }
}

/// Starts the tasks of one server.
pub(crate) fn spawn(tasks: &mut JoinSet<()>, context: &Arc<Context>, backend: &Arc<Backend>) {
    tasks.spawn(monitor::run(Arc::clone(context), Arc::clone(backend)));
    tasks.spawn(socket::run(Arc::clone(backend)));
    tasks.spawn(poll::run(Arc::clone(backend)));
    tasks.spawn(history::run(Arc::clone(backend)));
    tasks.spawn(claims::run(Arc::clone(context), Arc::clone(backend)));
}
