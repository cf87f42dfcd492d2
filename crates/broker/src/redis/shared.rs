//! The connection that calls share: those that come together go together. One that was closed is made anew within the call
//! that finds out, which is no outage yet. What an outage is, and whether there is one, is `link`'s.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value,
};
use tokio::runtime::Handle;

/// How long a connection may take.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take; no call blocks.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// The limits on both.
pub(super) fn patience() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER))
}

/// Makes connections, and keeps the one that is shared.
pub(super) struct Connections {
    client: Client,
    /// What drives connections. Those who call come and go with runtimes of their own.
    runtime: Handle,
    kept: Mutex<Kept>,
    /// Held by whoever makes one for all.
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    connection: Option<MultiplexedConnection>,
    /// Raised when the connection is given up: failures of earlier ones say nothing of what came after.
    turn: u64,
}

impl Connections {
    /// Within the runtime that is to drive them.
    pub(super) fn new(client: Client) -> Self {
        Self { client, runtime: Handle::current(), kept: Mutex::default(), making: tokio::sync::Mutex::default() }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn turn(&self) -> u64 {
        self.kept().turn
    }

    /// A new one that nobody else has.
    pub(super) async fn make(&self) -> RedisResult<MultiplexedConnection> {
        let client = self.client.clone();
        let made =
            self.runtime.spawn(async move { client.get_multiplexed_async_connection_with_config(&patience()).await });
        made.await.unwrap_or_else(|error| Err(RedisError::from(io::Error::other(error))))
    }

    /// Shares `connection` from now on.
    pub(super) fn keep(&self, connection: MultiplexedConnection) {
        self.kept().connection = Some(connection);
    }

    /// Gives up the connection of this turn; `false` where that was done before.
    pub(super) fn give_up(&self, turn: u64) -> bool {
        let mut kept = self.kept();
        let current = kept.turn == turn;
        if current {
            *kept = Kept { connection: None, turn: turn + 1 };
        }
        current
    }

    /// The shared one and its turn.
    async fn shared(&self) -> RedisResult<(MultiplexedConnection, u64)> {
        if let Some(found) = self.found() {
            return Ok(found);
        }
        let _making = self.making.lock().await;
        if let Some(found) = self.found() {
            return Ok(found);
        }
        let turn = self.turn();
        let made = self.make().await?;
        let mut kept = self.kept();
        // Otherwise it may lead to a server that is no longer the one to write to.
        if kept.turn == turn {
            kept.connection = Some(made.clone());
        }
        Ok((made, turn))
    }

    fn found(&self) -> Option<(MultiplexedConnection, u64)> {
        let kept = self.kept();
        kept.connection.clone().map(|connection| (connection, kept.turn))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call over the shared connection.
pub(super) struct Call<'c> {
    connections: &'c Connections,
    /// Whose failure it would be.
    pub(super) turn: u64,
    /// Whether no connection could be had.
    pub(super) unconnected: bool,
}

impl<'c> Call<'c> {
    pub(super) fn new(connections: &'c Connections) -> Self {
        Self { connections, turn: connections.turn(), unconnected: false }
    }

    async fn connection(&mut self) -> RedisResult<MultiplexedConnection> {
        let shared = self.connections.shared().await;
        self.unconnected = shared.is_err();
        self.turn = shared.as_ref().map_or_else(|_| self.connections.turn(), |(_, turn)| *turn);
        shared.map(|(connection, _)| connection)
    }

    /// Whether the connection was closed, so that another is worth a try. The server may have done what it was asked for;
    /// whatever is asked of it here may be asked twice.
    fn was_closed(&self, error: &RedisError) -> bool {
        let closed = error.is_connection_dropped() && !error.is_timeout();
        if closed {
            self.connections.give_up(self.turn);
        }
        closed
    }
}

impl ConnectionLike for Call<'_> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            match self.connection().await?.req_packed_command(command).await {
                Err(error) if self.was_closed(&error) => self.connection().await?.req_packed_command(command).await,
                answer => answer,
            }
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            match self.connection().await?.req_packed_commands(commands, offset, count).await {
                Err(error) if self.was_closed(&error) => {
                    self.connection().await?.req_packed_commands(commands, offset, count).await
                }
                answer => answer,
            }
        })
    }

    fn get_db(&self) -> i64 {
        self.connections.client.get_connection_info().redis_settings().db()
    }
}
