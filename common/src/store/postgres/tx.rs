//! One transaction: which statements an operation of the ledger takes, in the order in which locks are taken.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use sqlx::PgConnection;

use super::day_tables::{DayTables, Present};
use super::kept::Transaction;
use super::patience::answered;
use super::writes::Writes;
use super::{
    attempts, dispatches, due, idempotency, limits, message_ids, open_targets, projects, receipts, shared, stats,
    verifications,
};
use crate::otp::chain::Dispatches;
use crate::otp::changes::Changes;
use crate::otp::channel::Mode;
use crate::otp::ids::{AttemptId, DispatchId, ProjectId, VerificationId};
use crate::otp::rows::{
    Attempt, Counters, Dispatch, Due, IdempotencyKey, Index, LimitTimes, OpenTarget, OpenTargetKey, Receipt,
    Verification,
};
use crate::otp::time::Timestamp;
use crate::store::{Result, Shared, StoreError, Tx, Verifications};

pub(super) struct PgTx {
    tx: Transaction,
    days: Present,
    known: Known,
}

/// Rows that were there when this transaction locked what it needs. Whatever else it writes of the first three tables is
/// new.
#[derive(Default)]
struct Known {
    limits: HashSet<Index>,
    remembered: HashSet<IdempotencyKey>,
    open_targets: HashSet<OpenTargetKey>,
    projects: HashSet<ProjectId>,
}

impl PgTx {
    pub(super) async fn of(mut tx: Transaction, tables: &DayTables, now: Timestamp) -> Result<Self> {
        let days = answered(tables.present(&mut tx, now)).await?;
        Ok(Self { tx, days, known: Known::default() })
    }

    /// Rows that many write are locked last: windows of guesses, projects, statistics, in this order. Most transactions
    /// need not wait for the first two, and write everything at once.
    async fn write_all(&mut self, changes: &Changes) -> Result<()> {
        let has_projects = changes.projects.keys().all(|id| self.known.projects.contains(id));
        let at_once = has_projects && changes.limit_events.is_empty();
        let mut writes = self.writes(changes);
        if at_once {
            projects::count(&mut writes, &changes.projects);
            stats::add(&mut writes, &changes.stats, changes.now);
        }
        let tx = &mut *self.tx;
        writes.run(tx).await?;
        // Of rows that may just have been written.
        verifications::erase(tx, &changes.erased).await?;
        dispatches::erase_targets(tx, &changes.erased).await?;
        if at_once { Ok(()) } else { write_waiting(tx, changes).await }
    }

    /// Whatever is new, or locked by this transaction already.
    fn writes(&self, changes: &Changes) -> Writes {
        let mut writes = Writes::default();
        let rows = changes.limits.iter().map(|(key, times)| (*key, *times));
        let (known, new): (Vec<_>, Vec<_>) = rows.partition(|(key, _)| self.known.limits.contains(key));
        limits::update(&mut writes, &known);
        limits::insert(&mut writes, &new);
        let rows = changes.remembered.iter();
        let (known, new): (Vec<_>, Vec<_>) = rows.partition(|row| self.known.remembered.contains(&row.key));
        idempotency::update(&mut writes, &known);
        idempotency::insert(&mut writes, &new);
        let rows = changes.open_targets.values();
        let (known, new): (Vec<_>, Vec<_>) = rows.partition(|row| self.known.open_targets.contains(&row.key));
        open_targets::update(&mut writes, &known);
        open_targets::insert(&mut writes, &new);
        verifications::insert(&mut writes, &self.days, &changes.new_verifications);
        verifications::update(&mut writes, &self.days, &changes.verifications);
        dispatches::insert(&mut writes, &self.days, &changes.new_dispatches);
        dispatches::update(&mut writes, &self.days, &changes.dispatches);
        attempts::write(&mut writes, &self.days, &changes.attempts);
        let is_due = |id: &&DispatchId| changes.due.contains_key(id);
        let done: Vec<_> = changes.done.iter().filter(|id| !is_due(id)).copied().collect();
        due::delete(&mut writes, &done);
        let is_new = |row: &&Due| changes.new_dispatches.contains_key(&row.dispatch);
        let (new, known): (Vec<_>, Vec<_>) = changes.due.values().partition(is_new);
        due::insert(&mut writes, &new);
        due::write(&mut writes, &known);
        message_ids::insert(&mut writes, &changes.message_ids);
        receipts::write(&mut writes, &changes.receipts);
        writes
    }
}

