//! Opens the database, brings it up to date, and is the one bridge from async callers to blocking statements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::r2d2::{Pool, PooledConnection};
use gateway_config::DatabaseSettings;
use gateway_core::Timestamp;
use gateway_metrics::{DATABASE_CONNECTIONS, DATABASE_CONNECTIONS_LIMIT, DATABASE_DURATION, DATABASE_WAIT, Histogram};

use crate::DbError;
use crate::clock::Clock;
use crate::engine::{Conn, Purpose, Readers, Target};
use crate::jobs::Moment;
use crate::lock::{ProcessLock, turn_to_migrate};
use crate::outage::Outage;
use crate::writer::{Turns, Writer};

/// How long a read waits for a free connection.
const READER_WAIT: Duration = Duration::from_secs(2);
/// How often an operation is begun that the server ends because two wait for each other.
const DEADLOCK_TRIES: usize = 5;

/// Who else may have the database open meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody: this process runs the jobs in it, and those of a process before it are left behind.
    Exclusive,
    /// Other processes that share a queue with this one.
    Shared,
    /// Anybody: a command that runs no jobs.
    Beside,
}

/// The database: one writer, a pool of readers. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    writer: Writer,
    readers: Pool<Readers>,
    target: Target,
    clock: Clock,
    /// Whether what jobs were about is taken out of their records when they end.
    redact: bool,
    times: Times,
    _lock: Arc<ProcessLock>,
}

/// How long reads take, and how long they wait for a connection.
#[derive(Clone)]
struct Times {
    read: Histogram,
    wait: Histogram,
}

impl Database {
    /// Opens (and where needed creates and migrates) the database. Blocks; call it before the runtime is busy.
    ///
    /// # Errors
    /// [`DbError::InUse`] where another process holds it in a way that `access` excludes, [`DbError::Open`] for all else.
    pub fn open(settings: &DatabaseSettings, access: Access) -> Result<Self, DbError> {
        let target = Target::of(settings);
        let failed = |reason: String| DbError::Open { database: target.shown(), reason };
        if let Some(folder) = target.file().and_then(|path| path.parent()).filter(|path| !path.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
        }
        let lock = ProcessLock::acquire(&target, access)?;
        let turn = turn_to_migrate(&target).map_err(|error| failed(error.to_string()))?;
        // The session that migrates has no limits on time; those that work have.
        target.connect(Purpose::Write)?.migrate().map_err(failed)?;
        drop(turn);
        let clock = Clock::default();
        let mut connection = target.connect(Purpose::Write)?;
        if let Some(millis) = connection.server_clock()? {
            clock.set(millis);
        }
        let writer =
            Writer::start(connection, target.clone(), clock.clone()).map_err(|error| failed(error.to_string()))?;
        let outage = Outage::of(&target);
        let readers = Pool::builder()
            .max_size(settings.connections)
            .min_idle(Some(settings.connections.min(2)))
            .connection_timeout(READER_WAIT)
            .test_on_check_out(target.file().is_none())
            .error_handler(Box::new(outage.clone()))
            .event_handler(Box::new(outage))
            .build(Readers(target.clone()))
            .map_err(|error| failed(error.to_string()))?;
        let times = Times { read: DATABASE_DURATION.of(["read".into()]), wait: DATABASE_WAIT.of([]) };
        Ok(Self { writer, readers, target, clock, redact: settings.redact, times, _lock: Arc::new(lock) })
    }

    /// Where it is, for people: a file, or a server without its credentials.
    pub fn shown(&self) -> String {
        self.target.shown()
    }

    /// `sqlite` or `postgres`.
    pub fn engine(&self) -> &'static str {
        self.target.engine()
    }

    /// The database's clock: all leases and schedules are by it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Whatever keeps it from answering.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.read(|connection| Ok(connection.batch_execute("SELECT 1")?)).await
    }

    /// Sets the gauges of its connections to what they are at the moment.
    pub fn show_connections(&self) {
        let open = self.readers.state();
        let busy = open.connections.saturating_sub(open.idle_connections);
        DATABASE_CONNECTIONS.of(["idle".into()]).set(open.idle_connections);
        DATABASE_CONNECTIONS.of(["busy".into()]).set(busy);
        DATABASE_CONNECTIONS_LIMIT.of([]).set(self.readers.max_size());
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn redacts(&self) -> bool {
        self.redact
    }

    /// Now, for what happens to jobs.
    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.now(), redact: self.redact }
    }

    /// Runs `operation` through the group-committing writer.
    pub(crate) async fn write<T, F>(&self, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        self.writer.write(Turns::Of(Vec::new()), operation).await
    }

    /// The same for an operation that goes on only while no other process does anything in one of these names.
    pub(crate) async fn write_in_turn<T, F>(&self, names: Vec<String>, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, DbError> + Send + Sync + 'static,
    {
        self.write_again(Turns::Of(names), operation).await
    }

    /// The same for an operation that finds out itself whose turns it takes, before it writes.
    pub(crate) async fn write_alone<T, F>(&self, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, DbError> + Send + Sync + 'static,
    {
        self.write_again(Turns::Found, operation).await
    }

    /// Where two transactions wait for rows of each other, one is begun again.
    async fn write_again<T, F>(&self, turns: Turns, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, DbError> + Send + Sync + 'static,
    {
        let operation = Arc::new(operation);
        let mut tries = 1;
        loop {
            let this = Arc::clone(&operation);
            match self.writer.write(turns.clone(), move |connection| this(connection)).await {
                Err(DbError::Deadlock) if tries < DEADLOCK_TRIES => tries += 1,
                result => return result,
            }
        }
    }

    pub(crate) fn write_blocking<T, F>(&self, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        self.writer.write_blocking(operation)
    }

    /// Runs `query` on a reader, on the blocking pool.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        let (readers, times) = (self.readers.clone(), self.times.clone());
        let run = move || {
            let began = Instant::now();
            let mut connection = checkout(&readers)?;
            times.wait.record(began.elapsed());
            let result = query(&mut connection);
            times.read.record(began.elapsed());
            result
        };
        tokio::task::spawn_blocking(run)
            .await
            .unwrap_or_else(|error| Err(DbError::Unavailable { reason: error.to_string() }))
    }

    /// Runs a `query` that reads a row or two by key: in a file at once where a reader is free (it takes
    /// microseconds, less than a change of threads), else like [`Database::read`].
    pub(crate) async fn read_row<T, F>(&self, query: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        let at_once = self.target.file().and_then(|_| self.readers.try_get());
        match at_once {
            Some(mut connection) => {
                let began = Instant::now();
                let result = query(&mut connection);
                self.times.read.record(began.elapsed());
                result
            }
            None => self.read(query).await,
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.shown())
    }
}

fn checkout(readers: &Pool<Readers>) -> Result<PooledConnection<Readers>, DbError> {
    readers.get().map_err(|error| DbError::Unavailable { reason: error.to_string() })
}
