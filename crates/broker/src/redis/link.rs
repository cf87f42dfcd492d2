//! The connections to Redis, and whether it can be used. While it can't, calls fail at once instead of each waiting for
//! its time to run out, and one task looks whether it is back.
//!
//! Calls share one connection (`shared`). Those with large texts take one of a pool, so that no short one waits behind them;
//! looks make their own, and what a look found good is what calls share then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::redis::{
    Client, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Script, ScriptInvocation, ServerErrorKind,
};
use deadpool_redis::{Manager, Pool, PoolError, Runtime, redis};
use gateway_config::RedisSettings;
use gateway_metrics::{Counter, Histogram, REDIS_DURATION, REDIS_ERRORS};
use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use super::OpenError;
use super::check::{Verdict, check};
use super::keys;
use super::shared::{ANSWER, CONNECT, Call, Connections, patience};
use crate::BrokerError;

/// Between two looks whether Redis is back.
const LOOK: Duration = Duration::from_millis(250);
/// Connections for large texts.
const LARGE: usize = 2;

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
    connections: Connections,
    /// For large texts.
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
            .max_size(LARGE)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(ANSWER))
            .wait_timeout(Some(ANSWER))
            .build()
            .map_err(|error| OpenError::Url { reason: error.to_string() })?;
        let (root, shown) = (keys::root(&settings.prefix), settings.shown.clone());
        let (state, full) = (watch::channel(State::Up).0, Mutex::default());
        let (times, failures) = (REDIS_DURATION.of([]), REDIS_ERRORS.of([]));
        let connections = Connections::new(client);
        let link = Self { inner: Arc::new(Inner { connections, pool, root, shown, state, full, times, failures }) };
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
            Err(failure) => link.set_down(link.inner.connections.turn(), &failure.reason),
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
        self.inner.connections.client()
    }

    /// As if the shared connection had been closed.
    #[cfg(test)]
    pub(super) fn forget_connection(&self) {
        self.inner.connections.give_up(self.inner.connections.turn());
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
        let (began, mut call) = (Instant::now(), Call::new(&self.inner.connections));
        let answer = invocation.invoke_async(&mut call).await;
        self.judge_call(began, &call, answer)
    }

    /// Sends commands together.
    pub(super) async fn send<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, BrokerError> {
        self.usable()?;
        let (began, mut call) = (Instant::now(), Call::new(&self.inner.connections));
        let answer = pipeline.query_async(&mut call).await;
        self.judge_call(began, &call, answer)
    }

    /// Sends commands whose texts, or whose answers, are large.
    pub(super) async fn send_large<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, BrokerError> {
        self.usable()?;
        let (began, turn) = (Instant::now(), self.inner.connections.turn());
        let answer = async { pipeline.query_async(&mut self.inner.pool.get().await?).await.map_err(Failure::from) };
        self.judge(began, turn, answer.await)
    }

    fn usable(&self) -> Result<(), BrokerError> {
        match &*self.inner.state.borrow() {
            State::Up => Ok(()),
            State::Down(reason) => Err(BrokerError { reason: reason.clone() }),
        }
    }

    fn judge_call<T>(&self, began: Instant, call: &Call<'_>, answer: RedisResult<T>) -> Result<T, BrokerError> {
        let answer = answer.map_err(|error| {
            let failure = Failure::from(error);
            Failure { down: failure.down || call.unconnected, ..failure }
        });
        self.judge(began, call.turn, answer)
    }

    /// Notes how a call went that was begun in `turn`.
    fn judge<T>(&self, began: Instant, turn: u64, result: Result<T, Failure>) -> Result<T, BrokerError> {
        self.inner.times.record(began.elapsed());
        result.map_err(|failure| {
            self.inner.failures.increment(1);
            if failure.full {
                self.say_full();
            } else if failure.down {
                self.set_down(turn, &failure.reason);
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

    /// Notes that Redis can't be used, as was found out in `turn`, and has one task look for its return.
    fn set_down(&self, turn: u64, reason: &str) {
        // It has been away since, and is back or will be looked for.
        if !self.inner.connections.give_up(turn) {
            return;
        }
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
        self.inner.connections.runtime().spawn(self.clone().wait_for_return());
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

    /// Whether Redis takes writes and keeps them; if so, calls share the connection that found out.
    async fn look(&self) -> Result<Verdict, Failure> {
        let mut connection = self.inner.connections.make().await?;
        let mut write = redis::cmd("SET");
        write.arg(self.key("ping")).arg(1).arg("PX").arg(60_000);
        match write.query_async::<()>(&mut connection).await.map_err(Failure::from) {
            // Full is not away: what it has can be taken.
            Err(failure) if failure.full => self.say_full(),
            other => other?,
        }
        let verdict = check(&mut connection).await?;
        if !matches!(verdict, Verdict::Refused(_)) {
            self.inner.connections.keep(connection);
        }
        Ok(verdict)
    }
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
