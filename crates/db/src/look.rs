//! A look at a database that changes nothing: it makes no file and no table, takes no lock, and stands in nobody's way.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::SqliteConnection;
use gateway_config::DatabaseSettings;
use url::Url;

use crate::engine::{Conn, Purpose, Target};
use crate::{DbError, WorkflowRecord, keys, workflows};

/// A server must not be written to even by mistake.
const READ_ONLY: &str = "SET default_transaction_read_only = on";
const SQLITE: &str = "PRAGMA busy_timeout = 2000; PRAGMA query_only = ON;";

diesel::table! {
    /// The steps that were taken, as diesel notes them.
    #[sql_name = "__diesel_schema_migrations"]
    taken_steps (version) { version -> Text, }
}

/// What a database is like.
#[derive(Debug, Clone)]
pub struct Look {
    /// The engine and its version, such as `SQLite 3.50.4`.
    pub engine: String,
    /// Steps that the next start takes to bring its tables up to date.
    pub pending: usize,
    /// Whether a later version of the gateway has changed its tables.
    pub later: bool,
    /// Whether it only follows another server, and takes no writes.
    pub follows: bool,
    /// Milliseconds by which its clock is ahead of this machine's; `None` where it is that one.
    pub ahead_ms: Option<i64>,
    /// What is in it; `None` where its tables are not up to date.
    pub content: Option<Content>,
}

/// What is in a database, as far as commands ask for it.
#[derive(Debug, Clone)]
pub struct Content {
    /// Whether a key was ever made.
    pub has_keys: bool,
    /// The workflows in their current versions, in order of their ids.
    pub workflows: Vec<WorkflowRecord>,
}

impl Look {
    /// Looks at the database. Blocks. A file that is not there is an error: it is not made.
    ///
    /// # Errors
    /// [`DbError`] where it can't be opened or read.
    pub fn at(settings: &DatabaseSettings) -> Result<Self, DbError> {
        let target = Target::of(settings);
        let mut connection = match target.file() {
            Some(path) => open_file(path)?,
            None => {
                let mut connection = target.connect(Purpose::Read)?;
                connection.batch_execute(READ_ONLY)?;
                connection
            }
        };
        let connection = &mut connection;
        let (engine, follows) = (engine(connection)?, follows(connection)?);
        let ahead_ms = ahead(connection)?;
        let failed = |reason| DbError::Open { database: target.shown(), reason };
        let known: BTreeSet<String> = connection.steps().map_err(failed)?.into_iter().collect();
        let taken = taken(connection)?;
        let pending = known.difference(&taken).count();
        let content = if pending == 0 { Some(content(connection)?) } else { None };
        Ok(Self { engine, pending, later: !taken.is_subset(&known), follows, ahead_ms, content })
    }
}

/// Opens a file to be read. Without a log of writes beside it nobody has it open, and it is read as it is: SQLite would
/// make that log even for a reader.
fn open_file(path: &Path) -> Result<Conn, DbError> {
    let failed = |reason: String| DbError::Open { database: path.display().to_string(), reason };
    let whole = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
    let mut log = whole.as_os_str().to_owned();
    log.push("-wal");
    let mut url =
        Url::from_file_path(&whole).map_err(|()| failed(String::from("its path can't be written as a URL")))?;
    url.set_query(Some(if Path::new(&log).exists() { "mode=ro" } else { "mode=ro&immutable=1" }));
    let mut connection = SqliteConnection::establish(url.as_str()).map_err(|error| failed(error.to_string()))?;
    connection.batch_execute(SQLITE).map_err(|error| failed(error.to_string()))?;
    Ok(Conn::Sqlite(connection))
}

fn engine(connection: &mut Conn) -> Result<String, DbError> {
    Ok(match connection {
        Conn::Sqlite(inner) => {
            let version: String = diesel::select(sql::<Text>("sqlite_version()")).get_result(inner)?;
            format!("SQLite {version}")
        }
        Conn::Postgres(inner) => {
            let version: String = diesel::select(sql::<Text>("current_setting('server_version')")).get_result(inner)?;
            format!("Postgres {version}")
        }
    })
}

fn follows(connection: &mut Conn) -> Result<bool, DbError> {
    match connection {
        Conn::Sqlite(_) => Ok(false),
        Conn::Postgres(inner) => Ok(diesel::select(sql::<Bool>("pg_is_in_recovery()")).get_result(inner)?),
    }
}

