//! Keeps a second process away from a database that one process works alone. The lock dies with the process, however it
//! dies: on a file it is the system's, on a server it is that of a session.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use diesel::RunQueryDsl as _;
use diesel::pg::PgConnection;
use diesel::sql_types::Bool;

use crate::DbError;
use crate::connection::Access;
use crate::engine::{Conn, Purpose, Target};

/// The advisory lock of the process that works a database alone; one a schema.
const ALONE: i32 = 0x616c_6f6e;

/// Held as long as the database is open.
pub(crate) enum ProcessLock {
    /// The lock of a file.
    File(#[expect(dead_code, reason = "it is held, not read")] File),
    /// The lock of a session.
    Session(#[expect(dead_code, reason = "it is held, not read")] Mutex<PgConnection>),
    /// None: anybody may be there.
    Beside,
}

impl ProcessLock {
    /// Takes the lock of the database at `target`, as far as `access` asks for one.
    pub(crate) fn acquire(target: &Target, access: Access) -> Result<Self, DbError> {
        match (target.file(), access) {
            (Some(path), access) => of_file(path, access),
            (None, Access::Exclusive) => of_session(target, "pg_try_advisory_lock"),
            (None, Access::Shared) => of_session(target, "pg_try_advisory_lock_shared"),
            (None, Access::Beside) => Ok(Self::Beside),
        }
    }
}

/// Waits until no other process brings the tables of a file up to date; a server has a lock of its own for that.
pub(crate) fn turn_to_migrate(target: &Target) -> std::io::Result<Option<File>> {
    let Some(path) = target.file() else { return Ok(None) };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(beside(path, ".migrate.lock"))?;
    file.lock()?;
    Ok(Some(file))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn of_file(path: &Path, access: Access) -> Result<ProcessLock, DbError> {
    let lock_path = beside(path, ".lock");
    let database = path.display().to_string();
    let open = |error: std::io::Error| DbError::Open {
        database: database.clone(),
        reason: format!("its lock file {}: {error}", lock_path.display()),
    };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path).map_err(open)?;
    let locked = match access {
        Access::Exclusive => file.try_lock(),
        Access::Shared | Access::Beside => file.try_lock_shared(),
    };
    match locked {
        Ok(()) => {
            if access == Access::Exclusive {
                file.set_len(0).map_err(open)?;
                file.rewind().map_err(open)?;
                write!(file, "{}", std::process::id()).map_err(open)?;
            }
            Ok(ProcessLock::File(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && !pid.is_empty();
            Err(DbError::InUse { database, pid: known.then_some(pid) })
        }
        Err(TryLockError::Error(error)) => Err(open(error)),
    }
}

fn of_session(target: &Target, function: &str) -> Result<ProcessLock, DbError> {
    let Conn::Postgres(mut connection) = target.connect(Purpose::Write)? else { return Ok(ProcessLock::Beside) };
    let lock = format!("{function}({ALONE}, hashtext(current_schema()))");
    let taken: bool = diesel::select(diesel::dsl::sql::<Bool>(&lock)).get_result(&mut connection)?;
    if taken {
        Ok(ProcessLock::Session(Mutex::new(connection)))
    } else {
        Err(DbError::InUse { database: target.shown(), pid: None })
    }
}
