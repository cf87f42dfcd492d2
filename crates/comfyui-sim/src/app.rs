//! What outlives a crash of the simulated process: configuration, switches, files and counters.
//! Starts and ends the lives of the process.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::SimConfig;
use crate::connection::{CutListener, Peer};
use crate::definitions::Definitions;
use crate::files::{FileKey, FileStore, Folder};
use crate::http;
use crate::life::Life;
use crate::picture;
use crate::run;
use crate::stats::Recorder;
use crate::switches::Switches;
use crate::sync::lock;

/// How long the end of a life may take before it is left to itself.
const END_DEADLINE: Duration = Duration::from_secs(5);

struct Current {
    life: Arc<Life>,
    serving: JoinHandle<()>,
}

/// One simulator, whether its process is up or down.
pub(crate) struct App {
    pub(crate) config: SimConfig,
    pub(crate) definitions: Definitions,
    pub(crate) files: Arc<FileStore>,
    pub(crate) stats: Recorder,
    switches: watch::Sender<Arc<Switches>>,
    address: Mutex<SocketAddr>,
    current: Mutex<Option<Current>>,
    /// The handle is gone: no new life begins.
    closed: AtomicBool,
    /// Lives begin and end one at a time.
    turn: tokio::sync::Mutex<()>,
}

impl App {
    pub(crate) fn new(mut config: SimConfig) -> io::Result<Arc<Self>> {
        config.base_path = config.base_path.trim_end_matches('/').to_owned();
        let files = FileStore::open(config.data_dir.clone())?;
        seed_example(&files);
        Ok(Arc::new(Self {
            definitions: Definitions::new(&config.checkpoints),
            files: Arc::new(files),
            stats: Recorder::default(),
            switches: watch::Sender::new(Arc::new(config.switches.clone())),
            address: Mutex::new(config.listen),
            current: Mutex::default(),
            closed: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
            config,
        }))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        *lock(&self.address)
    }

    pub(crate) fn switches(&self) -> Arc<Switches> {
        self.switches.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Switches>> {
        self.switches.subscribe()
    }

    pub(crate) fn change_switches<T>(&self, change: impl FnOnce(&mut Switches) -> T) -> T {
        let mut result = None;
        self.switches.send_modify(|switches| result = Some(change(Arc::make_mut(switches))));
        match result {
            Some(result) => result,
            None => unreachable!("the closure always runs"),
        }
    }

    /// Starts the process, unless it runs.
    pub(crate) async fn boot(self: &Arc<Self>) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        if lock(&self.current).is_some() || self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let listener = TcpListener::bind(self.address()).await?;
        *lock(&self.address) = listener.local_addr()?;
        let (life, outbox) = Life::new(self.clone());
        let listener = CutListener { inner: listener, token: life.token.clone(), tracker: life.tracker.clone() };
        let service: IntoMakeServiceWithConnectInfo<axum::Router, Peer> =
            http::router(&life).into_make_service_with_connect_info();
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service).await {
                tracing::error!(%error, "the simulator no longer accepts connections");
            }
        });
        let (publisher, worker) = (life.clone(), life.clone());
        let switches = self.watch();
        life.tracker.spawn(life.token.clone().run_until_cancelled_owned(async move {
            publisher.hub.publish(outbox, switches).await;
        }));
        life.tracker.spawn(life.token.clone().run_until_cancelled_owned(run::work(worker)));
        let (address, profile) = (self.address(), life.profile);
        tracing::info!(%address, %profile, "simulated ComfyUI is listening");
        *lock(&self.current) = Some(Current { life, serving });
        Ok(())
    }

    /// Ends the process at once. Files in `output` and `input` stay. False: it was down already.
    pub(crate) async fn end(&self) -> bool {
        let _turn = self.turn.lock().await;
        let Some(Current { life, serving }) = lock(&self.current).take() else { return false };
        life.token.cancel();
        serving.abort();
        let _ = serving.await;
        life.tracker.close();
        if tokio::time::timeout(END_DEADLINE, life.tracker.wait()).await.is_err() {
            tracing::warn!("connections of a simulator outlive it");
        }
        self.files.clear_temp();
        true
    }

    /// A crash, as opposed to a wanted end.
    pub(crate) async fn crash(&self) {
        if self.end().await {
            self.stats.crashed();
            tracing::info!("simulated ComfyUI crashed");
        }
    }

    /// Crashes from within a task of the life that ends, and comes back after `down`, if that is given.
    pub(crate) fn die(self: &Arc<Self>, down: Option<Duration>) {
        let app = self.clone();
        tokio::spawn(async move {
            app.crash().await;
            if let Some(down) = down {
                tokio::time::sleep(down).await;
                if let Err(error) = app.boot().await {
                    tracing::error!(%error, "the simulator could not come back");
                }
            }
        });
    }

    /// Cuts everything without waiting: for a simulator that is dropped.
    pub(crate) fn abandon(&self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(Current { life, serving }) = lock(&self.current).take() {
            life.token.cancel();
            serving.abort();
        }
    }
}

/// The picture that lies in `input` of every installation.
fn seed_example(files: &FileStore) {
    let key = FileKey::new(Folder::Input, "", "example.png");
    if files.exists(&key) {
        return;
    }
    let scene = picture::Scene { width: 64, height: 64, seed: 0, steps: 0, text: "example", index: 0 };
    match picture::png(&picture::paint(&scene), false, &picture::PngExtras::default()) {
        Ok(file) => files.put(key, file),
        Err(error) => tracing::warn!(%error, "there is no example picture"),
    }
}
