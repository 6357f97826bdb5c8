//! Looking back: lists, timelines, statistics and the sandbox inbox.

use async_trait::async_trait;
use uuid::Uuid;

use super::Result;
use crate::otp::changes::Dimension;
use crate::otp::channel::{Channel, Mode};
use crate::otp::ids::{DispatchId, ProjectId, VerificationId};
use crate::otp::rows::{Attempt, Dispatch, Index, Receipt, Sealed, Verification};
use crate::otp::status::DispatchStatus;
use crate::otp::time::Timestamp;

/// Which verifications a list is of. Newest first; `before` and `offset` page through it.
#[derive(Debug, Clone)]
pub struct RecordFilter {
    pub project: ProjectId,
    pub modes: &'static [Mode],
    pub channel: Option<Channel>,
    pub verified: Option<bool>,
    /// Of the newest dispatch.
    pub status: Option<DispatchStatus>,
    pub record: Option<String>,
    /// Created at or after, and before.
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub before: Option<VerificationId>,
    pub offset: u32,
    pub limit: u32,
}

/// A verification with its newest dispatch.
#[derive(Debug, Clone)]
pub struct Record {
    pub verification: Verification,
    pub dispatch: Dispatch,
}

/// Everything that happened to a verification, each list in order.
#[derive(Debug, Clone)]
pub struct Timeline {
    pub verification: Verification,
    pub dispatches: Vec<Dispatch>,
    pub attempts: Vec<Attempt>,
    pub receipts: Vec<Receipt>,
}

/// One hourly counter, summed over the hours asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    pub dimension: Dimension,
    pub value: String,
    pub count: i64,
}

/// A message that went to the inbox instead of a person; what it says is sealed.
#[derive(Debug, Clone)]
pub struct SandboxMessage {
    pub id: Uuid,
    pub project: ProjectId,
    pub mode: Mode,
    pub channel: Channel,
    pub target: Index,
    pub sealed: Sealed,
    pub created: Timestamp,
}

#[async_trait]
pub trait Records {
    async fn list_records(&self, filter: &RecordFilter, page: Page) -> Result<Vec<Record>>;
    /// How many match, counted no further than `at_most`.
    async fn count_records(&self, filter: &RecordFilter, at_most: u32) -> Result<u32>;
    /// Since when every verification that the counters have counted is still there to be listed, where that is known.
    async fn listed_since(&self) -> Result<Option<Timestamp>>;
    async fn timeline(&self, project: ProjectId, modes: &[Mode], id: VerificationId) -> Result<Option<Timeline>>;
    /// Counters of these dimensions, of the hours from `from` to before `until`.
    async fn stats(
        &self,
        project: ProjectId,
        modes: &[Mode],
        dimensions: &[Dimension],
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Vec<Count>>;
    /// Dispatches that still have work, or that ended `failed` or `expired`; newest first.
    async fn list_dispatches(&self, statuses: &[DispatchStatus], limit: u32) -> Result<Vec<Dispatch>>;
    async fn find_dispatch(&self, id: DispatchId) -> Result<Option<(Dispatch, Verification)>>;
    async fn keep_messages(&self, messages: &[SandboxMessage]) -> Result<()>;
    /// Newest first; of any of `targets` where given.
    async fn sandbox_messages(
        &self,
        project: ProjectId,
        modes: &[Mode],
        targets: Option<&[Index]>,
        limit: u32,
    ) -> Result<Vec<SandboxMessage>>;
}
