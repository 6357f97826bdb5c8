//! The hot operations: find and lock the rows of a batch, let the domain decide, write what it says, commit.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use super::{Backend, Result, StoreError, Tx};
use crate::keys::Keyring;
use crate::otp::accept::{self, Accept, Accepted, Refusal};
use crate::otp::cancel::{self, Canceled};
use crate::otp::channel::Mode;
use crate::otp::claim::{self, Claim, Claimed, Unclaimed};
use crate::otp::finish::{self, Finish, Finished, Next};
use crate::otp::guess::{self, Guess, Verdict};
use crate::otp::ids::{DispatchId, ProjectId, VerificationId};
use crate::otp::receipt::{self, Received};
use crate::otp::relay::{self, DueJob};
use crate::otp::retry::{self, NotRetried};
use crate::otp::rows::{Indexes, Receipt};
use crate::otp::time::Timestamp;

/// How often a transaction that met another one is tried again before the batch is refused.
const TRIES: u32 = 4;

/// A store of any kind. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
}

/// The smaller operations are the backend's own.
impl std::ops::Deref for Store {
    type Target = dyn Backend;

    fn deref(&self) -> &Self::Target {
        &*self.backend
    }
}

impl Store {
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend }
    }

    /// Accepts or refuses each request; all of the batch is committed when this returns.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn accept(
        &self,
        now: Timestamp,
        batch: &[Accept],
    ) -> Result<Vec<std::result::Result<Accepted, Refusal>>> {
        retrying(|| self.accept_once(now, batch)).await
    }

    async fn accept_once(
        &self,
        now: Timestamp,
        batch: &[Accept],
    ) -> Result<Vec<std::result::Result<Accepted, Refusal>>> {
        let mut tx = self.backend.begin().await?;
        let found = find_for_accept(tx.as_mut(), batch).await?;
        let (answers, changes) = accept::decide(now, found, batch);
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(answers)
    }

    /// # Errors
    /// When nothing could be written.
    pub async fn claim(&self, now: Timestamp, batch: &[Claim]) -> Result<Vec<std::result::Result<Claimed, Unclaimed>>> {
        retrying(|| self.claim_once(now, batch)).await
    }

    async fn claim_once(
        &self,
        now: Timestamp,
        batch: &[Claim],
    ) -> Result<Vec<std::result::Result<Claimed, Unclaimed>>> {
        let mut tx = self.backend.begin().await?;
        let dispatches = tx.lock_dispatches(&unique(batch.iter().map(|claim| claim.attempt.dispatch))).await?;
        let ids = unique(dispatches.keys().map(|id| id.verification));
        let verifications = tx.read_verifications(&ids).await?;
        let (answers, changes) = claim::decide(now, claim::Found { dispatches, verifications }, batch);
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(answers)
    }

    /// # Errors
    /// When nothing could be written.
    pub async fn finish(&self, now: Timestamp, batch: &[Finish]) -> Result<Vec<Finished>> {
        retrying(|| self.finish_once(now, batch)).await
    }

    async fn finish_once(&self, now: Timestamp, batch: &[Finish]) -> Result<Vec<Finished>> {
        let mut tx = self.backend.begin().await?;
        let dispatches = tx.lock_dispatches(&unique(batch.iter().map(|finish| finish.attempt.dispatch))).await?;
        let unfinished = batch.iter().filter(|finish| finish.next != Next::Done);
        let ids = unique(unfinished.map(|finish| finish.attempt.dispatch.verification));
        let verifications = if ids.is_empty() { Default::default() } else { tx.read_verifications(&ids).await? };
        let ids = unique(batch.iter().filter_map(|finish| {
            let call = finish.call.as_ref()?;
            let message_id = call.outcome.as_ref().ok()?.message_id.clone()?;
            Some((call.provider.clone(), message_id))
        }));
        let parked = if ids.is_empty() { Default::default() } else { tx.parked_receipts(&ids).await? };
        let is_late = |finish: &&Finish| {
            let dispatch = dispatches.get(&finish.attempt.dispatch);
            dispatch.is_some_and(|dispatch| dispatch.attempt != finish.attempt.n || dispatch.lease.is_none())
        };
        let late = unique(batch.iter().filter(is_late).map(|finish| finish.attempt.dispatch));
        let attempts = if late.is_empty() { Default::default() } else { tx.read_attempts(&late).await? };
        let found = finish::Found { dispatches, verifications, attempts, parked };
        let (answers, changes) = finish::decide(now, found, batch);
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(answers)
    }

    /// Counts every guess before any is compared.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn verify(&self, now: Timestamp, keys: &Keyring, batch: &[Guess]) -> Result<Vec<Verdict>> {
        retrying(|| self.verify_once(now, keys, batch)).await
    }

    async fn verify_once(&self, now: Timestamp, keys: &Keyring, batch: &[Guess]) -> Result<Vec<Verdict>> {
        let mut tx = self.backend.begin().await?;
        let found = find_for_guess(tx.as_mut(), batch).await?;
        let chosen = guess::choose(now, &found, batch);
        let wanted = guess::wanted(&chosen);
        if wanted.is_empty() {
            return Ok(chosen.into_iter().filter_map(std::result::Result::err).collect());
        }
        let verifications = tx.count_guesses(&wanted, now).await?;
        let ids: Vec<_> = verifications.keys().copied().collect();
        let dispatches = tx.lock_dispatches_of(&sorted(ids)).await?;
        let locked = guess::Locked { verifications, dispatches };
        let matches = |verification: &_, code: &_| keys.code_matches(verification, code);
        let (verdicts, changes) = guess::decide(now, locked, batch, chosen, matches);
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(verdicts)
    }

    /// Writes what providers said; parks what nobody knows yet.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn receive(&self, batch: &[Receipt]) -> Result<Vec<Received>> {
        retrying(|| self.receive_once(batch)).await
    }

    async fn receive_once(&self, batch: &[Receipt]) -> Result<Vec<Received>> {
        let mut tx = self.backend.begin().await?;
        let answers = receive(tx.as_mut(), batch).await?;
        tx.commit().await?;
        Ok(answers)
    }

    /// Joins parked receipts to attempts that have finished since; answers how many.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn join_receipts(&self, since: Timestamp, limit: u32) -> Result<usize> {
        let mut tx = self.backend.begin().await?;
        let parked = tx.joinable_receipts(since, limit).await?;
        if parked.is_empty() {
            return Ok(0);
        }
        receive(tx.as_mut(), &parked).await?;
        tx.commit().await?;
        Ok(parked.len())
    }

    /// Cancels by the server's id, else the newest verification with the caller's.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn cancel(
        &self,
        now: Timestamp,
        project: ProjectId,
        modes: &'static [Mode],
        id: Option<VerificationId>,
        record: &str,
    ) -> Result<Option<Canceled>> {
        retrying(|| self.cancel_once(now, project, modes, id, record)).await
    }

    async fn cancel_once(
        &self,
        now: Timestamp,
        project: ProjectId,
        modes: &'static [Mode],
        id: Option<VerificationId>,
        record: &str,
    ) -> Result<Option<Canceled>> {
        let mut tx = self.backend.begin().await?;
        let by_id = tx.read_verifications(id.as_slice()).await?.into_values().next();
        let by_id = by_id.filter(|found| found.project == project && modes.contains(&found.mode));
        let id = match by_id {
            Some(found) => Some(found.id),
            None => tx.newest_by_record(project, modes, record).await?,
        };
        let found = tx.lock_verifications(id.as_slice()).await?.into_values().next();
        let Some(verification) = found.filter(|found| !found.record.starts_with(guess::DOOR_PREFIX)) else {
            return Ok(None);
        };
        let dispatches = tx.lock_dispatches_of(&[verification.id]).await?.remove(&verification.id);
        let (answer, changes) = cancel::decide(now, &verification, &dispatches.unwrap_or_default());
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(Some(answer))
    }

    /// Makes a dispatch due now because an operator says so.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn retry(&self, now: Timestamp, id: DispatchId) -> Result<std::result::Result<(), NotRetried>> {
        let mut tx = self.backend.begin().await?;
        let Some(dispatch) = tx.lock_dispatches(&[id]).await?.remove(&id) else { return Ok(Err(NotRetried::Unknown)) };
        let Some(verification) = tx.read_verifications(&[id.verification]).await?.remove(&id.verification) else {
            return Ok(Err(NotRetried::Unknown));
        };
        let Some(counters) = tx.lock_projects(&[dispatch.project]).await?.remove(&dispatch.project) else {
            return Ok(Err(NotRetried::Unknown));
        };
        match retry::decide(now, &dispatch, &verification, counters) {
            Ok(changes) => {
                tx.write(&changes).await?;
                tx.commit().await?;
                Ok(Ok(()))
            }
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// Looks at up to `limit` dispatches that are due: ends what is dead and answers up to `room` jobs to publish.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn relay(
        &self,
        now: Timestamp,
        limit: u32,
        room: u32,
        dice: &mut (dyn FnMut() -> f64 + Send),
    ) -> Result<Vec<DueJob>> {
        let mut tx = self.backend.begin().await?;
        let due = tx.lock_due(now, limit).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let ids = unique(due.iter().map(|(due, _)| due.dispatch.verification));
        let verifications = tx.read_verifications(&ids).await?;
        let (jobs, changes) = relay::decide(now, &relay::Found { due, verifications }, room as usize, dice);
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(jobs)
    }
}

