//! Receipts: what providers say later. Late, early, repeated and unknown ones do no harm.

use std::collections::HashMap;

use super::chain::{self, Dispatches};
use super::changes::{Changes, MessageId};
use super::ids::{AttemptId, VerificationId};
use super::rows::{Attempt, Dispatch, Receipt, Verification};
use super::status::{AttemptStatus, ReceiptStatus};
use super::time::Timestamp;

/// The attempts that a batch of receipts speaks of, and their dispatches, locked.
#[derive(Debug, Default)]
pub struct Found {
    /// By provider and message id, from the attempts that have finished.
    pub message_ids: HashMap<(String, String), AttemptId>,
    pub attempts: HashMap<AttemptId, Attempt>,
    /// With all others of their verifications.
    pub dispatches: Dispatches,
    /// Of those that something waits behind.
    pub verifications: HashMap<VerificationId, Verification>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The attempt is known; its dispatch as it is now, and whether the receipt moved it.
    Applied { dispatch: Box<Dispatch>, moved: bool },
    /// Nothing is known of the message yet, or its attempt is under way: kept for an hour.
    Parked,
}

#[must_use]
pub fn decide(now: Timestamp, mut found: Found, batch: &[Receipt]) -> (Vec<Received>, Changes) {
    let mut changes = Changes::at(now);
    let answers = batch.iter().map(|receipt| one(&mut found, &mut changes, receipt)).collect();
    (answers, changes)
}

fn one(found: &mut Found, changes: &mut Changes, receipt: &Receipt) -> Received {
    let by_message = || found.message_ids.get(&(receipt.provider.clone(), receipt.message_id.clone())).copied();
    let id = receipt.attempt.filter(|id| found.may_be(*id, receipt)).or_else(by_message);
    let id = id.filter(|id| found.may_be(*id, receipt));
    let mut receipt = receipt.clone();
    receipt.attempt = None;
    let known = id.and_then(|id| Some((id, found.dispatches.get(&id.dispatch)?, found.attempts.get(&id).cloned())));
    let (id, before, mut attempt) = match known {
        Some((id, dispatch, attempt)) if is_under_way(dispatch, id) => {
            let attempt = attempt.unwrap_or_else(|| unanswered(id, &receipt));
            remember(found, changes, attempt, &receipt);
            changes.receipts.push(receipt);
            return Received::Parked;
        }
        Some((id, dispatch, Some(attempt))) => (id, dispatch, attempt),
        _ => {
            changes.receipts.push(receipt);
            return Received::Parked;
        }
    };
    attempt.status = attempt.status.after_receipt(receipt.status);
    attempt.provider.get_or_insert_with(|| receipt.provider.clone());
    let mut after = before.clone();
    apply(changes, &mut after, &attempt, receipt.detail.as_ref(), receipt.received);
    let best = |best: AttemptStatus, other: &Attempt| {
        if other.id == id || other.id.dispatch != id.dispatch || is_under_way(before, other.id) {
            return best;
        }
        if best.dispatch_status().best(other.status.dispatch_status()) == best.dispatch_status() {
            best
        } else {
            other.status
        }
    };
    after.status = found.attempts.values().fold(attempt.status, best).dispatch_status();

    let (moved, was) = (after != *before, before.status);
    if moved {
        changes.put_dispatch(before, after.clone());
    }
    let received = receipt.received;
    receipt.attempt = Some(id);
    changes.receipts.push(receipt);
    changes.attempts.insert(id, attempt.clone());
    found.attempts.insert(id, attempt);
    found.dispatches.insert(id.dispatch, after.clone());
    if after.status != was {
        let verification = found.verifications.get(&id.dispatch.verification);
        chain::follow(received, changes, &mut found.dispatches, verification, &after);
    }
    Received::Applied { dispatch: Box::new(after), moved }
}

impl Found {
    /// Whether the receipt's provider can be the one that this attempt asked. Who was asked before in the same pass is
    /// not asked again.
    fn may_be(&self, id: AttemptId, receipt: &Receipt) -> bool {
        let Some(dispatch) = self.dispatches.get(&id.dispatch) else { return false };
        match self.attempts.get(&id).and_then(|attempt| attempt.provider.as_ref()) {
            Some(provider) => *provider == receipt.provider,
            None => !(is_under_way(dispatch, id) && dispatch.tried.contains(&receipt.provider)),
        }
    }
}

/// Whether a worker still holds the attempt, so that nobody but it knows which provider it asked.
fn is_under_way(dispatch: &Dispatch, id: AttemptId) -> bool {
    dispatch.attempt == id.n && dispatch.lease.is_some()
}

/// An attempt that a worker still holds, as its receipt tells of it: the provider was faster than its own reply, which
/// may never come.
fn unanswered(id: AttemptId, receipt: &Receipt) -> Attempt {
    Attempt {
        id,
        provider: Some(receipt.provider.clone()),
        chosen: None,
        started: receipt.received,
        finished: receipt.received,
        status: AttemptStatus::Failed,
        cause: None,
        detail: receipt.detail.clone().filter(|_| receipt.status == ReceiptStatus::Undelivered),
        message_id: Some(receipt.message_id.clone()),
    }
}

/// Keeps what a receipt says of an attempt that a worker still holds. The dispatch stays as it is: the finish counts it
/// where the worker asked this provider, and the relay where there is no finish.
fn remember(found: &mut Found, changes: &mut Changes, mut attempt: Attempt, receipt: &Receipt) {
    let id = attempt.id;
    let key = (receipt.provider.clone(), receipt.message_id.clone());
    if found.message_ids.insert(key, id).is_none() {
        changes.message_ids.push(MessageId {
            provider: receipt.provider.clone(),
            message_id: receipt.message_id.clone(),
            attempt: id,
            created: receipt.received,
        });
    }
    attempt.status = attempt.status.after_receipt(receipt.status);
    changes.attempts.insert(id, attempt.clone());
    found.attempts.insert(id, attempt);
}

/// What becomes of a dispatch whose worker is gone, where a receipt has said that its attempt went out.
pub(super) fn proven(
    changes: &mut Changes,
    attempts: &HashMap<AttemptId, Attempt>,
    dispatch: &Dispatch,
) -> Option<Dispatch> {
    let attempt = attempts.get(&AttemptId { dispatch: dispatch.id, n: dispatch.attempt })?;
    if attempt.status == AttemptStatus::Failed {
        return None;
    }
    let mut after = dispatch.clone();
    apply(changes, &mut after, attempt, attempt.detail.as_ref(), attempt.finished);
    after.status = attempt.status.dispatch_status();
    Some(after)
}

/// Every receipt proves that the provider has the message: nothing more is sent and the token is spent.
fn apply(
    changes: &mut Changes,
    dispatch: &mut Dispatch,
    attempt: &Attempt,
    detail: Option<&String>,
    received: Timestamp,
) {
    changes.settle(dispatch);
    dispatch.lease = None;
    dispatch.reason = match attempt.status {
        AttemptStatus::Undelivered => detail.cloned().or_else(|| dispatch.reason.take()),
        _ => None,
    };
    dispatch.provider = attempt.provider.clone().or_else(|| dispatch.provider.take());
    dispatch.sent = dispatch.sent.or(Some(attempt.finished));
    if attempt.status == AttemptStatus::Delivered {
        dispatch.delivered = dispatch.delivered.or(Some(received));
    }
}
