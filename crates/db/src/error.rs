//! What can go wrong with the database. Turning it into an answer is the caller's.

/// A database operation that did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// Another process works on the same file.
    #[error(
        "the database {database} is in use by another gateway process{}: two would run the same jobs twice. Stop the \
         other one, or give this one a database of its own (DATABASE_URL)",
        pid.as_ref().map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The file, or the server without its credentials.
        database: String,
        /// The process that holds it, where it left its number.
        pid: Option<String>,
    },
    /// It can't be opened or brought up to date.
    #[error("the database {database} can't be opened (DATABASE_URL): {reason}")]
    Open {
        /// The file, or the server without its credentials.
        database: String,
        /// Why.
        reason: String,
    },
    /// A statement failed.
    #[error("the database failed: {reason}")]
    Statement {
        /// Why.
        reason: String,
    },
    /// No connection came free in time, or the writer has ended.
    #[error("the database is not available: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// A row holds what no version of the gateway writes.
    #[error("the database row {row} can't be read: {reason}")]
    Corrupt {
        /// Which.
        row: String,
        /// Why.
        reason: String,
    },
    /// It waited for another transaction that waited for it. Nothing was changed; it can be done again at once.
    #[error("the database is not available: two transactions waited for each other")]
    Deadlock,
    /// A row with this key is there already.
    #[error("it exists already")]
    Duplicate,
}

impl DbError {
    /// Whether the same operation may succeed in a moment.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Deadlock)
    }
}

impl From<diesel::result::Error> for DbError {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind, Error};
        match error {
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::Duplicate,
            Error::DatabaseError(_, info) if info.message() == "deadlock detected" => Self::Deadlock,
            Error::DatabaseError(
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ReadOnlyTransaction
                | DatabaseErrorKind::SerializationFailure,
                _,
            )
            | Error::BrokenTransactionManager => Self::Unavailable { reason: error.to_string() },
            other => Self::Statement { reason: other.to_string() },
        }
    }
}
