//! Transactions, and connections that are kept from one to the next. sqlx's pool asks every connection that comes back
//! whether it lives, which is one question in six of what a batch asks: lanes keep theirs, and begin is what tells.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgConnection, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::patience::{self, PatientPool, answered};
use crate::store::Result;

/// How long a connection is kept before it goes back to its pool, which closes those that are old.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// A pool whose connections are kept.
#[derive(Debug)]
pub(super) struct KeptPool {
    pool: PatientPool,
    places: Arc<Semaphore>,
    acquire_timeout: Duration,
    idle: Mutex<Vec<Kept>>,
}

#[derive(Debug)]
pub(super) struct Kept {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

impl KeptPool {
    /// What was begun on a connection that goes back to the pool is undone there.
    pub(super) fn options(options: PgPoolOptions) -> PgPoolOptions {
        options.after_release(|connection, _| Box::pin(patience::undo(connection)))
    }

    pub(super) fn new(pool: PatientPool, connections: usize, acquire_timeout: Duration) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(connections));
        Arc::new(Self { pool, places, acquire_timeout, idle: Mutex::default() })
    }

    pub(super) async fn begin(self: &Arc<Self>) -> Result<Transaction> {
        begun(&self.pool, || self.begin_once()).await
    }

    async fn begin_once(self: &Arc<Self>) -> sqlx::Result<Transaction> {
        let place = timeout(self.acquire_timeout, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut kept = match idle {
            Some(kept) => kept,
            None => Kept { connection: self.pool.acquire().await?, since: Instant::now() },
        };
        kept.connection.execute("begin").await?;
        Ok(Transaction::OfLane { kept, pool: Arc::clone(self), _place: place })
    }

    fn keep(&self, kept: Kept) {
        if kept.since.elapsed() < KEPT_FOR {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        }
    }
}

/// A server that was restarted leaves broken connections: each is met once at most, then replaced.
async fn begun<F>(pool: &PatientPool, begin: impl Fn() -> F + Sync) -> Result<Transaction>
where
    F: Future<Output = sqlx::Result<Transaction>> + Send,
{
    let mut broken = pool.size();
    loop {
        match answered(async { Ok(begin().await) }).await? {
            Ok(transaction) => return Ok(transaction),
            Err(error) if broken == 0 || matches!(error, sqlx::Error::PoolTimedOut) => return Err(error.into()),
            Err(_) => broken -= 1,
        }
    }
}

/// A transaction, undone unless it is committed.
#[derive(Debug)]
pub(super) enum Transaction {
    OfLane { kept: Kept, pool: Arc<KeptPool>, _place: OwnedSemaphorePermit },
    OfPool(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    pub(super) async fn of_pool(pool: &PatientPool) -> Result<Self> {
        begun(pool, || async { Ok(Self::OfPool(pool.begin().await?)) }).await
    }

    pub(super) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::OfLane { mut kept, pool, .. } => {
                kept.connection.execute("commit").await?;
                pool.keep(kept);
                Ok(())
            }
            Self::OfPool(transaction) => transaction.commit().await,
        }
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::OfLane { kept, .. } => &kept.connection,
            Self::OfPool(transaction) => transaction,
        }
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::OfLane { kept, .. } => &mut kept.connection,
            Self::OfPool(transaction) => transaction,
        }
    }
}
