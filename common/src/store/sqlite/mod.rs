//! SQLite: everything in one file. One connection writes, a transaction at a time, so nothing need be locked; a few
//! others read. Rows go in as one JSON parameter a statement, which is several times faster than a call a row.

mod carried;
mod projects;
mod records;
mod rows;
mod sessions;
mod sweep;
mod tx;
mod upkeep;
mod write;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, FromRow, Sqlite, Transaction};

use super::{Backend, Lane, Result, StoreError, Tx};
use crate::otp::time::Timestamp;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// How long a statement waits for another process that writes, and a caller for the connection.
const BUSY: Duration = Duration::from_secs(5);
const READERS: u32 = 4;
/// Of the page cache, in KiB, where SQLite's own 2 MiB would read hot pages over and over.
const WRITER_CACHE: &str = "-16384";
/// Pages (of 4 KiB) that the log holds before they are written into the file. A batch of 256 sends writes more than SQLite's
/// own 1000, so each would wait for that; the more there are, the more of them are of the same page.
const LOG_PAGES: &str = "8192";

/// A store in one file, for a program that is the only server. Command lines may write beside it.
#[derive(Debug, Clone)]
pub struct SqliteBackend {
    writes: SqlitePool,
    reads: SqlitePool,
}

impl SqliteBackend {
    /// Opens the file, which is made, for its owner alone, if it does not exist. Its schema is left as it is.
    ///
    /// # Errors
    /// When the file cannot be opened or is no database.
    pub async fn open(path: &Path) -> Result<Self> {
        create_file(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .row_buffer_size(256)
            .disable_statement_logging();
        let writer = options.clone().pragma("cache_size", WRITER_CACHE).pragma("wal_autocheckpoint", LOG_PAGES);
        let writes = pool(1).connect_with(writer).await?;
        let reads = pool(READERS).connect_lazy_with(options.pragma("query_only", "on"));
        Ok(Self { writes, reads })
    }

    /// Begins a transaction that holds the right to write from its first moment, so that it cannot lose it half-way.
    async fn begin_immediate(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.writes.begin_with("begin immediate").await?)
    }
}

#[async_trait]
impl Backend for SqliteBackend {
    async fn begin(&self, _: Lane, _: Timestamp) -> Result<Box<dyn Tx>> {
        Ok(Box::new(tx::SqliteTx::new(self.begin_immediate().await?)))
    }
}

/// Connections are local and never go stale: none is tested before use or closed for its age.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(BUSY)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// SQLite gives its side files the mode of this one.
async fn create_file(path: &Path) -> Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    match options.open(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StoreError::Unavailable(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// The JSON parameter of a statement.
fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Refused(error.to_string()))
}

/// The rows that a statement with one JSON parameter finds.
async fn fetch<T>(connection: &mut SqliteConnection, sql: &'static str, parameter: &impl Serialize) -> Result<Vec<T>>
where
    T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let parameter = json(parameter)?;
    Ok(sqlx::query_as(sql).bind(parameter).fetch_all(connection).await?)
}
