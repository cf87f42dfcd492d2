//! Keeps a second process away from an embedded database. The lock dies with the process, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::DbError;

/// Held as long as the database is open.
#[derive(Debug)]
pub(crate) struct ProcessLock {
    _file: File,
}

impl ProcessLock {
    /// Takes the lock of the database at `path`.
    pub(crate) fn acquire(path: &Path) -> Result<Self, DbError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock_path = PathBuf::from(name);
        let open = |error: std::io::Error| DbError::Open {
            path: path.to_owned(),
            reason: format!("its lock file {}: {error}", lock_path.display()),
        };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path).map_err(open)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(open)?;
                file.rewind().map_err(open)?;
                write!(file, "{}", std::process::id()).map_err(open)?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let known = file.read_to_string(&mut pid).is_ok() && !pid.is_empty();
                Err(DbError::InUse { path: path.to_owned(), pid: known.then_some(pid) })
            }
            Err(TryLockError::Error(error)) => Err(open(error)),
        }
    }
}
