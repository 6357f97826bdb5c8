//! Keeping a store in shape: schema, time, day keys, and forgetting what has had its time.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use crate::otp::ids::{ProjectId, VerificationId};
use crate::otp::rows::Sealed;
use crate::otp::time::Timestamp;

/// How far the queue of due work is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    pub due: u64,
    /// The age of the oldest row that is due.
    pub oldest: Duration,
}

#[async_trait]
pub trait Upkeep {
    /// Brings the schema up to date.
    async fn migrate(&self) -> Result<()>;
    /// Whether the schema is the one this program was built with.
    async fn is_migrated(&self) -> Result<bool>;
    /// The store's own time; SQLite has the machine's.
    async fn now(&self) -> Result<Timestamp>;
    /// The sealed key of a project and day, in UTC days since the epoch; `None` when there is none (any more).
    async fn find_day_key(&self, project: ProjectId, day: i64) -> Result<Option<Sealed>>;
    /// Keeps `sealed` unless there is a key already; answers the one that is kept.
    async fn create_day_key(&self, project: ProjectId, day: i64, sealed: &Sealed) -> Result<Sealed>;
    /// Deletes the day keys that have outlived their project's retention; answers how many.
    async fn shred_day_keys(&self, now: Timestamp) -> Result<u64>;
    /// Ends every lease now: for a program that knows that it is the only one.
    async fn void_leases(&self, now: Timestamp) -> Result<u64>;
    async fn backlog(&self, now: Timestamp) -> Result<Backlog>;
    /// Erases the sealed codes of verifications opened in `from..until` whose life is over.
    async fn erase_codes(&self, from: VerificationId, until: VerificationId) -> Result<u64>;
    /// Deletes used-up limits, old pointers, replies, message ids, sandbox messages, receipts and sessions, in small
    /// steps.
    async fn sweep(&self, now: Timestamp) -> Result<u64>;
    /// PostgreSQL: makes the partitions of the days ahead, drops those older than every project's retention, and sums up
    /// the statistics of days that are over.
    /// SQLite: deletes those rows.
    async fn rotate(&self, now: Timestamp) -> Result<()>;
}
