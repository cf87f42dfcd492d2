//! The connections to Redis, and whether it can be used. While it can't, calls fail at once instead of each waiting for
//! its time to run out, and one task looks whether it is back.
//!
//! Calls share one connection: those that come together go together, and none waits for a check of a connection of its own.
//! Looks take one from a pool, which checks it: what is known of the shared one may be old.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, Pipeline, RedisError, Script, ScriptInvocation,
    ServerErrorKind,
};
use deadpool_redis::{Manager, Pool, PoolError, Runtime, redis};
use gateway_config::RedisSettings;
use gateway_metrics::{Counter, Histogram, REDIS_DURATION, REDIS_ERRORS};
use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use super::OpenError;
use super::check::{Verdict, check};
use super::keys;
use crate::BrokerError;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two looks whether Redis is back.
const LOOK: Duration = Duration::from_millis(250);
/// Connections for looks.
const LOOKS: usize = 2;

/// How Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Up,
    /// Why not.
    Down(String),
}

/// The connections to Redis.
#[derive(Clone)]
pub(super) struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    /// What calls share, from the first of them until Redis can't be used.
    shared: Mutex<Option<MultiplexedConnection>>,
    pool: Pool,
    root: String,
    shown: String,
    state: watch::Sender<State>,
    /// Said last, so that it is not said over and over.
    full: Mutex<Option<tokio::time::Instant>>,
    /// How long calls take, and those that fail.
    times: Histogram,
    failures: Counter,
}

