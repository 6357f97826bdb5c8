//! The store in PostgreSQL 15 and later. A file a table or concern; each statement is one named function with a
//! constant text (but for the day in the names of tables), and whatever takes many rows takes them as arrays
//! (`unnest`). What the rows mean is not here.
//!
//! Rows are looked up one key after the other (`cross join lateral`, with `for no key update` or `offset 0`, which keep it
//! one): as a plain join the planner may read all that lies between the first and the last key instead, which is a
//! whole day where one of them is old. Locks are taken in the order of the keys, so callers sort them.

mod attempts;
mod carried;
mod columns;
mod day_tables;
mod days;
mod dispatches;
mod due;
mod idempotency;
mod kept;
mod limits;
mod listing;
mod message_ids;
mod open_targets;
mod partitions;
mod patience;
mod projects;
mod receipts;
mod records;
mod schema;
mod sessions;
mod shared;
mod stats;
mod sweep;
mod tx;
mod upkeep;
mod verifications;
mod writes;

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};

use self::day_tables::DayTables;
use self::kept::{KeptPool, Transaction};
use self::patience::PatientPool;
use super::{Backend, Lane, Result, Tx};
use crate::otp::time::Timestamp;

/// Connections that the lanes have for themselves: sends, what becomes of them, guesses. A batch of guesses is short and is
/// often kept waiting by the API that asks, so another one goes beside it.
const LANES: [u16; 3] = [1, 1, 2];

/// What every connection is told. Plans are made once for all parameters: the statements are written so that the same
/// plan (by primary key) is right for each, and planning over all partitions takes longer than running. Such a plan is
/// often made while a table is empty, and outlives that: what is best for an empty table is not to be had. No statement
/// here reads so much that starting other processes for it is worth while.
const SESSION: [(&str, &str); 8] = [
    ("idle_in_transaction_session_timeout", "2s"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
];
const TIMEOUTS: [(&str, &str); 2] = [("statement_timeout", "5s"), ("lock_timeout", "2s")];

/// How many connections a process holds, and how long a caller waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    pub max_connections: u32,
    pub acquire_timeout: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { max_connections: 10, acquire_timeout: Duration::from_secs(2) }
    }
}

/// A PostgreSQL database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PgBackend {
    /// Connections of the lanes of batches. A larger pool would hand out the one that has been idle longest, whose server
    /// process finds nothing of what it needs in the processor's caches.
    lanes: [Arc<KeptPool>; LANES.len()],
    /// For everything else.
    pool: PatientPool,
    day_tables: DayTables,
    /// For migrations and partitions: without time limits.
    unhurried: PgConnectOptions,
}

impl PgBackend {
    /// Makes the pool and connects when it is first used, so that programs start in any order. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When `url` is not the URL of a PostgreSQL database.
    pub fn connect(url: &str, pool: &PoolSettings) -> Result<Self> {
        let mut unhurried = PgConnectOptions::from_str(url)?.options(SESSION).disable_statement_logging();
        if !url.contains("sslmode") && is_loopback(unhurried.get_host()) {
            // Nobody listens in between, and the driver's TLS records wait for each other (no TCP_NODELAY).
            unhurried = unhurried.ssl_mode(PgSslMode::Disable);
        }
        if unhurried.get_application_name().is_none() {
            unhurried = unhurried.application_name("otpd");
        }
        let server = unhurried.clone().options(TIMEOUTS);
        let options = |connections: u32| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(pool.acquire_timeout)
                .after_release(|connection, _| Box::pin(patience::may_return(connection)))
        };
        let lanes = LANES.map(|connections| {
            let of_lane = KeptPool::options(options(connections.into()));
            KeptPool::new(PatientPool::new(of_lane, server.clone()), connections, pool.acquire_timeout)
        });
        let others = pool.max_connections.saturating_sub(LANES.into_iter().map(u32::from).sum()).max(1);
        let others = PatientPool::new(options(others), server);
        Ok(Self { lanes, pool: others, day_tables: DayTables::default(), unhurried })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|host: IpAddr| host.is_loopback())
}

#[async_trait]
impl Backend for PgBackend {
    async fn begin(&self, lane: Lane, now: Timestamp) -> Result<Box<dyn Tx>> {
        let [sends, settles, guesses] = &self.lanes;
        let tx = match lane {
            Lane::Send => sends.begin().await?,
            Lane::Settle => settles.begin().await?,
            Lane::Guess => guesses.begin().await?,
            Lane::Any => Transaction::of_pool(&self.pool).await?,
        };
        Ok(Box::new(tx::PgTx::of(tx, &self.day_tables, now).await?))
    }
}
