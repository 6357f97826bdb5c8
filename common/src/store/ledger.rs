//! The hot operations: find and lock the rows of a batch, let the domain decide, write what it says, commit.

use std::future::Future;
use std::sync::Arc;

use super::finding::{self, unique};
use super::{Backend, Lane, Result, StoreError, Tx};
use crate::keys::Keyring;
use crate::otp::accept::{self, Accept, Accepted, Refusal};
use crate::otp::cancel::{self, ByHand, Closed};
use crate::otp::channel::Mode;
use crate::otp::claim::{self, Claim, Claimed, Unclaimed};
use crate::otp::finish::{self, Finish, Finished};
use crate::otp::fire::{self, Fire};
use crate::otp::guess::{self, Guess, Verdict, Wanted};
use crate::otp::ids::{DispatchId, ProjectId, VerificationId};
use crate::otp::receipt::{self, Received};
use crate::otp::relay::{self, DueJob};
use crate::otp::retry::{self, NotRetried};
use crate::otp::rows::Receipt;
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
        let mut tx = self.backend.begin(Lane::Send, now).await?;
        let found = finding::for_accept(tx.as_mut(), batch).await?;
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
        let mut tx = self.backend.begin(Lane::Settle, now).await?;
        let ids = unique(batch.iter().map(|claim| claim.attempt.dispatch));
        let (dispatches, verifications) = tx.lock_dispatches(&ids).await?;
        let (answers, changes) = claim::decide(now, claim::Found { dispatches, verifications }, batch);
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(answers)
    }

    /// Claims fallbacks whose turn it is, with their limits and tokens.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn fire(&self, now: Timestamp, batch: &[Fire]) -> Result<Vec<std::result::Result<Claimed, Unclaimed>>> {
        retrying(|| self.fire_once(now, batch)).await
    }

    async fn fire_once(&self, now: Timestamp, batch: &[Fire]) -> Result<Vec<std::result::Result<Claimed, Unclaimed>>> {
        let mut tx = self.backend.begin(Lane::Send, now).await?;
        let found = finding::for_fire(tx.as_mut(), batch).await?;
        let (answers, changes) = fire::decide(now, found, batch);
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
        let mut tx = self.backend.begin(Lane::Settle, now).await?;
        let found = finding::for_finish(tx.as_mut(), batch).await?;
        let (answers, changes) = finish::decide(now, found, batch);
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(answers)
    }

    /// Locks what is guessed at, and commits every count with its verdict: nobody is answered before.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn verify(&self, now: Timestamp, keys: &Keyring, batch: &[Guess]) -> Result<Vec<Verdict>> {
        retrying(|| self.verify_once(now, keys, batch)).await
    }

    async fn verify_once(&self, now: Timestamp, keys: &Keyring, batch: &[Guess]) -> Result<Vec<Verdict>> {
        let mut tx = self.backend.begin(Lane::Guess, now).await?;
        let mut found = finding::for_guess(tx.as_mut(), batch).await?;
        let chosen = guess::choose(now, &found, batch);
        let matches = |verification: &_, code: &_| keys.code_matches(verification, code);
        let ending = guess::may_end(&found.verifications, batch, &chosen, matches);
        if !ending.is_empty() {
            found.dispatches = tx.lock_dispatches_of(&ending).await?;
        }
        let (verdicts, changes) = guess::decide(now, found, batch, chosen, matches);
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(verdicts)
    }

    /// Writes what providers said; parks what nobody knows yet.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn receive(&self, now: Timestamp, batch: &[Receipt]) -> Result<Vec<Received>> {
        retrying(|| self.receive_once(now, batch)).await
    }

    async fn receive_once(&self, now: Timestamp, batch: &[Receipt]) -> Result<Vec<Received>> {
        let mut tx = self.backend.begin(Lane::Settle, now).await?;
        let answers = receive(tx.as_mut(), now, batch).await?;
        tx.commit().await?;
        Ok(answers)
    }

    /// Joins parked receipts to attempts that have finished since; answers how many.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn join_receipts(&self, now: Timestamp, since: Timestamp, limit: u32) -> Result<usize> {
        let mut tx = self.backend.begin(Lane::Any, now).await?;
        let parked = tx.joinable_receipts(since, limit).await?;
        if parked.is_empty() {
            return Ok(0);
        }
        receive(tx.as_mut(), now, &parked).await?;
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
    ) -> Result<Option<Closed>> {
        retrying(|| self.close_once(now, project, modes, id, record, ByHand::Cancel)).await
    }

    /// Closes a verification as verified because the caller has checked the code itself.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn approve(
        &self,
        now: Timestamp,
        project: ProjectId,
        modes: &'static [Mode],
        id: VerificationId,
    ) -> Result<Option<Closed>> {
        retrying(|| self.close_once(now, project, modes, Some(id), "", ByHand::Approve)).await
    }

    async fn close_once(
        &self,
        now: Timestamp,
        project: ProjectId,
        modes: &'static [Mode],
        id: Option<VerificationId>,
        record: &str,
        how: ByHand,
    ) -> Result<Option<Closed>> {
        let mut tx = self.backend.begin(Lane::Any, now).await?;
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
        let (answer, changes) = cancel::decide(now, &verification, &dispatches.unwrap_or_default(), how);
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(Some(answer))
    }

    /// The verification that a target stands for: the newest open one, else the newest closed one of the last day.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn newest(&self, now: Timestamp, wanted: &Wanted<'_>) -> Result<Option<VerificationId>> {
        let mut tx = self.backend.begin(Lane::Any, now).await?;
        let targets = unique(wanted.target.all().map(|target| (wanted.project, target)));
        let open_targets = tx.read_open_targets(&targets).await?;
        let ids = unique(open_targets.iter().map(|row| row.verification));
        let verifications = tx.read_verifications(&ids).await?;
        Ok(guess::newest(now, wanted, open_targets.iter(), &verifications))
    }

    /// Makes a dispatch due now because an operator says so.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn retry(&self, now: Timestamp, id: DispatchId) -> Result<std::result::Result<(), NotRetried>> {
        let mut tx = self.backend.begin(Lane::Any, now).await?;
        let chains = finding::lock_chains(tx.as_mut(), &[id.verification]).await?;
        let Some(dispatch) = chains.get(&id) else { return Ok(Err(NotRetried::Unknown)) };
        let Some(verification) = tx.read_verifications(&[id.verification]).await?.remove(&id.verification) else {
            return Ok(Err(NotRetried::Unknown));
        };
        let Some(counters) = tx.lock_projects(&[dispatch.project]).await?.remove(&dispatch.project) else {
            return Ok(Err(NotRetried::Unknown));
        };
        match retry::decide(now, dispatch, &chains, &verification, counters) {
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
        let mut tx = self.backend.begin(Lane::Any, now).await?;
        let due = tx.lock_due(now, limit).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let found = finding::for_relay(tx.as_mut(), now, due).await?;
        let (jobs, changes) = relay::decide(now, found, room as usize, dice);
        tx.write(&changes).await?;
        tx.commit().await?;
        Ok(jobs)
    }
}

async fn receive(tx: &mut dyn Tx, now: Timestamp, batch: &[Receipt]) -> Result<Vec<Received>> {
    let found = finding::for_receipts(tx, batch).await?;
    let (answers, changes) = receipt::decide(now, found, batch);
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
