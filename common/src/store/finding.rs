//! What the operations of the ledger find and lock, each in the order in which locks are taken.

use std::collections::{BTreeSet, HashMap};

use super::{Result, Tx};
use crate::otp::accept::{self, Accept};
use crate::otp::chain::Dispatches;
use crate::otp::finish::{self, Finish, Next};
use crate::otp::fire::{self, Fire};
use crate::otp::guess::{self, Guess};
use crate::otp::ids::VerificationId;
use crate::otp::receipt;
use crate::otp::relay;
use crate::otp::rows::{Dispatch, Due, Indexes, Receipt, Verification};
use crate::otp::status::DispatchStatus;
use crate::otp::time::Timestamp;

pub(super) async fn for_accept(tx: &mut dyn Tx, batch: &[Accept]) -> Result<accept::Found> {
    let limits = || batch.iter().flat_map(|request| &request.limits).map(|limit| &limit.key);
    let mut found = accept::Found::default();
    // Under every root key: while roots change, two processes may disagree on which is the newest.
    let keys = unique(limits().flat_map(Indexes::all));
    if !keys.is_empty() {
        found.limits = tx.lock_limits(&keys).await?;
    }
    let keys = unique(batch.iter().flat_map(Accept::idempotency_keys));
    let targets = unique(batch.iter().flat_map(Accept::open_target_keys));
    let projects = unique(batch.iter().map(Accept::project));
    let shared = tx.lock_shared(&keys, &targets, &projects).await?;
    found.remembered = shared.remembered;
    found.open_targets = shared.open_targets;
    found.projects = shared.projects;
    let ids = unique(found.open_targets.values().map(|row| row.verification));
    if !ids.is_empty() {
        found.verifications = tx.lock_verifications(&ids).await?;
        found.dispatches = tx.lock_dispatches_of(&ids).await?;
    }
    if found.projects.is_empty() {
        found.projects = tx.lock_projects(&projects).await?;
    }
    Ok(found)
}

pub(super) async fn for_guess(tx: &mut dyn Tx, batch: &[Guess]) -> Result<guess::Found> {
    let targets = batch.iter().flat_map(|guess| guess.target.all().map(|target| (guess.project, target)));
    let mut open_targets: HashMap<_, Vec<_>> = HashMap::new();
    for row in tx.read_open_targets(&unique(targets)).await? {
        open_targets.entry(row.key.target).or_default().push(row);
    }
    let by_id = batch.iter().filter_map(|guess| guess.by_id.map(|(id, _)| id));
    let ids = unique(by_id.chain(open_targets.values().flatten().map(|row| row.verification)));
    let verifications = if ids.is_empty() { Default::default() } else { tx.lock_verifications(&ids).await? };
    let limits = batch.iter().flat_map(|guess| &guess.limits).flat_map(|limit| limit.key.all());
    let limits = unique(limits);
    let limits = if limits.is_empty() { Default::default() } else { tx.read_limits(&limits).await? };
    Ok(guess::Found { open_targets, verifications, limits, ..guess::Found::default() })
}

pub(super) async fn for_fire(tx: &mut dyn Tx, batch: &[Fire]) -> Result<fire::Found> {
    let mut found = fire::Found::default();
    let keys = unique(batch.iter().filter_map(|fire| fire.limit.as_ref()).flat_map(|limit| limit.key.all()));
    if !keys.is_empty() {
        found.limits = tx.lock_limits(&keys).await?;
    }
    let ids = unique(batch.iter().map(|fire| fire.dispatch.verification));
    found.dispatches = lock_chains(tx, &ids).await?;
    found.verifications = tx.read_verifications(&ids).await?;
    found.projects = tx.lock_projects(&unique(found.dispatches.values().map(|dispatch| dispatch.project))).await?;
    Ok(found)
}