impl Link {
    /// Prepares connections and looks whether Redis can be used. One that can't be reached is waited for.
    pub(super) async fn open(settings: &RedisSettings) -> Result<Self, OpenError> {
        let url = settings.url.expose_secret();
        let unusable = |error: RedisError| OpenError::Url { reason: without(&error.to_string(), url) };
        let manager = Manager::new_with_config(url, patience()).map_err(unusable)?;
        let client = Client::open(url).map_err(unusable)?;
        let pool = Pool::builder(manager)
            .max_size(LOOKS)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(ANSWER))
            .wait_timeout(Some(ANSWER))
            .build()
            .map_err(|error| OpenError::Url { reason: error.to_string() })?;
        let (root, shown) = (keys::root(&settings.prefix), settings.shown.clone());
        let (state, full) = (watch::channel(State::Up).0, Mutex::default());
        let (times, failures) = (REDIS_DURATION.of([]), REDIS_ERRORS.of([]));
        let shared = Mutex::default();
        let link = Self { inner: Arc::new(Inner { client, shared, pool, root, shown, state, full, times, failures }) };
        match link.look().await {
            Ok(Verdict::Good) => {}
            Ok(Verdict::Warning(warning)) => tracing::warn!("{warning}"),
            Ok(Verdict::Refused(refusal)) => {
                let reason = refusal.to_string();
                return Err(OpenError::Refused { server: link.inner.shown.clone(), reason });
            }
            Err(Failure { fatal: true, reason, .. }) => {
                return Err(OpenError::Refused { server: link.inner.shown.clone(), reason });
            }
            Err(failure) => link.set_down(&failure.reason),
        }
        Ok(link)
    }

    /// What every key begins with.
    pub(super) fn root(&self) -> &str {
        &self.inner.root
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.inner.root)
    }

    pub(super) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(super) fn states(&self) -> watch::Receiver<State> {
        self.inner.state.subscribe()
    }

    pub(super) fn is_up(&self) -> bool {
        *self.inner.state.borrow() == State::Up
    }

    /// Runs `script` with `arguments`.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        arguments: impl FnOnce(&mut ScriptInvocation<'_>),
    ) -> Result<T, BrokerError> {
        self.usable()?;
        let mut invocation = script.key(self.root());
        arguments(&mut invocation);
        let began = Instant::now();
        let result = async { invocation.invoke_async(&mut self.connection().await?).await.map_err(Failure::from) };
        self.judge(began, result.await)
    }

    /// Sends commands together.
    pub(super) async fn send<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, BrokerError> {
        self.usable()?;
        let began = Instant::now();
        let result = async { pipeline.query_async(&mut self.connection().await?).await.map_err(Failure::from) };
        self.judge(began, result.await)
    }

    fn usable(&self) -> Result<(), BrokerError> {
        match &*self.inner.state.borrow() {
            State::Up => Ok(()),
            State::Down(reason) => Err(BrokerError { reason: reason.clone() }),
        }
    }

    /// What calls share.
    async fn connection(&self) -> Result<MultiplexedConnection, Failure> {
        if let Some(shared) = self.shared().clone() {
            return Ok(shared);
        }
        let made = self.inner.client.get_multiplexed_async_connection_with_config(&patience()).await?;
        // Another call may have made one meanwhile.
        Ok(self.shared().get_or_insert(made).clone())
    }

    fn shared(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.inner.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge<T>(&self, began: Instant, result: Result<T, Failure>) -> Result<T, BrokerError> {
        self.inner.times.record(began.elapsed());
        result.map_err(|failure| {
            self.inner.failures.increment(1);
            if failure.full {
                self.say_full();
            } else if failure.down {
                self.set_down(&failure.reason);
            }
            BrokerError { reason: failure.reason }
        })
    }

    fn say_full(&self) {
        let mut said = self.inner.full.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
            *said = Some(tokio::time::Instant::now());
            tracing::error!(
                redis = self.inner.shown,
                "Redis is full: jobs are kept in the database, and workers look for them there; raise its maxmemory"
            );
        }
    }

    /// Notes that Redis can't be used, and has one task look for its return.
    fn set_down(&self, reason: &str) {
        let news = self.inner.state.send_if_modified(|state| {
            let news = *state == State::Up;
            if news {
                *state = State::Down(reason.to_owned());
            }
            news
        });
        if !news {
            return;
        }
        tracing::warn!(
            redis = self.inner.shown,
            error = reason,
            "Redis can't be used: jobs are kept in the database, and workers look for them there until it is back"
        );
        // They may lead to a server that is no longer the one to write to.
        self.inner.pool.retain(|_, _| false);
        self.shared().take();
        tokio::spawn(self.clone().wait_for_return());
    }

    async fn wait_for_return(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            // Nobody holds it but this task.
            if Arc::strong_count(&self.inner) == 1 {
                return;
            }
            match self.look().await {
                Ok(Verdict::Refused(refusal)) => {
                    let reason = refusal.to_string();
                    self.inner.state.send_if_modified(|state| {
                        let news = *state != State::Down(reason.clone());
                        if news {
                            tracing::error!(redis = self.inner.shown, "{reason}");
                            *state = State::Down(reason.clone());
                        }
                        news
                    });
                }
                Ok(_) => {
                    tracing::info!(redis = self.inner.shown, "Redis can be used");
                    self.inner.state.send_replace(State::Up);
                    return;
                }
                Err(failure) => tracing::debug!(error = failure.reason, "Redis is not back yet"),
            }
        }
    }

    /// Whether Redis takes writes and keeps them.
    async fn look(&self) -> Result<Verdict, Failure> {
        let mut connection = self.inner.pool.get().await?;
        let mut write = redis::cmd("SET");
        write.arg(self.key("ping")).arg(1).arg("PX").arg(60_000);
        match write.query_async::<()>(&mut connection).await.map_err(Failure::from) {
            // Full is not away: what it has can be taken.
            Err(failure) if failure.full => self.say_full(),
            other => other?,
        }
        check(&mut connection).await.map_err(Failure::from)
    }
}

/// How long a connection and an answer may take; no call blocks.
fn patience() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER))
}

/// Why a call failed.
pub(super) struct Failure {
    pub(super) reason: String,
    /// Redis can't be used for the moment.
    down: bool,
    /// Redis has no memory left.
    full: bool,
    /// Waiting won't help.
    pub(super) fatal: bool,
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let code = error.code().unwrap_or_default();
        let fatal =
            error.kind() == ErrorKind::AuthenticationFailed || matches!(code, "NOAUTH" | "WRONGPASS" | "NOPERM");
        let away = matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::ClusterDown
            )
        );
        let full = code == "OOM" || error.detail().is_some_and(|detail| detail.contains("OOM command not allowed"));
        let down = fatal || away || error.is_io_error() || error.is_timeout() || error.is_connection_dropped();
        Self { reason: error.to_string(), down, full, fatal }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self { down: true, ..Self::from(error) },
            PoolError::Timeout(_) => {
                Self { reason: String::from("it does not answer in time"), down: true, full: false, fatal: false }
            }
            other => Self { reason: other.to_string(), down: true, full: false, fatal: false },
        }
    }
}

/// The message without what the URL holds.
pub(super) fn without(message: &str, url: &str) -> String {
    message.replace(url, "(the URL)")
}
