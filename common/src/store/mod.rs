//! The store: what must be kept. `Store` has the hot operations, each set-based and in one transaction; the rest is
//! small traits by concern, which each backend implements beside the other.

pub mod carried;
mod error;
mod finding;
mod ledger;
pub mod postgres;
pub mod projects;
pub mod records;
pub mod sessions;
pub mod sqlite;
pub mod upkeep;

use std::collections::HashMap;
use std::fmt::Debug;

use async_trait::async_trait;

pub use error::StoreError;
pub use ledger::Store;

use crate::otp::chain::Dispatches;
use crate::otp::changes::Changes;
use crate::otp::channel::Mode;
use crate::otp::ids::{AttemptId, DispatchId, ProjectId, VerificationId};
use crate::otp::rows::{
    Attempt, Counters, Dispatch, Due, IdempotencyKey, Index, LimitTimes, OpenTarget, OpenTargetKey, Receipt,
    Remembered, Verification,
};
use crate::otp::time::Timestamp;

/// Verifications by their ids.
pub type Verifications = HashMap<VerificationId, Verification>;

pub type Result<T> = std::result::Result<T, StoreError>;

/// A database that otpd can keep its rows in.
#[async_trait]
pub trait Backend:
    carried::Carriers + projects::Projects + records::Records + sessions::Sessions + upkeep::Upkeep + Debug + Send + Sync
{
    /// Begins a transaction that may write. What is of the present by this time may be found faster.
    async fn begin(&self, lane: Lane, now: Timestamp) -> Result<Box<dyn Tx>>;
}

/// Which transactions batchers make, one after the other: a store may keep connections for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// What is to be sent: accepted, or a fallback whose turn it is.
    Send,
    /// What becomes of it: claims, finished calls and receipts.
    Settle,
    /// Guesses.
    Guess,
    /// None: any number at once.
    Any,
}

/// Rows that sends share, besides limits.
#[derive(Debug, Default)]
pub struct Shared {
    pub remembered: HashMap<IdempotencyKey, Remembered>,
    pub open_targets: HashMap<OpenTargetKey, OpenTarget>,
    /// None, perhaps, where a pointer was found: they are locked after what it leads to.
    pub projects: HashMap<ProjectId, Counters>,
}

/// One transaction over the rows of the domain. Rows that are `lock`ed stay so until its end.
///
/// Locks are taken in this order and sorted by key within each: limits, idempotency, open targets, verifications,
/// dispatches, attempts, projects, stats. Projects come late because they are the hottest rows.
#[async_trait]
pub trait Tx: Send {
    /// Locks the rows of `keys` that are there. Of a row that is not, the transaction that writes it first wins; the
    /// others meet a conflict.
    async fn lock_limits(&mut self, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>>;

    /// Reads without locking.
    async fn read_limits(&mut self, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>>;

    /// Locks the keys that hold a reply, the pointers that there are, and the projects if there are no such pointers. Of two
    /// requests with a new key or target, the second waits for the first when it writes. What another transaction made
    /// while this one waited for `lock_limits` is found.
    async fn lock_shared(
        &mut self,
        keys: &[IdempotencyKey],
        targets: &[OpenTargetKey],
        projects: &[ProjectId],
    ) -> Result<Shared>;

    /// The pointers of these projects and targets, of every record id and mode, not locked.
    async fn read_open_targets(&mut self, targets: &[(ProjectId, Index)]) -> Result<Vec<OpenTarget>>;

    async fn lock_verifications(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Verification>>;

    /// Reads without locking.
    async fn read_verifications(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Verification>>;

    /// The newest verification of a project with this record id that a key of these modes may see.
    async fn newest_by_record(
        &mut self,
        project: ProjectId,
        modes: &[Mode],
        record: &str,
    ) -> Result<Option<VerificationId>>;

    /// All dispatches of these verifications, locked, each list in order of number.
    async fn lock_dispatches_of(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Vec<Dispatch>>>;

    /// Dispatches, locked, and their verifications, read.
    async fn lock_dispatches(&mut self, ids: &[DispatchId]) -> Result<(Dispatches, Verifications)>;

    /// All dispatches of these verifications: those that wait are locked, but for what is locked elsewhere, which is left
    /// out; the others are read.
    async fn lock_waiting_of(&mut self, ids: &[VerificationId]) -> Result<HashMap<DispatchId, Dispatch>>;

    /// Due rows and their dispatches, of those longest due the earliest deadline first, passing over dispatches that are
    /// locked elsewhere.
    async fn lock_due(&mut self, now: Timestamp, limit: u32) -> Result<Vec<(Due, Dispatch)>>;

    /// All attempts of these dispatches.
    async fn read_attempts(&mut self, dispatches: &[DispatchId]) -> Result<HashMap<AttemptId, Attempt>>;

    /// Which attempts these providers' message ids belong to.
    async fn read_message_ids(&mut self, ids: &[(String, String)]) -> Result<HashMap<(String, String), AttemptId>>;

    /// Receipts that wait for their attempt, by provider and message id.
    async fn parked_receipts(&mut self, ids: &[(String, String)]) -> Result<HashMap<(String, String), Vec<Receipt>>>;

    /// Up to `limit` parked receipts received since `since` whose message id is known by now.
    async fn joinable_receipts(&mut self, since: Timestamp, limit: u32) -> Result<Vec<Receipt>>;

    async fn lock_projects(&mut self, ids: &[ProjectId]) -> Result<HashMap<ProjectId, Counters>>;

    /// Writes everything; existing rows of `open_targets`, `attempts`, `due` and `receipts` are replaced.
    async fn write(&mut self, changes: &Changes) -> Result<()>;

    async fn commit(self: Box<Self>) -> Result<()>;
}
