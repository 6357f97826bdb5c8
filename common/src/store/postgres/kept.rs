//! Transactions, and connections that are kept from one to the next. sqlx's pool asks every connection that comes back
//! whether it lives, which is one question in six of what a batch asks: lanes keep theirs, and begin is what tells.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgConnection, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::patience::{self, PatientPool, answered};
use crate::store::Result;

/// How old a connection becomes, as in sqlx's pools: a server process gives back little of the memory it has ever needed.
const KEPT_FOR: Duration = Duration::from_secs(30 * 60);

/// A pool whose connections are kept.
#[derive(Debug)]
pub(super) struct KeptPool {
    pool: PatientPool,
    connections: u16,
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

    pub(super) fn new(pool: PatientPool, connections: u16, acquire_timeout: Duration) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(connections.into()));
        Arc::new(Self { pool, connections, places, acquire_timeout, idle: Mutex::default() })
    }

    pub(super) async fn begin(self: &Arc<Self>) -> Result<Transaction> {
        begun(self.connections.into(), || self.begin_once()).await
    }

    async fn begin_once(self: &Arc<Self>) -> sqlx::Result<Transaction> {
        let place = timeout(self.acquire_timeout, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut kept = match self.take() {
            Some(kept) => kept,
            None => Kept { connection: self.pool.acquire().await?, since: Instant::now() },
        };
        let began = timeout(self.acquire_timeout, kept.connection.execute("begin")).await;
        if let Err(error) = self.pool.note(began.map_err(|_| patience::late(self.acquire_timeout)).flatten()) {
            // Nothing more is asked of it.
            drop(kept.connection.detach());
            return Err(error);
        }
        Ok(Transaction::OfLane { kept, pool: Arc::clone(self), _place: place })
    }

    /// One that is kept and not too old.
    fn take(&self) -> Option<Kept> {
        let kept = self.idle().pop()?;
        if kept.since.elapsed() < KEPT_FOR {
            return Some(kept);
        }
        drop(kept.connection.detach());
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that was restarted leaves broken connections: each is met once at most, then replaced.
async fn begun<F>(connections: u32, begin: impl Fn() -> F + Sync) -> Result<Transaction>
where
    F: Future<Output = sqlx::Result<Transaction>> + Send,
{
    let mut broken = connections;
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
        begun(pool.size(), || async { Ok(Self::OfPool(pool.begin().await?)) }).await
    }

    pub(super) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::OfLane { mut kept, pool, .. } => {
                kept.connection.execute("commit").await?;
                pool.idle().push(kept);
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
