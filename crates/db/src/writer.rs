//! The one writer of the database: gathers what waits and commits it together, so that a durable commit is
//! shared by many. Knows nothing of what is written.

use std::sync::mpsc::{Receiver, Sender, channel};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::sqlite::SqliteConnection;
use tokio::sync::oneshot;

use crate::DbError;

/// Operations that one transaction holds at most: bounds how long the first waits for the last.
const BATCH: usize = 256;

/// Tells one waiting caller how its operation ended, once the transaction has.
type Completion = Box<dyn FnOnce(Result<(), DbError>) + Send>;
/// Runs one operation inside the transaction.
type Operation = Box<dyn FnOnce(&mut SqliteConnection) -> Completion + Send>;

/// The way to the writer. Cheap to clone; the thread ends when the last one is gone.
#[derive(Clone)]
pub(crate) struct Writer {
    operations: Sender<Operation>,
}

impl Writer {
    /// Starts the thread that owns `connection`.
    pub(crate) fn start(connection: SqliteConnection) -> std::io::Result<Self> {
        let (operations, queue) = channel();
        std::thread::Builder::new().name(String::from("db-writer")).spawn(move || run(connection, &queue))?;
        Ok(Self { operations })
    }

    /// Runs `operation` in a savepoint of its own within the next transaction; returns once that is committed.
    /// An error undoes this operation alone.
    pub(crate) async fn write<T, F>(&self, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, DbError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.submit(operation, in_savepoint, move |result| {
            // A caller that has gone away does not need the answer.
            let _ = answer.send(result);
        })?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The same without a savepoint, for an operation that changes the database by one statement at most and nothing
    /// after it: SQLite undoes a statement that fails by itself.
    pub(crate) async fn write_one<T, F>(&self, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, DbError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.submit(
            operation,
            |connection, operation| operation(connection),
            move |result| {
                let _ = answer.send(result);
            },
        )?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The same as [`Writer::write`] for a caller on a thread of its own.
    pub(crate) fn write_blocking<T, F>(&self, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, DbError> + Send + 'static,
    {
        let (answer, answered) = channel();
        self.submit(operation, in_savepoint, move |result| {
            let _ = answer.send(result);
        })?;
        answered.recv().unwrap_or_else(|_| Err(ended()))
    }

    fn submit<T, F>(
        &self,
        operation: F,
        run: impl FnOnce(&mut SqliteConnection, F) -> Result<T, DbError> + Send + 'static,
        answer: impl FnOnce(Result<T, DbError>) + Send + 'static,
    ) -> Result<(), DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, DbError> + Send + 'static,
    {
        let boxed: Operation = Box::new(move |connection| {
            let result = run(connection, operation);
            Box::new(move |commit: Result<(), DbError>| answer(commit.and(result)))
        });
        self.operations.send(boxed).map_err(|_gone| ended())
    }
}

fn in_savepoint<T, F>(connection: &mut SqliteConnection, operation: F) -> Result<T, DbError>
where
    F: FnOnce(&mut SqliteConnection) -> Result<T, DbError>,
{
    let result = connection.transaction::<T, Failure, _>(|connection| operation(connection).map_err(Failure));
    result.map_err(|failure| failure.0)
}

/// Lets diesel's transaction carry [`DbError`].
struct Failure(DbError);

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Self(error.into())
    }
}

fn ended() -> DbError {
    DbError::Unavailable { reason: String::from("the writer has ended") }
}

fn run(mut connection: SqliteConnection, queue: &Receiver<Operation>) {
    while let Ok(first) = queue.recv() {
        let mut completions: Vec<Completion> = Vec::new();
        let mut pending = Some(first);
        let committed = connection.immediate_transaction::<(), diesel::result::Error, _>(|connection| {
            while let Some(operation) = pending.take() {
                completions.push(operation(connection));
                if completions.len() < BATCH {
                    pending = queue.try_recv().ok();
                }
            }
            Ok(())
        });
        let outcome = committed.map_err(DbError::from);
        if let Err(error) = &outcome {
            tracing::error!(%error, operations = completions.len(), "a transaction did not commit");
        }
        for complete in completions {
            complete(outcome.clone());
        }
        if let Some(operation) = pending {
            // The transaction did not even begin: the operation was not run, its caller must hear of it.
            drop(operation);
        }
    }
    if let Err(error) = connection.batch_execute("PRAGMA optimize") {
        tracing::debug!(%error, "the database was not optimised at the end");
    }
}