pub(super) async fn for_finish(tx: &mut dyn Tx, batch: &[Finish]) -> Result<finish::Found> {
    let dispatches = lock_chains(tx, &unique(batch.iter().map(|finish| finish.attempt.dispatch.verification))).await?;
    let unfinished = batch.iter().filter(|finish| finish.next != Next::Done);
    let unfinished = unfinished.map(|finish| finish.attempt.dispatch.verification);
    let verifications = read_verifications(tx, unfinished.chain(waited_for(&dispatches))).await?;
    let is_late = |finish: &Finish| {
        let dispatch = dispatches.get(&finish.attempt.dispatch);
        dispatch.is_some_and(|dispatch| dispatch.attempt != finish.attempt.n || dispatch.lease.is_none())
    };
    // A receipt may know more than a worker that got no answer, or none that names the message.
    let is_unsure = |finish: &Finish| {
        let outcome = finish.call.as_ref().map(|call| &call.outcome);
        outcome
            .is_some_and(|outcome| outcome.as_ref().is_ok_and(|handed| handed.message_id.is_none()) || outcome.is_err())
    };
    let told = batch.iter().filter(|finish| is_late(finish) || is_unsure(finish));
    let told = unique(told.map(|finish| finish.attempt.dispatch));
    let attempts = if told.is_empty() { HashMap::new() } else { tx.read_attempts(&told).await? };
    let handed = batch.iter().filter_map(|finish| {
        let call = finish.call.as_ref()?;
        let message_id = call.outcome.as_ref().ok()?.message_id.clone()?;
        Some((call.provider.clone(), message_id))
    });
    let told = attempts.values().filter_map(|attempt| attempt.provider.clone().zip(attempt.message_id.clone()));
    let messages = unique(handed.chain(told));
    let parked = if messages.is_empty() { HashMap::new() } else { tx.parked_receipts(&messages).await? };
    Ok(finish::Found { dispatches, verifications, attempts, parked })
}

pub(super) async fn for_receipts(tx: &mut dyn Tx, batch: &[Receipt]) -> Result<receipt::Found> {
    let ids = unique(batch.iter().map(|receipt| (receipt.provider.clone(), receipt.message_id.clone())));
    let message_ids = tx.read_message_ids(&ids).await?;
    let named = batch.iter().filter_map(|receipt| receipt.attempt);
    let dispatches = unique(named.chain(message_ids.values().copied()).map(|id| id.dispatch));
    let mut found = receipt::Found { message_ids, ..receipt::Found::default() };
    if !dispatches.is_empty() {
        found.dispatches = lock_chains(tx, &unique(dispatches.iter().map(|id| id.verification))).await?;
        found.attempts = tx.read_attempts(&dispatches).await?;
        found.verifications = read_verifications(tx, waited_for(&found.dispatches)).await?;
    }
    Ok(found)
}

pub(super) async fn for_relay(tx: &mut dyn Tx, now: Timestamp, due: Vec<(Due, Dispatch)>) -> Result<relay::Found> {
    let verifications = read_verifications(tx, due.iter().map(|(due, _)| due.dispatch.verification)).await?;
    let abandoned = due.iter().filter(|(_, dispatch)| dispatch.lease.is_some() && !dispatch.is_held(now));
    let chains = unique(abandoned.clone().map(|(due, _)| due.dispatch.verification));
    let chains = if chains.is_empty() { HashMap::new() } else { tx.lock_waiting_of(&chains).await? };
    let abandoned = unique(abandoned.map(|(due, _)| due.dispatch));
    let attempts = if abandoned.is_empty() { HashMap::new() } else { tx.read_attempts(&abandoned).await? };
    Ok(relay::Found { attempts, due, verifications, chains })
}

/// All dispatches of these verifications, locked in one order: whatever moves one of a chain looks at all of it.
pub(super) async fn lock_chains(tx: &mut dyn Tx, ids: &[VerificationId]) -> Result<Dispatches> {
    let dispatches = tx.lock_dispatches_of(ids).await?.into_values().flatten();
    Ok(dispatches.map(|dispatch| (dispatch.id, dispatch)).collect())
}

/// Of which verifications something waits.
fn waited_for(dispatches: &Dispatches) -> impl Iterator<Item = VerificationId> + '_ {
    let waiting = dispatches.values().filter(|dispatch| dispatch.status == DispatchStatus::Waiting);
    waiting.map(|dispatch| dispatch.id.verification)
}

async fn read_verifications(
    tx: &mut dyn Tx,
    ids: impl Iterator<Item = VerificationId>,
) -> Result<HashMap<VerificationId, Verification>> {
    let ids = unique(ids);
    if ids.is_empty() { Ok(HashMap::new()) } else { tx.read_verifications(&ids).await }
}

pub(super) fn unique<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<_>>().into_iter().collect()
}
