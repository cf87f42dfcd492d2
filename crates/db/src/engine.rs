//! The two engines behind one type of connection: opened by the scheme of the URL, never by trying. Knows no table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager as _};
use diesel::pg::PgConnection;
use diesel::r2d2::ManageConnection;
use diesel::sqlite::SqliteConnection;
use diesel::{Connection as _, QueryResult, RunQueryDsl as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use gateway_config::{DatabaseSettings, DatabaseTarget};
use secrecy::{ExposeSecret as _, SecretString};

use crate::DbError;

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// FULL with group commit costs almost nothing and survives a power cut.
const SQLITE_WRITER: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                             PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;";
/// What is removed is overwritten in the file.
const SQLITE_SECURE: &str = "PRAGMA secure_delete = ON;";
const SQLITE_READER: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;";
/// The advisory lock under which one process at a time brings the tables of a schema up to date.
const MIGRATION_LOCK: i32 = 0x6d69_6772;

/// A connection to either engine.
#[derive(diesel::MultiConnection)]
pub(crate) enum Conn {
    /// A server.
    Postgres(PgConnection),
    /// A file.
    Sqlite(SqliteConnection),
}

/// Runs one statement on whichever engine it is, for what the common type can't express: many rows at once, and
/// conflicts that are no error.
macro_rules! on_engine {
    ($connection:expr, $inner:ident => $statement:expr) => {
        match $connection {
            $crate::engine::Conn::Postgres($inner) => $statement,
            $crate::engine::Conn::Sqlite($inner) => $statement,
        }
    };
}
pub(crate) use on_engine;

/// Where the database is.
#[derive(Clone)]
pub(crate) enum Target {
    /// A server, with how long one statement may take there.
    Postgres { url: SecretString, shown: String, statement_timeout: Duration },
    /// A file; whether what is removed from it is overwritten.
    Sqlite { path: PathBuf, secure: bool },
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To change the database.
    Write,
    /// To look.
    Read,
}

impl Target {
    pub(crate) fn of(settings: &DatabaseSettings) -> Self {
        match &settings.target {
            DatabaseTarget::Sqlite { path } => Self::Sqlite { path: path.clone(), secure: settings.redact },
            DatabaseTarget::Postgres { url, shown } => {
                Self::Postgres { url: url.clone(), shown: shown.clone(), statement_timeout: settings.statement_timeout }
            }
        }
    }

    pub(crate) const fn engine(&self) -> &'static str {
        match self {
            Self::Postgres { .. } => "postgres",
            Self::Sqlite { .. } => "sqlite",
        }
    }

    /// For people; without credentials.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Postgres { shown, .. } => shown.clone(),
            Self::Sqlite { path, .. } => path.display().to_string(),
        }
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Postgres { .. } => None,
            Self::Sqlite { path, .. } => Some(path),
        }
    }

    /// Connects.
    pub(crate) fn connect(&self, purpose: Purpose) -> Result<Conn, DbError> {
        let failed = |reason: String| DbError::Open { database: self.shown(), reason };
        match self {
            Self::Postgres { url, statement_timeout, .. } => {
                let mut connection = PgConnection::establish(url.expose_secret())
                    .map_err(|error| failed(without(&error.to_string(), url.expose_secret())))?;
                let millis = statement_timeout.as_millis();
                let setup = format!(
                    "SET application_name = 'comfyui-gateway'; SET statement_timeout = {millis}; \
                     SET lock_timeout = {millis}; SET idle_in_transaction_session_timeout = {}; SET TIME ZONE 'UTC'",
                    millis * 2
                );
                connection.batch_execute(&setup).map_err(|error| failed(error.to_string()))?;
                Ok(Conn::Postgres(connection))
            }
            Self::Sqlite { path, secure } => {
                let mut connection =
                    SqliteConnection::establish(&path.to_string_lossy()).map_err(|error| failed(error.to_string()))?;
                let pragmas = match purpose {
                    Purpose::Write => SQLITE_WRITER,
                    Purpose::Read => SQLITE_READER,
                };
                connection.batch_execute(pragmas).map_err(|error| failed(error.to_string()))?;
                if *secure {
                    connection.batch_execute(SQLITE_SECURE).map_err(|error| failed(error.to_string()))?;
                }
                Ok(Conn::Sqlite(connection))
            }
        }
    }
}

/// libpq may repeat what it was given.
fn without(message: &str, url: &str) -> String {
    let password = url::Url::parse(url).ok().and_then(|url| url.password().map(str::to_owned));
    let message = message.replace(url, "(the URL)").trim().replace('\n', "; ");
    match password.filter(|password| !password.is_empty()) {
        Some(password) => hide(&message, &password),
        None => message,
    }
}

/// A short secret is a part of many words: in their middle it is none.
const SHORT: usize = 4;

/// `message` without `secret`.
fn hide(message: &str, secret: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(secret) {
        shown.push_str(before);
        let in_word = shown.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
        shown.push_str(if in_word && secret.chars().count() < SHORT { secret } else { "(hidden)" });
        rest = after;
    }
    shown + rest
}

