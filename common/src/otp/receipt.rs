//! Receipts: what providers say later. Late, early, repeated and unknown ones do no harm.

use std::collections::HashMap;

use super::changes::{Changes, MessageId};
use super::ids::{AttemptId, DispatchId};
use super::rows::{Attempt, Dispatch, Receipt};
use super::status::AttemptStatus;

/// The attempts that a batch of receipts speaks of, and their dispatches, locked.
#[derive(Debug, Default)]
pub struct Found {
    /// By provider and message id, from the attempts that have finished.
    pub message_ids: HashMap<(String, String), AttemptId>,
    pub attempts: HashMap<AttemptId, Attempt>,
    pub dispatches: HashMap<DispatchId, Dispatch>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The attempt is known; its dispatch as it is now, and whether the receipt moved it.
    Applied { dispatch: Box<Dispatch>, moved: bool },
    /// Nothing is known of the message yet: kept for an hour.
    Parked,
}

#[must_use]
pub fn decide(mut found: Found, batch: &[Receipt]) -> (Vec<Received>, Changes) {
    let mut changes = Changes::default();
    let answers = batch.iter().map(|receipt| one(&mut found, &mut changes, receipt)).collect();
    (answers, changes)
}

fn one(found: &mut Found, changes: &mut Changes, receipt: &Receipt) -> Received {
    let by_message = || found.message_ids.get(&(receipt.provider.clone(), receipt.message_id.clone())).copied();
    let id = receipt.attempt.filter(|id| found.dispatches.contains_key(&id.dispatch)).or_else(by_message);
    let mut receipt = receipt.clone();
    receipt.attempt = None;
    let known = id.and_then(|id| {
        let dispatch = found.dispatches.get(&id.dispatch)?;
        let attempt = found.attempts.get(&id).cloned().or_else(|| under_way(changes, dispatch, id, &receipt))?;
        Some((id, attempt, dispatch))
    });
    let Some((id, mut attempt, before)) = known else {
        changes.receipts.push(receipt);
        return Received::Parked;
    };
    attempt.status = attempt.status.after_receipt(receipt.status);
    let mut after = before.clone();
    apply(changes, &mut after, &attempt, &receipt);
    let best = |best: AttemptStatus, other: &Attempt| {
        if other.id == id || other.id.dispatch != id.dispatch {
            return best;
        }
        if best.dispatch_status().best(other.status.dispatch_status()) == best.dispatch_status() {
            best
        } else {
            other.status
        }
    };
    after.status = found.attempts.values().fold(attempt.status, best).dispatch_status();

    let moved = after != *before;
    if moved {
        changes.put_dispatch(before, after.clone());
    }
    receipt.attempt = Some(id);
    changes.receipts.push(receipt);
    changes.attempts.insert(id, attempt.clone());
    found.attempts.insert(id, attempt);
    found.dispatches.insert(id.dispatch, after.clone());
    Received::Applied { dispatch: Box::new(after), moved }
}

/// The attempt that a worker still holds, as its receipt tells of it: the provider was faster than its own reply, which
/// may never come.
fn under_way(changes: &mut Changes, dispatch: &Dispatch, id: AttemptId, receipt: &Receipt) -> Option<Attempt> {
    if dispatch.attempt != id.n || dispatch.lease.is_none() {
        return None;
    }
    changes.message_ids.push(MessageId {
        provider: receipt.provider.clone(),
        message_id: receipt.message_id.clone(),
        attempt: id,
        created: receipt.received,
    });
    Some(Attempt {
        id,
        provider: Some(receipt.provider.clone()),
        started: receipt.received,
        finished: receipt.received,
        status: AttemptStatus::Failed,
        cause: None,
        detail: None,
        message_id: Some(receipt.message_id.clone()),
    })
}

/// Every receipt proves that the provider has the message: nothing more is sent and the token is spent.
fn apply(changes: &mut Changes, dispatch: &mut Dispatch, attempt: &Attempt, receipt: &Receipt) {
    changes.settle(dispatch);
    dispatch.lease = None;
    dispatch.reason = match attempt.status {
        AttemptStatus::Undelivered => receipt.detail.clone().or_else(|| dispatch.reason.take()),
        _ => None,
    };
    dispatch.provider = attempt.provider.clone().or_else(|| dispatch.provider.take());
    dispatch.sent = dispatch.sent.or(Some(attempt.finished));
    if attempt.status == AttemptStatus::Delivered {
        dispatch.delivered = dispatch.delivered.or(Some(receipt.received));
    }
}