fn ahead(connection: &mut Conn) -> Result<Option<i64>, DbError> {
    let before = millis();
    let server = connection.server_clock()?;
    let halfway = before + (millis() - before) / 2;
    Ok(server.map(|server| server - halfway))
}

fn millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The steps that were taken; none where there is no note of any.
fn taken(connection: &mut Conn) -> Result<BTreeSet<String>, DbError> {
    let notes: i64 = match connection {
        Conn::Sqlite(inner) => {
            let there = "(SELECT count(*) FROM sqlite_master WHERE name = '__diesel_schema_migrations')";
            diesel::select(sql::<BigInt>(there)).get_result(inner)?
        }
        Conn::Postgres(inner) => {
            let there = "(to_regclass('__diesel_schema_migrations') IS NOT NULL)::int::bigint";
            diesel::select(sql::<BigInt>(there)).get_result(inner)?
        }
    };
    if notes == 0 {
        return Ok(BTreeSet::new());
    }
    let versions: Vec<String> = taken_steps::table.select(taken_steps::version).load(connection)?;
    Ok(versions.into_iter().collect())
}

fn content(connection: &mut Conn) -> Result<Content, DbError> {
    Ok(Content { has_keys: keys::any(connection)?, workflows: workflows::current(connection)? })
}

#[cfg(test)]
mod tests {
    use gateway_core::workflow::bundled;

    use super::*;
    use crate::NewWorkflow;
    use crate::testing::{Place, on_both_engines};

    on_both_engines!(
        a_database_is_seen_as_it_is_while_another_process_has_it_and_after,
        one_that_is_not_there_or_empty_is_not_made,
    );

    async fn look(place: &Place) -> Result<Look, DbError> {
        let settings = place.settings();
        tokio::task::spawn_blocking(move || Look::at(&settings)).await.unwrap()
    }

    fn files(place: &Place) -> Vec<std::ffi::OsString> {
        let Some(folder) = place.settings().file().and_then(|path| path.parent().map(Path::to_owned)) else {
            return Vec::new();
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    async fn a_database_is_seen_as_it_is_while_another_process_has_it_and_after(place: Place) {
        let database = place.open();
        let icon = bundled().iter().find(|workflow| workflow.id == "icon_512").unwrap();
        let new = NewWorkflow {
            id: icon.id.to_owned(),
            name: icon.name.to_owned(),
            description: String::new(),
            graph: serde_json::from_str(icon.graph).unwrap(),
            input_schema: serde_json::from_str(icon.schema).unwrap(),
            outputs: Vec::new(),
            requirements: None,
        };
        database.create_workflow(new).await.unwrap();
        let seen = look(&place).await.unwrap();
        assert_eq!((seen.pending, seen.later, seen.follows), (0, false, false));
        assert!(seen.engine.starts_with("SQLite 3.") || seen.engine.starts_with("Postgres "), "{}", seen.engine);
        assert_eq!(seen.ahead_ms.is_some(), database.engine() == "postgres");
        let content = seen.content.unwrap();
        assert!(!content.has_keys);
        let ids: Vec<&str> = content.workflows.iter().map(|workflow| workflow.summary.id.as_str()).collect();
        assert_eq!(ids, ["icon_512"]);
        // It was in nobody's way.
        database.delete_workflow("icon_512").await.unwrap();
        drop(database);

        let before = files(&place);
        assert_eq!(look(&place).await.unwrap().content.unwrap().workflows.len(), 0);
        // Those that closed it may still be tidying up.
        assert!(files(&place).iter().all(|name| before.contains(name)), "a look made something");
    }

    async fn one_that_is_not_there_or_empty_is_not_made(place: Place) {
        if let Some(path) = place.settings().file() {
            assert!(matches!(look(&place).await, Err(DbError::Open { .. })));
            assert!(!path.exists() && files(&place).is_empty());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let before = files(&place);
        let seen = look(&place).await.unwrap();
        assert!(seen.pending > 0 && !seen.later && seen.content.is_none());
        assert_eq!(files(&place), before, "a look made something");
        assert!(look(&place).await.unwrap().pending > 0, "a look made tables");
    }
}
