//! The one writer of a process: gathers what waits and commits it together, so that a durable commit is shared by many.
//! Of what is written it knows only that jobs to be accepted can be inserted many at a time.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use gateway_metrics::{DATABASE_DURATION, Histogram};
use tokio::sync::oneshot;

use crate::DbError;
use crate::clock::Clock;
use crate::engine::{Conn, Purpose, Target};
use crate::jobs::insert_jobs;
use crate::rows::JobRow;
use crate::scrub::Scrub;

/// Operations that one transaction holds at most: bounds how long the first waits for the last.
const BATCH: usize = 256;
/// Turns that an operation takes at most beside others: a server has room for some thousands over all transactions.
const FEW_TURNS: usize = 16;
/// A connection to a server that rested this long is tried before it is used: the server may have been restarted.
const RESTED: Duration = Duration::from_secs(1);

/// Tells one waiting caller how its operation ended, once the transaction has.
type Completion = Box<dyn FnOnce(Result<(), DbError>) + Send>;
/// Runs one operation inside the transaction; `None` where there is no transaction.
type Operation = Box<dyn FnOnce(Option<&mut Conn>) -> Completion + Send>;

/// What of other processes an operation waits for. A transaction has what it waited for until it ends, so it waits
/// before anything else and for all at once: then none waits for one that waits for it.
#[derive(Debug, Clone)]
pub(crate) enum Turns {
    /// For whoever names one of these; it is done together with others, which wait for theirs at the same time.
    Of(Vec<String>),
    /// For what it finds out itself: it has the transaction for itself. Whoever waits in its middle may meet one that waits
    /// for it, and is begun again.
    Found,
}

enum Work {
    Operation(Turns, Operation),
    Accept(Box<JobRow>, oneshot::Sender<Result<(), DbError>>),
}

/// What the thread is sent.
enum Wish {
    /// Done with others in one transaction.
    Work(Work),
    /// Done outside of transactions.
    Scrub(Scrub, oneshot::Sender<Result<(), DbError>>),
}

/// The way to the writer. Cheap to clone; the thread ends when the last one is gone.
#[derive(Clone)]
pub(crate) struct Writer {
    work: Sender<Wish>,
}

impl Writer {
    /// Starts the thread that owns `connection`, and makes it anew at `target` where it breaks.
    pub(crate) fn start(connection: Conn, target: Target, clock: Clock) -> std::io::Result<Self> {
        let (work, queue) = channel();
        let commits = DATABASE_DURATION.of(["commit".into()]);
        let state = Thread { connection: Some(connection), target, clock, used: Instant::now(), commits };
        std::thread::Builder::new().name(String::from("db-writer")).spawn(move || state.run(&queue))?;
        Ok(Self { work })
    }