async fn find_for_accept(tx: &mut dyn Tx, batch: &[Accept]) -> Result<accept::Found> {
    let limits = || batch.iter().flat_map(|request| &request.limits).map(|limit| &limit.key);
    let mut found = accept::Found::default();
    // Under every root key: while roots change, two processes may disagree on which is the newest.
    let keys = unique(limits().flat_map(Indexes::all));
    if !keys.is_empty() {
        found.limits = tx.lock_limits(&keys).await?;
    }
    let keys = unique(batch.iter().flat_map(Accept::idempotency_keys));
    if !keys.is_empty() {
        found.remembered = tx.lock_remembered(&keys).await?;
    }
    let keys = unique(batch.iter().flat_map(Accept::open_target_keys));
    found.open_targets = tx.lock_open_targets(&keys).await?;
    let ids = unique(found.open_targets.values().map(|row| row.verification));
    if !ids.is_empty() {
        found.verifications = tx.lock_verifications(&ids).await?;
        found.dispatches = tx.lock_dispatches_of(&ids).await?;
    }
    found.projects = tx.lock_projects(&unique(batch.iter().map(Accept::project))).await?;
    Ok(found)
}

async fn find_for_guess(tx: &mut dyn Tx, batch: &[Guess]) -> Result<guess::Found> {
    let targets = batch.iter().flat_map(|guess| guess.target.all().map(|target| (guess.project, target)));
    let open_targets = tx.read_open_targets(&unique(targets)).await?;
    let by_id = batch.iter().filter_map(|guess| guess.by_id.map(|(id, _)| id));
    let ids = unique(by_id.chain(open_targets.iter().map(|row| row.verification)));
    let verifications = if ids.is_empty() { Default::default() } else { tx.read_verifications(&ids).await? };
    let limits = batch.iter().flat_map(|guess| &guess.limits).flat_map(|limit| limit.key.all());
    let limits = unique(limits);
    let limits = if limits.is_empty() { Default::default() } else { tx.read_limits(&limits).await? };
    Ok(guess::Found { open_targets, verifications, limits })
}

async fn receive(tx: &mut dyn Tx, batch: &[Receipt]) -> Result<Vec<Received>> {
    let ids = unique(batch.iter().map(|receipt| (receipt.provider.clone(), receipt.message_id.clone())));
    let message_ids = tx.read_message_ids(&ids).await?;
    let named = batch.iter().filter_map(|receipt| receipt.attempt);
    let dispatches = unique(named.chain(message_ids.values().copied()).map(|id| id.dispatch));
    let mut found = receipt::Found { message_ids, ..receipt::Found::default() };
    if !dispatches.is_empty() {
        found.dispatches = tx.lock_dispatches(&dispatches).await?;
        found.attempts = tx.read_attempts(&dispatches).await?;
    }
    let (answers, changes) = receipt::decide(found, batch);
    tx.write(&changes).await?;
    Ok(answers)
}

/// Runs a transaction again when another one was in its way.
async fn retrying<T, F: Future<Output = Result<T>>>(run: impl Fn() -> F) -> Result<T> {
    let mut tries = 1;
    loop {
        match run().await {
            Err(StoreError::Conflict(_)) if tries < TRIES => tries += 1,
            other => return other,
        }
    }
}

fn unique<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<_>>().into_iter().collect()
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items
}
