//! What an operation wants written, all of it in one transaction.

use std::collections::{BTreeMap, HashMap};

use super::channel::Mode;
use super::ids::{DispatchId, ProjectId, VerificationId};
use super::limits::Window;
use super::rows::{Attempt, Charge, Dispatch, Due, Index, LimitTimes, OpenTarget, Receipt, Remembered, Verification};
use super::status::DispatchStatus;
use super::time::Timestamp;

/// Rows to insert, rows to overwrite and counters to move. A store writes it as a whole or not at all.
#[derive(Debug)]
pub struct Changes {
    /// When this was decided; `limit_events` are counted from it. Days before its own may be over for the statistics.
    pub now: Timestamp,
    pub limits: BTreeMap<Index, LimitTimes>,
    /// First windows that so many events are added to, wherever they stand by then. Where that is more than a window
    /// holds, others have used it up meanwhile, and the transaction meets a conflict.
    pub limit_events: BTreeMap<Index, (Window, u32)>,
    pub remembered: Vec<Remembered>,
    pub open_targets: BTreeMap<super::rows::OpenTargetKey, OpenTarget>,
    pub new_verifications: BTreeMap<VerificationId, Verification>,
    pub verifications: BTreeMap<VerificationId, Verification>,
    pub new_dispatches: BTreeMap<DispatchId, Dispatch>,
    pub dispatches: BTreeMap<DispatchId, Dispatch>,
    /// Verifications whose target and hash of the code are erased.
    pub erased: Vec<VerificationId>,
    /// New attempts, and old ones that a receipt has moved.
    pub attempts: BTreeMap<super::ids::AttemptId, Attempt>,
    pub due: BTreeMap<DispatchId, Due>,
    pub done: Vec<DispatchId>,
    pub message_ids: Vec<MessageId>,
    pub receipts: Vec<Receipt>,
    pub projects: BTreeMap<ProjectId, ProjectChange>,
    pub stats: Stats,
}

/// Where a provider's message id leads, for its receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId {
    pub provider: String,
    pub message_id: String,
    pub attempt: super::ids::AttemptId,
    pub created: Timestamp,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ProjectChange {
    /// Added to the tokens in use.
    pub used: i64,
    /// The rate window's new instant, where it moved.
    pub rate: Option<Timestamp>,
}

/// One hourly counter: so many of `value` in `dimension`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatsKey {
    pub project: ProjectId,
    pub mode: Mode,
    pub hour: Timestamp,
    pub dimension: Dimension,
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    Total,
    Verified,
    Channel,
    Status,
    Provider,
    Country,
    /// Codes that were made and are checked elsewhere, by channel: outside of every other count of verifications.
    Relayed,
}

impl Dimension {
    pub const ALL: [Self; 7] =
        [Self::Total, Self::Verified, Self::Channel, Self::Status, Self::Provider, Self::Country, Self::Relayed];

    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Total => 0,
            Self::Verified => 1,
            Self::Channel => 2,
            Self::Status => 3,
            Self::Provider => 4,
            Self::Country => 5,
            Self::Relayed => 6,
        }
    }

    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.code() == code)
    }
}

/// Differences to the hourly counters. A verification counts in the hour it was opened in.
#[derive(Debug, Default)]
pub struct Stats(HashMap<StatsKey, i64>);

impl Stats {
    fn add(&mut self, of: &Counted, dimension: Dimension, value: &str, by: i64) {
        let key = StatsKey {
            project: of.project,
            mode: of.mode,
            hour: of.verification.created().hour(),
            dimension,
            value: value.to_owned(),
        };
        *self.0.entry(key).or_default() += by;
    }

    pub fn opened(&mut self, verification: &Verification) {
        let of = Counted::verification(verification);
        if verification.is_relayed() {
            self.add(&of, Dimension::Relayed, verification.channel.as_str(), 1);
            return;
        }
        self.add(&of, Dimension::Total, "", 1);
        self.add(&of, Dimension::Channel, verification.channel.as_str(), 1);
        if let Some(country) = &verification.country {
            self.add(&of, Dimension::Country, country, 1);
        }
    }

