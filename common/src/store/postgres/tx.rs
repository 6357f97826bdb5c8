//! One transaction: which statements an operation of the ledger takes, in the order in which locks are taken.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use sqlx::{Postgres, Transaction};

use super::patience::{PatientPool, answered};
use super::{
    attempts, dispatches, due, idempotency, limits, message_ids, open_targets, projects, receipts, stats, verifications,
};
use crate::otp::changes::Changes;
use crate::otp::channel::Mode;
use crate::otp::ids::{AttemptId, DispatchId, ProjectId, VerificationId};
use crate::otp::rows::{
    Attempt, Counters, Dispatch, Due, IdempotencyKey, Index, LimitTimes, OpenTarget, OpenTargetKey, Receipt,
    Remembered, Verification,
};
use crate::otp::time::Timestamp;
use crate::store::{Result, StoreError, Tx};

pub(super) struct PgTx {
    tx: Transaction<'static, Postgres>,
    known: Known,
}

/// Rows that were there when this transaction locked what it needs. Whatever else it writes of these tables is new; if
/// somebody else has made it meanwhile, that is a conflict and the batch is tried again, on what is there then.
#[derive(Default)]
struct Known {
    limits: HashSet<Index>,
    remembered: HashSet<IdempotencyKey>,
    open_targets: HashSet<OpenTargetKey>,
}

impl PgTx {
    /// A server that was restarted leaves broken connections in the pool: each is met once at most, then replaced.
    pub(super) async fn begin(pool: &PatientPool) -> Result<Self> {
        let mut broken = pool.size();
        loop {
            match answered(async { Ok(pool.begin().await) }).await? {
                Ok(tx) => return Ok(Self { tx, known: Known::default() }),
                Err(error) if broken == 0 || matches!(error, sqlx::Error::PoolTimedOut) => return Err(error.into()),
                Err(_) => broken -= 1,
            }
        }
    }

    async fn write_all(&mut self, changes: &Changes) -> Result<()> {
        self.write_limits(changes).await?;
        self.write_remembered(changes).await?;
        self.write_open_targets(changes).await?;
        let tx = &mut *self.tx;
        verifications::insert(tx, &changes.new_verifications).await?;
        verifications::update(tx, &changes.verifications).await?;
        verifications::erase(tx, &changes.erased).await?;
        dispatches::insert(tx, &changes.new_dispatches).await?;
        dispatches::update(tx, &changes.dispatches).await?;
        dispatches::erase_targets(tx, &changes.erased).await?;
        attempts::write(tx, &changes.attempts).await?;
        due::delete(tx, &changes.done).await?;
        due::write(tx, &changes.due).await?;
        message_ids::insert(tx, &changes.message_ids).await?;
        receipts::write(tx, &changes.receipts).await?;
        // The windows of guesses are no request's to lock first: nobody else holds them across another lock.
        if !limits::add_events(tx, &changes.limit_events, changes.now).await? {
            return Err(StoreError::Conflict("other transactions have used a limit up meanwhile".to_owned()));
        }
        projects::count(tx, &changes.projects).await?;
        stats::add(tx, &changes.stats).await
    }

    async fn write_limits(&mut self, changes: &Changes) -> Result<()> {
        let rows = changes.limits.iter().map(|(key, times)| (*key, *times));
        let (known, new): (Vec<_>, Vec<_>) = rows.partition(|(key, _)| self.known.limits.contains(key));
        limits::update(&mut self.tx, &known).await?;
        all_new("limits", new.len(), limits::insert(&mut self.tx, &new).await?)
    }

    async fn write_remembered(&mut self, changes: &Changes) -> Result<()> {
        let rows = changes.remembered.iter();
        let (known, new): (Vec<_>, Vec<_>) = rows.partition(|row| self.known.remembered.contains(&row.key));
        idempotency::update(&mut self.tx, &known).await?;
        all_new("idempotency_keys", new.len(), idempotency::insert(&mut self.tx, &new).await?)
    }

    async fn write_open_targets(&mut self, changes: &Changes) -> Result<()> {
        let rows = changes.open_targets.values();
        let (known, new): (Vec<_>, Vec<_>) = rows.partition(|row| self.known.open_targets.contains(&row.key));
        open_targets::update(&mut self.tx, &known).await?;
        all_new("open_targets", new.len(), open_targets::insert(&mut self.tx, &new).await?)
    }
}

fn all_new(table: &str, wanted: usize, inserted: u64) -> Result<()> {
    if inserted == wanted as u64 {
        return Ok(());
    }
    Err(StoreError::Conflict(format!("another transaction has made rows of {table} meanwhile")))
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

    async fn lock_remembered(&mut self, keys: &[IdempotencyKey]) -> Result<HashMap<IdempotencyKey, Remembered>> {
        let rows = answered(idempotency::lock(&mut self.tx, keys)).await?;
        self.known.remembered.extend(rows.keys().cloned());
        Ok(rows)
    }

    async fn lock_open_targets(&mut self, keys: &[OpenTargetKey]) -> Result<HashMap<OpenTargetKey, OpenTarget>> {
        let rows = answered(open_targets::lock(&mut self.tx, keys)).await?;
        self.known.open_targets.extend(rows.keys().cloned());
        Ok(rows)
    }

    async fn read_open_targets(&mut self, targets: &[(ProjectId, Index)]) -> Result<Vec<OpenTarget>> {
        answered(open_targets::of_targets(&mut self.tx, targets)).await
    }

    async fn lock_verifications(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Verification>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        answered(verifications::lock(&mut self.tx, ids)).await
    }

    async fn read_verifications(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Verification>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        answered(verifications::read(&mut self.tx, ids)).await
    }

    async fn newest_by_record(
        &mut self,
        project: ProjectId,
        modes: &[Mode],
        record: &str,
    ) -> Result<Option<VerificationId>> {
        answered(verifications::newest_by_record(&mut self.tx, project, modes, record)).await
    }

    async fn count_guesses(
        &mut self,
        wanted: &[(VerificationId, i16)],
        now: Timestamp,
    ) -> Result<HashMap<VerificationId, Verification>> {
        answered(verifications::count_guesses(&mut self.tx, wanted, now)).await
    }

    async fn lock_dispatches_of(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Vec<Dispatch>>> {
        answered(dispatches::lock_of(&mut self.tx, ids)).await
    }

    async fn lock_dispatches(&mut self, ids: &[DispatchId]) -> Result<HashMap<DispatchId, Dispatch>> {
        answered(dispatches::lock(&mut self.tx, ids)).await
    }

    async fn lock_waiting_of(&mut self, ids: &[VerificationId]) -> Result<HashMap<DispatchId, Dispatch>> {
        answered(dispatches::lock_waiting_of(&mut self.tx, ids)).await
    }

    async fn lock_due(&mut self, now: Timestamp, limit: u32) -> Result<Vec<(Due, Dispatch)>> {
        answered(due::lock(&mut self.tx, now, limit)).await
    }

    async fn read_attempts(&mut self, dispatches: &[DispatchId]) -> Result<HashMap<AttemptId, Attempt>> {
        answered(attempts::of_dispatches(&mut self.tx, dispatches)).await
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
        answered(projects::lock(&mut self.tx, ids)).await
    }

    async fn write(&mut self, changes: &Changes) -> Result<()> {
        answered(self.write_all(changes)).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        answered(async { Ok(self.tx.commit().await?) }).await
    }
}