async fn write_waiting(tx: &mut PgConnection, changes: &Changes) -> Result<()> {
    // The windows of guesses are no request's to lock first: nobody else holds them across another lock.
    if !limits::add_events(tx, &changes.limit_events, changes.now).await? {
        return Err(StoreError::Conflict("other transactions have used a limit up meanwhile".to_owned()));
    }
    let ids: Vec<_> = changes.projects.keys().copied().collect();
    if !ids.is_empty() {
        projects::lock(tx, &ids).await?;
    }
    let mut writes = Writes::default();
    projects::count(&mut writes, &changes.projects);
    stats::add(&mut writes, &changes.stats, changes.now);
    writes.run(tx).await
}

#[async_trait]
impl Tx for PgTx {
    async fn lock_limits(&mut self, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>> {
        let rows = answered(limits::lock(&mut self.tx, keys)).await?;
        self.known.limits.extend(rows.keys());
        Ok(rows)
    }

    async fn read_limits(&mut self, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>> {
        answered(limits::read(&mut self.tx, keys)).await
    }

    async fn lock_shared(
        &mut self,
        keys: &[IdempotencyKey],
        targets: &[OpenTargetKey],
        projects: &[ProjectId],
    ) -> Result<Shared> {
        let rows = answered(shared::lock(&mut self.tx, keys, targets, projects)).await?;
        self.known.remembered.extend(rows.remembered.keys().cloned());
        self.known.open_targets.extend(rows.open_targets.keys().cloned());
        self.known.projects.extend(rows.projects.keys());
        Ok(rows)
    }

    async fn read_open_targets(&mut self, targets: &[(ProjectId, Index)]) -> Result<Vec<OpenTarget>> {
        answered(open_targets::of_targets(&mut self.tx, targets)).await
    }

    async fn lock_verifications(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Verification>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        answered(verifications::lock(&mut self.tx, &self.days, ids)).await
    }

    async fn read_verifications(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Verification>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        answered(verifications::read(&mut self.tx, &self.days, ids)).await
    }

    async fn newest_by_record(
        &mut self,
        project: ProjectId,
        modes: &[Mode],
        record: &str,
    ) -> Result<Option<VerificationId>> {
        answered(verifications::newest_by_record(&mut self.tx, project, modes, record)).await
    }

    async fn lock_dispatches_of(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Vec<Dispatch>>> {
        answered(dispatches::lock_of(&mut self.tx, &self.days, ids)).await
    }

    async fn lock_dispatches(&mut self, ids: &[DispatchId]) -> Result<(Dispatches, Verifications)> {
        answered(dispatches::lock(&mut self.tx, &self.days, ids)).await
    }

    async fn lock_waiting_of(&mut self, ids: &[VerificationId]) -> Result<HashMap<DispatchId, Dispatch>> {
        answered(dispatches::lock_waiting_of(&mut self.tx, ids)).await
    }

    async fn lock_due(&mut self, now: Timestamp, limit: u32) -> Result<Vec<(Due, Dispatch)>> {
        answered(due::lock(&mut self.tx, now, limit)).await
    }

    async fn read_attempts(&mut self, dispatches: &[DispatchId]) -> Result<HashMap<AttemptId, Attempt>> {
        answered(attempts::of_dispatches(&mut self.tx, &self.days, dispatches)).await
    }

    async fn read_message_ids(&mut self, ids: &[(String, String)]) -> Result<HashMap<(String, String), AttemptId>> {
        answered(message_ids::read(&mut self.tx, ids)).await
    }

    async fn parked_receipts(&mut self, ids: &[(String, String)]) -> Result<HashMap<(String, String), Vec<Receipt>>> {
        answered(receipts::parked(&mut self.tx, ids)).await
    }

    async fn joinable_receipts(&mut self, since: Timestamp, limit: u32) -> Result<Vec<Receipt>> {
        answered(receipts::joinable(&mut self.tx, since, limit)).await
    }

    async fn lock_projects(&mut self, ids: &[ProjectId]) -> Result<HashMap<ProjectId, Counters>> {
        let rows = answered(projects::lock(&mut self.tx, ids)).await?;
        self.known.projects.extend(rows.keys());
        Ok(rows)
    }

    async fn write(&mut self, changes: &Changes) -> Result<()> {
        answered(self.write_all(changes)).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        answered(async { Ok(self.tx.commit().await?) }).await
    }
}