    pub fn verified(&mut self, verification: &Verification) {
        let of = Counted::verification(verification);
        self.add(&of, Dimension::Verified, verification.channel.as_str(), 1);
    }

    /// The newest dispatch of a verification went from `before` to `after`, as to status and provider.
    pub fn moved(&mut self, before: Option<&Dispatch>, after: &Dispatch) {
        let of = Counted { project: after.project, mode: after.mode, verification: after.id.verification };
        let old = before.map(|dispatch| dispatch.status);
        if old != Some(after.status) {
            if let Some(status) = old {
                self.add(&of, Dimension::Status, status.as_str(), -1);
            }
            self.add(&of, Dimension::Status, after.status.as_str(), 1);
        }
        let old = before.and_then(|dispatch| dispatch.provider.as_deref());
        let new = after.provider.as_deref();
        if old != new {
            if let Some(provider) = old {
                self.add(&of, Dimension::Provider, provider, -1);
            }
            if let Some(provider) = new {
                self.add(&of, Dimension::Provider, provider, 1);
            }
        }
    }

    /// The differences that are not zero, in the order in which their rows are locked.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&StatsKey, i64)> {
        let mut rows: Vec<_> = self.0.iter().filter(|(_, by)| **by != 0).map(|(key, by)| (key, *by)).collect();
        rows.sort_unstable();
        rows
    }
}

struct Counted {
    project: ProjectId,
    mode: Mode,
    verification: VerificationId,
}

impl Counted {
    fn verification(verification: &Verification) -> Self {
        Self { project: verification.project, mode: verification.mode, verification: verification.id }
    }
}

impl Changes {
    /// None yet.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            limits: BTreeMap::new(),
            limit_events: BTreeMap::new(),
            remembered: Vec::new(),
            open_targets: BTreeMap::new(),
            new_verifications: BTreeMap::new(),
            verifications: BTreeMap::new(),
            new_dispatches: BTreeMap::new(),
            dispatches: BTreeMap::new(),
            erased: Vec::new(),
            attempts: BTreeMap::new(),
            due: BTreeMap::new(),
            done: Vec::new(),
            message_ids: Vec::new(),
            receipts: Vec::new(),
            projects: BTreeMap::new(),
            stats: Stats::default(),
        }
    }

    pub fn project(&mut self, id: ProjectId) -> &mut ProjectChange {
        self.projects.entry(id).or_default()
    }

    /// Overwrites a dispatch and keeps the statistics in step with it.
    pub fn put_dispatch(&mut self, before: &Dispatch, after: Dispatch) {
        if after.newest && before.newest {
            self.stats.moved(Some(before), &after);
        }
        if !after.status.is_pending() {
            self.due.remove(&after.id);
            self.done.push(after.id);
        }
        if let Some(new) = self.new_dispatches.get_mut(&after.id) {
            *new = after;
        } else {
            self.dispatches.insert(after.id, after);
        }
    }

    pub fn put_verification(&mut self, after: Verification) {
        if let Some(new) = self.new_verifications.get_mut(&after.id) {
            *new = after;
        } else {
            self.verifications.insert(after.id, after);
        }
    }

    /// Ends a dispatch that no provider has accepted, and gives its token back once.
    pub fn end_unsent(&mut self, before: &Dispatch, status: DispatchStatus, reason: &str) -> Dispatch {
        let mut after = before.clone();
        after.status = status;
        after.reason = Some(reason.to_owned());
        after.lease = None;
        self.give_back(&mut after);
        self.put_dispatch(before, after.clone());
        after
    }

    /// Gives the token of a dispatch back unless that was done before.
    pub fn give_back(&mut self, dispatch: &mut Dispatch) {
        if dispatch.charge == Charge::Reserved {
            dispatch.charge = Charge::Returned;
            self.project(dispatch.project).used -= 1;
        }
    }

    /// A provider accepted: the token is spent, and taken again if it had been given back.
    pub fn settle(&mut self, dispatch: &mut Dispatch) {
        if matches!(dispatch.charge, Charge::Returned | Charge::Untaken) {
            self.project(dispatch.project).used += 1;
        }
        dispatch.charge = Charge::Settled;
    }
}
