//! Store errors, by what a caller can do about them.

/// For callers inside the program; clients see a 503 at most.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database is away, or did not answer in time. Nothing is known to have been written.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Another transaction was in the way (serialization failure, deadlock, lock timeout), or this one stood still for so
    /// long that the server has ended it: try again.
    #[error("the store is busy: {0}")]
    Conflict(String),
    /// The statement is wrong for these rows: trying again does not help.
    #[error("the store refused a statement: {0}")]
    Refused(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // PostgreSQL: serialization failure, deadlock, lock and statement timeout, idle in transaction. SQLite: BUSY
                // and LOCKED.
                Some("40001" | "40P01" | "55P03" | "57014" | "25P03" | "5" | "6" | "261" | "262" | "517" | "773") => {
                    Self::Conflict(text)
                }
                // SQLite: I/O error, full disk, cannot open.
                Some("10" | "13" | "14") => Self::Unavailable(text),
                // PostgreSQL: connection exceptions, log-in, out of resources, shutdown, broken disk.
                Some(code) if ["08", "28", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) => {
                    Self::Unavailable(text)
                }
                // A transaction that has failed before, a read-only standby, and a database or table that nobody has made
                // yet.
                Some("25P02" | "25006" | "3D000" | "42P01") => Self::Unavailable(text),
                _ => Self::Refused(text),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => Self::Unavailable(text),
            _ => Self::Refused(text),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => {
                error.into()
            }
            other => Self::Refused(other.to_string()),
        }
    }
}