    /// Runs `operation` in a savepoint of its own within the next transaction; returns once that is committed.
    /// An error undoes this operation alone.
    pub(crate) async fn write<T, F>(&self, turns: Turns, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.submit(turns, operation, move |result| {
            // A caller that has gone away does not need the answer.
            let _ = answer.send(result);
        })?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The same for a caller on a thread of its own.
    pub(crate) fn write_blocking<T, F>(&self, operation: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        let (answer, answered) = channel();
        self.submit(Turns::Of(Vec::new()), operation, move |result| {
            let _ = answer.send(result);
        })?;
        answered.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Inserts a job, together with others that wait.
    pub(crate) async fn accept(&self, row: JobRow) -> Result<(), DbError> {
        let (answer, answered) = oneshot::channel();
        self.work.send(Wish::Work(Work::Accept(Box::new(row), answer))).map_err(|_gone| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Rids the file of what its rows no longer say; nothing where the database is none.
    pub(crate) async fn scrub(&self, scrub: Scrub) -> Result<(), DbError> {
        let (answer, answered) = oneshot::channel();
        self.work.send(Wish::Scrub(scrub, answer)).map_err(|_gone| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    fn submit<T, F>(
        &self,
        turns: Turns,
        operation: F,
        answer: impl FnOnce(Result<T, DbError>) + Send + 'static,
    ) -> Result<(), DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        let boxed: Operation = Box::new(move |connection| {
            let run = |connection: &mut Conn| {
                let done = connection.transaction::<T, Failure, _>(|connection| operation(connection).map_err(Failure));
                done.map_err(|failure| failure.0)
            };
            let result = connection.map_or_else(|| Err(ended()), run);
            Box::new(move |commit: Result<(), DbError>| answer(commit.and(result)))
        });
        self.work.send(Wish::Work(Work::Operation(turns, boxed))).map_err(|_gone| ended())
    }
}

/// Lets diesel's transaction carry [`DbError`].
pub(crate) struct Failure(pub(crate) DbError);

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Self(error.into())
    }
}

fn ended() -> DbError {
    DbError::Unavailable { reason: String::from("the writer has ended") }
}

/// What the writer's thread has.
struct Thread {
    connection: Option<Conn>,
    target: Target,
    clock: Clock,
    /// When the connection was used last.
    used: Instant,
    /// How long transactions take.
    commits: Histogram,
}

impl Thread {
    fn run(mut self, queue: &Receiver<Wish>) {
        while let Ok(first) = queue.recv() {
            let (mut work, mut scrubs) = (Vec::new(), Vec::new());
            let mut next = Some(first);
            while let Some(wish) = next.take() {
                match wish {
                    Wish::Work(one) => work.push(one),
                    Wish::Scrub(scrub, answer) => scrubs.push((scrub, answer)),
                }
                if work.len() < BATCH {
                    next = queue.try_recv().ok();
                }
            }
            for group in self.groups(work) {
                self.commit_and_tell(group);
            }
            for (scrub, answer) in scrubs {
                // A caller that has gone away does not need the answer.
                let _ = answer.send(self.scrub(scrub));
            }
        }
        if let Some(Conn::Sqlite(connection)) = &mut self.connection
            && let Err(error) = connection.batch_execute("PRAGMA optimize")
        {
            tracing::debug!(%error, "the database was not optimised at the end");
        }
    }

    /// What is done in one transaction each. In a file there is one at a time anyway.
    fn groups(&self, work: Vec<Work>) -> Vec<Vec<Work>> {
        let served = self.target.file().is_none();
        let (alone, together): (Vec<_>, Vec<_>) = work.into_iter().partition(|one| served && goes_alone(one));
        let groups = std::iter::once(together).chain(alone.into_iter().map(|one| vec![one]));
        groups.filter(|group| !group.is_empty()).collect()
    }

    fn commit_and_tell(&mut self, work: Vec<Work>) {
        let mut completions = Vec::with_capacity(work.len());
        let began = Instant::now();
        let outcome = self.commit(work, &mut completions);
        self.commits.record(began.elapsed());
        if let Err(error) = &outcome {
            // Each caller tells of it, with what it was about.
            tracing::debug!(%error, operations = completions.len(), "a transaction did not commit");
        }
        for complete in completions {
            complete(outcome.clone());
        }
    }

    fn scrub(&mut self, scrub: Scrub) -> Result<(), DbError> {
        match self.connection()? {
            Conn::Sqlite(connection) => scrub.run(connection),
            Conn::Postgres(_) => Ok(()),
        }
    }

    /// Runs `work` in one transaction. Work that was not run has a completion, too: its caller hears the outcome.
    fn commit(&mut self, work: Vec<Work>, completions: &mut Vec<Completion>) -> Result<(), DbError> {
        // A session that the server ended meanwhile is found out here, before anything was done in it.
        if let Err(error) = self.begin().or_else(|_broken| self.begin()) {
            completions.extend(work.into_iter().map(refuse));
            return Err(error);
        }
        let Some(connection) = &mut self.connection else { return Err(ended()) };
        let committed = match connection.take_turns(work.iter().flat_map(names)) {
            Ok(()) => {
                run_all(connection, work, completions);
                connection.commit().map_err(DbError::from)
            }
            Err(error) => {
                completions.extend(work.into_iter().map(refuse));
                Err(error.into())
            }
        };
        if committed.is_err() {
            self.abandon();
        }
        self.used = Instant::now();
        committed
    }

    /// Leaves the transaction, if the connection still knows of one.
    fn abandon(&mut self) {
        if let Some(Err(error)) = self.connection.as_mut().map(Conn::rollback) {
            tracing::debug!(%error, "nothing was left to be rolled back");
        }
        if self.target.file().is_none() {
            self.connection = None;
        }
    }

    fn begin(&mut self) -> Result<(), DbError> {
        let begun = self.connection().and_then(|connection| Ok(connection.begin_write()?));
        if begun.is_err() && self.target.file().is_none() {
            self.connection = None;
        }
        begun
    }

    /// The connection, made anew where it broke; with the server's clock read where that is due.
    fn connection(&mut self) -> Result<&mut Conn, DbError> {
        let served = self.target.file().is_none();
        if served && self.used.elapsed() >= RESTED && !self.connection.as_mut().is_some_and(Conn::answers) {
            self.connection = None;
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self
                .target
                .connect(Purpose::Write)
                .map_err(|error| DbError::Unavailable { reason: error.to_string() })?,
        };
        if served
            && self.clock.is_stale()
            && let Some(millis) = connection.server_clock()?
        {
            self.clock.set(millis);
        }
        Ok(self.connection.insert(connection))
    }
}

fn goes_alone(work: &Work) -> bool {
    match work {
        Work::Operation(Turns::Found, _) => true,
        Work::Operation(Turns::Of(names), _) => names.len() > FEW_TURNS,
        Work::Accept(..) => false,
    }
}

/// Whose turns `work` waits for.
fn names(work: &Work) -> impl Iterator<Item = &str> {
    let names = match work {
        Work::Operation(Turns::Of(names), _) => names.as_slice(),
        Work::Operation(Turns::Found, _) | Work::Accept(..) => &[],
    };
    names.iter().map(String::as_str)
}

/// Runs operations in order; jobs to be accepted together, ahead of them.
fn run_all(connection: &mut Conn, work: Vec<Work>, completions: &mut Vec<Completion>) {
    let (mut rows, mut answers, mut operations) = (Vec::new(), Vec::new(), Vec::new());
    for one in work {
        match one {
            Work::Accept(row, answer) => {
                rows.push(*row);
                answers.push(answer);
            }
            Work::Operation(_turns, operation) => operations.push(operation),
        }
    }
    for (answer, result) in answers.into_iter().zip(insert_jobs(connection, &rows)) {
        completions.push(Box::new(move |commit| {
            let _ = answer.send(commit.and(result));
        }));
    }
    completions.extend(operations.into_iter().map(|operation| operation(Some(&mut *connection))));
}

/// The completion of work that was never run.
fn refuse(work: Work) -> Completion {
    match work {
        Work::Operation(_turns, operation) => operation(None),
        Work::Accept(_, answer) => Box::new(move |outcome| {
            let _ = answer.send(outcome);
        }),
    }
}
