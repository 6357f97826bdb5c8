//! Giving up on a server that is gone without a word. What it still holds up would wait until TCP gives up, a quarter
//! of an hour later, and a pool whose connections all wait like that is of no use until then.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr, Transaction};
use tokio::time::{Instant, timeout, timeout_at};

use crate::store::{Result, StoreError};

/// A server that lives ends a statement earlier itself.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long after work was given up connections are asked whether they live before they go back to the pool.
const SUSPICIOUS: Duration = Duration::from_secs(60);
/// How long nothing but failures makes a pool hopeless.
const HOPELESS: Duration = Duration::from_secs(3);
const PING: Duration = Duration::from_secs(2);

/// When work was last given up in this process.
static GIVEN_UP: Mutex<Option<Instant>> = Mutex::new(None);

/// Notes, unless it was ended, that work was given up: by us, or by a caller who does not wait any more.
struct UnderWay;

impl UnderWay {
    fn ended(self) {
        std::mem::forget(self);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *GIVEN_UP.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// What the work answers, or that the server did not.
pub(super) async fn answered<T>(work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let mut work = pin!(timeout(PATIENCE, work));
    // Dropped before the work is, whose connection then finds it noted.
    let under_way = UnderWay;
    let answer = work.as_mut().await;
    if answer.is_ok() {
        under_way.ended();
    }
    answer.unwrap_or_else(|_| Err(StoreError::Unavailable(late(PATIENCE).to_string())))
}

pub(super) fn late(after: Duration) -> sqlx::Error {
    let words = format!("no answer within {} s", after.as_secs());
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, words))
}

/// Whether a connection may go back to the pool. The pool asks too, but without end, and keeps its place meanwhile; and it
/// does not undo a `begin` that nobody waited for.
pub(super) async fn may_return(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let given_up = *GIVEN_UP.lock().unwrap_or_else(PoisonError::into_inner);
    if given_up.is_some_and(|at| at.elapsed() < SUSPICIOUS) {
        // The server warns of a rollback of nothing.
        timeout(PING, connection.execute("begin; rollback")).await.map_err(|_| late(PING))??;
    }
    Ok(true)
}

/// Ends what was begun on a connection and not committed, before it goes back to the pool.
pub(super) async fn undo(connection: &mut PgConnection) -> sqlx::Result<bool> {
    timeout(PING, connection.execute("rollback")).await.map_err(|_| late(PING))??;
    Ok(true)
}

/// A pool whose own statements are given up as well, and that begins anew when nobody answers on any connection.
#[derive(Debug, Clone)]
pub(super) struct PatientPool {
    options: PgPoolOptions,
    server: PgConnectOptions,
    current: Arc<Mutex<Current>>,
}

#[derive(Debug)]
struct Current {
    pool: PgPool,
    /// The first failure since the last success.
    failing_since: Option<Instant>,
}

impl PatientPool {
    /// Connects when it is first used.
    pub(super) fn new(options: PgPoolOptions, server: PgConnectOptions) -> Self {
        let pool = options.clone().connect_lazy_with(server.clone());
        Self { options, server, current: Arc::new(Mutex::new(Current { pool, failing_since: None })) }
    }

    pub(super) fn get(&self) -> PgPool {
        self.current().pool.clone()
    }

    pub(super) async fn acquire(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.note(self.get().acquire().await)
    }

    pub(super) async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.note(self.get().begin().await)
    }

    pub(super) async fn begin_with(&self, begin: &'static str) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.note(self.get().begin_with(begin).await)
    }

    pub(super) fn size(&self) -> u32 {
        self.get().size()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections that hang while they go back keep their places. When nothing but failures came for a while, those
    /// places are all lost: a new pool has them back, and the old one ends with what it still holds.
    pub(super) fn note<T>(&self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        let mut current = self.current();
        if result.is_ok() {
            current.failing_since = None;
        } else if current.failing_since.get_or_insert_with(Instant::now).elapsed() >= HOPELESS {
            let pool = self.options.clone().connect_lazy_with(self.server.clone());
            *current = Current { pool, failing_since: None };
        }
        drop(current);
        result
    }
}

impl<'c> Executor<'c> for &'c PatientPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (rows, end) = (self.get().fetch_many(query), Instant::now() + PATIENCE);
        Box::pin(stream::try_unfold(rows, move |mut rows| async move {
            let under_way = UnderWay;
            let row = timeout_at(end, rows.try_next()).await.map_err(|_| late(PATIENCE)).flatten();
            let row = self.note(row)?;
            under_way.ended();
            Ok(row.map(|row| (row, rows)))
        }))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let under_way = UnderWay;
            let row = timeout(PATIENCE, self.get().fetch_optional(query)).await.map_err(|_| late(PATIENCE)).flatten();
            let row = self.note(row)?;
            under_way.ended();
            Ok(row)
        })
    }

    fn prepare_with<'e>(self, sql: SqlStr, types: &'e [PgTypeInfo]) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        let pool = self.get();
        Box::pin(async move { pool.prepare_with(sql, types).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        let pool = self.get();
        Box::pin(async move { pool.describe(sql).await })
    }
}
