//! Opens the database, brings it up to date, and is the one bridge from async callers to blocking statements.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, PooledConnection};
use diesel::sqlite::SqliteConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use gateway_config::DatabaseSettings;
use gateway_core::Timestamp;

use crate::DbError;
use crate::lock::ProcessLock;
use crate::writer::Writer;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// FULL with group commit costs almost nothing and survives a power cut.
const PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                       PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;";
const READER_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;";
/// How long a read waits for a free connection.
const READER_WAIT: Duration = Duration::from_secs(2);

type Manager = ConnectionManager<SqliteConnection>;

/// The database: one writer, a pool of readers. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    writer: Writer,
    readers: Pool<Manager>,
    path: Arc<PathBuf>,
    _lock: Arc<ProcessLock>,
}

impl Database {
    /// Opens (and where needed creates and migrates) the database. Blocks; call it before the runtime is busy.
    ///
    /// # Errors
    /// [`DbError::InUse`] where another process holds it, [`DbError::Open`] for all else.
    pub fn open(settings: &DatabaseSettings) -> Result<Self, DbError> {
        let path = &settings.path;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| open_error(path, &error))?;
        }
        let lock = ProcessLock::acquire(path)?;
        let url = path.to_string_lossy();
        let mut connection = SqliteConnection::establish(&url).map_err(|error| open_error(path, &error))?;
        connection.batch_execute(PRAGMAS).map_err(|error| open_error(path, &error))?;
        connection.run_pending_migrations(MIGRATIONS).map_err(|error| open_error(path, &error))?;
        let writer = Writer::start(connection).map_err(|error| open_error(path, &error))?;
        let readers = Pool::builder()
            .max_size(settings.readers)
            .connection_timeout(READER_WAIT)
            .test_on_check_out(false)
            .connection_customizer(Box::new(ReaderSetup))
            .build(Manager::new(url))
            .map_err(|error| open_error(path, &error))?;
        Ok(Self { writer, readers, path: Arc::new(path.clone()), _lock: Arc::new(lock) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database's clock: all leases and schedules are by it.
    pub fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Whatever keeps it from answering.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.read(|connection| Ok(connection.batch_execute("SELECT 1")?)).await
    }

    /// Runs `operation` through the group-committing writer.
    pub(crate) async fn write<T, F>(&self, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, DbError> + Send + 'static,
    {
        self.writer.write(operation).await
    }

    /// The same for an operation that changes the database by one statement at most, and nothing after it.
    pub(crate) async fn write_one<T, F>(&self, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, DbError> + Send + 'static,
    {
        self.writer.write_one(operation).await
    }

    pub(crate) fn write_blocking<T, F>(&self, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, DbError> + Send + 'static,
    {
        self.writer.write_blocking(operation)
    }

    /// Runs `query` on a reader, on the blocking pool.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, DbError> + Send + 'static,
    {
        let readers = self.readers.clone();
        let run = move || query(&mut *checkout(&readers)?);
        tokio::task::spawn_blocking(run)
            .await
            .unwrap_or_else(|error| Err(DbError::Unavailable { reason: error.to_string() }))
    }

    /// Runs a `query` that reads a row or two by key: at once where a reader is free (it takes microseconds,
    /// less than a change of threads), else like [`Database::read`].
    pub(crate) async fn read_row<T, F>(&self, query: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, DbError> + Send + 'static,
    {
        match self.readers.try_get() {
            Some(mut connection) => query(&mut connection),
            None => self.read(query).await,
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.path.display())
    }
}

#[derive(Debug)]
struct ReaderSetup;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for ReaderSetup {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        connection.batch_execute(READER_PRAGMAS).map_err(diesel::r2d2::Error::QueryError)
    }
}

fn checkout(readers: &Pool<Manager>) -> Result<PooledConnection<Manager>, DbError> {
    readers.get().map_err(|error| DbError::Unavailable { reason: error.to_string() })
}

fn open_error(path: &Path, error: &dyn std::fmt::Display) -> DbError {
    DbError::Open { path: path.to_owned(), reason: error.to_string() }
}