impl Conn {
    /// Brings the tables up to date; several processes may do so at once.
    pub(crate) fn migrate(&mut self) -> Result<(), String> {
        match self {
            Self::Sqlite(connection) => {
                connection.run_pending_migrations(SQLITE_MIGRATIONS).map(drop).map_err(|error| error.to_string())
            }
            Self::Postgres(connection) => {
                let lock = |connection: &mut PgConnection, function: &str| {
                    connection
                        .batch_execute(&format!("SELECT {function}({MIGRATION_LOCK}, hashtext(current_schema()))"))
                };
                // Whoever waits for another's migration waits as long as that takes.
                connection
                    .batch_execute("SET lock_timeout = 0; SET statement_timeout = 0")
                    .and_then(|()| lock(connection, "pg_advisory_lock"))
                    .map_err(|error| error.to_string())?;
                let done = connection.run_pending_migrations(POSTGRES_MIGRATIONS).map(drop).map_err(|e| e.to_string());
                lock(connection, "pg_advisory_unlock").map_err(|error| error.to_string())?;
                done
            }
        }
    }

    /// The steps that make the tables as this version needs them, by their versions.
    pub(crate) fn steps(&self) -> Result<Vec<String>, String> {
        use diesel::backend::Backend;
        use diesel::migration::MigrationSource;
        fn versions<DB: Backend>(source: &impl MigrationSource<DB>) -> Result<Vec<String>, String> {
            let migrations = source.migrations().map_err(|error| error.to_string())?;
            Ok(migrations.iter().map(|migration| migration.name().version().to_string()).collect())
        }
        match self {
            Self::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE_MIGRATIONS),
            Self::Postgres(_) => versions::<diesel::pg::Pg>(&POSTGRES_MIGRATIONS),
        }
    }

    /// Begins a transaction that may write: on SQLite with the lock from the start, so that nobody is turned away later.
    pub(crate) fn begin_write(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => AnsiTransactionManager::begin_transaction(connection),
            Self::Sqlite(connection) => AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN IMMEDIATE"),
        }
    }

    pub(crate) fn commit(&mut self) -> QueryResult<()> {
        <Self as diesel::Connection>::TransactionManager::commit_transaction(self)
    }

    pub(crate) fn rollback(&mut self) -> QueryResult<()> {
        <Self as diesel::Connection>::TransactionManager::rollback_transaction(self)
    }

    /// Lets one transaction at a time of all processes go on that names any of `names`. All take theirs in the same
    /// order, so a transaction that takes all of its turns at once waits for none that waits for it. On SQLite there is
    /// one at a time anyway.
    pub(crate) fn take_turns<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> QueryResult<()> {
        use diesel::sql_types::{Array, Text};
        let Self::Postgres(connection) = self else { return Ok(()) };
        let names: Vec<&str> = names.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        if names.is_empty() {
            return Ok(());
        }
        let lock =
            "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || name, 0)) FROM unnest($1) AS turn(name)";
        diesel::sql_query(lock).bind::<Array<Text>, _>(names).execute(connection).map(drop)
    }

    /// The same without waiting: `false` where another one has the turn.
    pub(crate) fn try_turn(&mut self, name: &str) -> QueryResult<bool> {
        use diesel::sql_types::{Bool, Text};
        #[derive(diesel::QueryableByName)]
        struct Got {
            #[diesel(sql_type = Bool)]
            got: bool,
        }
        match self {
            Self::Sqlite(_) => Ok(true),
            Self::Postgres(connection) => {
                let lock = "SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema() || $1, 0)) AS got";
                let got: Got = diesel::sql_query(lock).bind::<Text, _>(name).get_result(connection)?;
                Ok(got.got)
            }
        }
    }

    /// Whether it still answers.
    pub(crate) fn answers(&mut self) -> bool {
        self.batch_execute("SELECT 1").is_ok()
    }

    /// Milliseconds since the Unix epoch by the clock of the database's machine; `None` where that is this one.
    pub(crate) fn server_clock(&mut self) -> QueryResult<Option<i64>> {
        use diesel::sql_types::BigInt;
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(connection) => {
                let now = "(extract(epoch from clock_timestamp()) * 1000)::bigint";
                diesel::select(diesel::dsl::sql::<BigInt>(now)).get_result(connection).map(Some)
            }
        }
    }
}

/// Makes the connections of a pool of readers.
pub(crate) struct Readers(pub(crate) Target);

impl ManageConnection for Readers {
    type Connection = Conn;
    type Error = DbError;

    fn connect(&self) -> Result<Conn, DbError> {
        self.0.connect(Purpose::Read)
    }

    fn is_valid(&self, connection: &mut Conn) -> Result<(), DbError> {
        connection.batch_execute("SELECT 1").map_err(DbError::from)
    }

    fn has_broken(&self, connection: &mut Conn) -> bool {
        <Conn as diesel::Connection>::TransactionManager::is_broken_transaction_manager(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libpq_repeats_is_shown_without_the_url_and_the_password() {
        let url = "postgres://gateway:hunter2@db/gateway";
        let said = format!("no \"{url}\"\nnor \"hunter2\", xhunter2x\n");
        assert_eq!(without(&said, url), "no \"(the URL)\"; nor \"(hidden)\", x(hidden)x");
    }

    #[test]
    fn a_password_that_is_a_part_of_words_garbles_none() {
        let said = "password authentication failed for \"a\"";
        assert_eq!(without(said, "postgres://g:a@db/x"), "password authentication failed for \"(hidden)\"");
        assert_eq!(without(said, "postgres://g@db/x"), said);
    }
}
