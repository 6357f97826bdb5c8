//! One transaction: which statements an operation of the ledger takes, in the order in which locks are taken.

use std::collections::{BTreeSet, HashMap};

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
use crate::store::{Result, Tx};

pub(super) struct PgTx {
    tx: Transaction<'static, Postgres>,
    made: Made,
}

/// Rows that this transaction made in order to lock them. What it does not fill is gone before others can see it.
#[derive(Default)]
struct Made {
    limits: BTreeSet<Index>,
    remembered: BTreeSet<IdempotencyKey>,
    open_targets: BTreeSet<OpenTargetKey>,
}

impl PgTx {
    /// A server that was restarted leaves broken connections in the pool: each is met once at most, then replaced.
    pub(super) async fn begin(pool: &PatientPool) -> Result<Self> {
        let mut broken = pool.size();
        loop {
            match answered(async { Ok(pool.begin().await) }).await? {
                Ok(tx) => return Ok(Self { tx, made: Made::default() }),
                Err(error) if broken == 0 || matches!(error, sqlx::Error::PoolTimedOut) => return Err(error.into()),
                Err(_) => broken -= 1,
            }
        }
    }

    async fn write_all(&mut self, changes: &Changes) -> Result<()> {
        let tx = &mut *self.tx;
        limits::overwrite(tx, &changes.limits).await?;
        idempotency::write(tx, &changes.remembered).await?;
        open_targets::write(tx, &changes.open_targets).await?;
        verifications::insert(tx, &changes.new_verifications).await?;
        verifications::update(tx, &changes.verifications).await?;
        dispatches::insert(tx, &changes.new_dispatches).await?;
        dispatches::update(tx, &changes.dispatches).await?;
        attempts::write(tx, &changes.attempts).await?;
        due::delete(tx, &changes.done).await?;
        due::write(tx, &changes.due).await?;
        message_ids::insert(tx, &changes.message_ids).await?;
        receipts::write(tx, &changes.receipts).await?;
        // The windows of guesses are no request's to lock first: nobody else holds them across another lock.
        limits::add_events(tx, &changes.limit_events, changes.now).await?;
        projects::count(tx, &changes.projects).await?;
        stats::add(tx, &changes.stats).await
    }

    async fn remove_unfilled(&mut self) -> Result<()> {
        limits::remove(&mut self.tx, &self.made.limits).await?;
        idempotency::remove(&mut self.tx, &self.made.remembered).await?;
        open_targets::remove(&mut self.tx, &self.made.open_targets).await
    }
}

#[async_trait]
impl Tx for PgTx {
    async fn lock_limits(&mut self, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>> {
        answered(async {
            let made = limits::lock(&mut self.tx, keys).await?;
            let there: Vec<_> = keys.iter().filter(|key| !made.contains(*key)).copied().collect();
            self.made.limits.extend(made);
            if there.is_empty() { Ok(HashMap::new()) } else { limits::read(&mut self.tx, &there).await }
        })
        .await
    }

    async fn read_limits(&mut self, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>> {
        answered(limits::read(&mut self.tx, keys)).await
    }

    async fn lock_remembered(&mut self, keys: &[IdempotencyKey]) -> Result<HashMap<IdempotencyKey, Remembered>> {
        answered(async {
            let made = idempotency::lock(&mut self.tx, keys).await?;
            let there: Vec<_> = keys.iter().filter(|key| !made.contains(*key)).collect();
            self.made.remembered.extend(made.iter().cloned());
            if there.is_empty() {
                return Ok(HashMap::new());
            }
            idempotency::read(&mut self.tx, there.into_iter()).await
        })
        .await
    }

    async fn lock_open_targets(&mut self, keys: &[OpenTargetKey]) -> Result<HashMap<OpenTargetKey, OpenTarget>> {
        answered(async {
            let made = open_targets::lock(&mut self.tx, keys).await?;
            let there: Vec<_> = keys.iter().filter(|key| !made.contains(*key)).collect();
            self.made.open_targets.extend(made.iter().cloned());
            if there.is_empty() {
                return Ok(HashMap::new());
            }
            open_targets::read(&mut self.tx, there.into_iter()).await
        })
        .await
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
        answered(self.write_all(changes)).await?;
        self.made.limits.retain(|key| !changes.limits.contains_key(key) && !changes.limit_events.contains_key(key));
        self.made.open_targets.retain(|key| !changes.open_targets.contains_key(key));
        for filled in &changes.remembered {
            self.made.remembered.remove(&filled.key);
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        answered(async {
            self.remove_unfilled().await?;
            Ok(self.tx.commit().await?)
        })
        .await
    }
}
