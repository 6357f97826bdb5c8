//! The end of an attempt: what the provider said, and what follows from it.

use std::collections::HashMap;
use std::time::Duration;

use super::chain::{self, Dispatches};
use super::changes::{Changes, MessageId};
use super::claim::{Claimed, dead, hold, last_reason};
use super::ids::{AttemptId, DispatchId, VerificationId};
use super::provider_error::Cause;
use super::rows::{Attempt, Dispatch, Receipt, Verification};
use super::status::{AttemptStatus, DispatchStatus};
use super::time::Timestamp;

/// What a worker reports of the attempt it held.
#[derive(Debug, Clone)]
pub struct Finish {
    pub attempt: AttemptId,
    /// `None` when no provider was called: none was fit, or the worker hands the job back.
    pub call: Option<Call>,
    pub next: Next,
}

#[derive(Debug, Clone)]
pub struct Call {
    pub provider: String,
    /// Why that one, in words.
    pub chosen: String,
    pub started: Timestamp,
    pub finished: Timestamp,
    pub outcome: Result<Handed, Failure>,
}

/// The provider took the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handed {
    pub message_id: Option<String>,
    /// It is known to have arrived already (the sandbox).
    pub delivered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub cause: Cause,
    /// The provider's own words, without what they quote of the message.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It was accepted.
    Done,
    /// The same worker claims the next attempt, for another provider, at once.
    Failover {
        lease: Duration,
    },
    /// A new pass over the providers, from then on.
    Retry {
        at: Timestamp,
    },
    GiveUp {
        status: DispatchStatus,
        reason: String,
    },
    /// Nothing was done with it: whoever comes next may have it, from then on.
    HandBack {
        at: Timestamp,
    },
}

#[derive(Debug, Clone)]
pub enum Finished {
    /// Written as reported; with the next attempt where that was claimed, or the fallback whose turn it is now.
    Current {
        next: Option<Box<Claimed>>,
        fallback: Option<DispatchId>,
        dispatch: Box<Dispatch>,
    },
    /// The lease had ended before: the attempt was written, nothing was scheduled.
    Late,
    Unknown,
}

#[derive(Debug, Default)]
pub struct Found {
    /// Those of the batch, with all others of their verifications.
    pub dispatches: Dispatches,
    pub verifications: HashMap<VerificationId, Verification>,
    /// What is written already of attempts that are not held any more, or that nobody answered for.
    pub attempts: HashMap<AttemptId, Attempt>,
    /// Receipts that came before the finish, by provider and message id.
    pub parked: HashMap<(String, String), Vec<Receipt>>,
}

#[must_use]
pub fn decide(now: Timestamp, mut found: Found, batch: &[Finish]) -> (Vec<Finished>, Changes) {
    let mut changes = Changes::at(now);
    let answers = batch.iter().map(|finish| one(now, &mut found, &mut changes, finish)).collect();
    (answers, changes)
}

fn one(now: Timestamp, found: &mut Found, changes: &mut Changes, finish: &Finish) -> Finished {
    let id = finish.attempt.dispatch;
    let Some(before) = found.dispatches.get(&id).cloned() else { return Finished::Unknown };
    let is_current = before.attempt == finish.attempt.n && before.lease.is_some();
    let mut after = before.clone();
    if let Some(call) = &finish.call {
        let attempt = record(found, changes, finish.attempt, call);
        apply_call(changes, &mut after, call, &attempt, is_current);
    }
    let mut next = None;
    if is_current {
        after.lease = None;
        if after.status.is_pending() {
            next = schedule(now, changes, found, &mut after, finish);
        }
    }
    changes.put_dispatch(&before, after.clone());
    found.dispatches.insert(id, after.clone());
    let mut fallback = None;
    if after.status != before.status {
        let verification = found.verifications.get(&id.verification);
        fallback = chain::follow(now, changes, &mut found.dispatches, verification, &after);
    }
    if !is_current {
        return Finished::Late;
    }
    Finished::Current { next: next.map(Box::new), fallback, dispatch: Box::new(after) }
}

/// The attempt's row, its message id, and what receipts have already said of it.
fn record(found: &mut Found, changes: &mut Changes, id: AttemptId, call: &Call) -> Attempt {
    let (status, cause, detail, message_id) = match &call.outcome {
        Ok(handed) if handed.delivered => (AttemptStatus::Delivered, None, None, handed.message_id.clone()),
        Ok(handed) => (AttemptStatus::Sent, None, None, handed.message_id.clone()),
        Err(failure) => {
            (AttemptStatus::Failed, Some(failure.cause.as_str().to_owned()), Some(failure.detail.clone()), None)
        }
    };
    if let Some(message_id) = &message_id {
        changes.message_ids.push(MessageId {
            provider: call.provider.clone(),
            message_id: message_id.clone(),
            attempt: id,
            created: call.finished,
        });
    }
    let attempt = Attempt {
        id,
        provider: Some(call.provider.clone()),
        chosen: Some(call.chosen.clone()),
        started: call.started,
        finished: call.finished,
        status,
        cause,
        detail,
        message_id,
    };
    let mut attempt = match found.attempts.get(&id) {
        // What another provider says of it proves nothing.
        Some(known) if known.status != AttemptStatus::Failed && known.provider == attempt.provider => {
            better(known, attempt)
        }
        _ => attempt,
    };
    let message = attempt.message_id.clone().map(|message_id| (call.provider.clone(), message_id));
    for mut receipt in message.and_then(|message| found.parked.remove(&message)).into_iter().flatten() {
        attempt.status = attempt.status.after_receipt(receipt.status);
        receipt.attempt = Some(id);
        changes.receipts.push(receipt);
    }
    changes.attempts.insert(id, attempt.clone());
    attempt
}

/// A receipt was faster than this report: what it proved stands, whatever became of the provider's reply.
fn better(known: &Attempt, reported: Attempt) -> Attempt {
    Attempt {
        status: known.status,
        cause: None,
        detail: known.detail.clone(),
        message_id: reported.message_id.or_else(|| known.message_id.clone()),
        ..reported
    }
}

fn apply_call(changes: &mut Changes, dispatch: &mut Dispatch, call: &Call, attempt: &Attempt, is_current: bool) {
    if attempt.status == AttemptStatus::Failed {
        if is_current {
            dispatch.provider = Some(call.provider.clone());
            dispatch.reason.clone_from(&attempt.cause);
            dispatch.tried.push(call.provider.clone());
            if matches!(&call.outcome, Err(failure) if failure.cause == Cause::Ambiguous) {
                dispatch.ambiguous += 1;
            }
        }
        return;
    }
    changes.settle(dispatch);
    dispatch.provider = Some(call.provider.clone());
    dispatch.reason = None;
    dispatch.lease = None;
    dispatch.sent = dispatch.sent.or(Some(call.finished));
    dispatch.status = dispatch.status.best(attempt.status.dispatch_status());
    if attempt.status == AttemptStatus::Delivered {
        dispatch.delivered = dispatch.delivered.or(Some(call.finished));
    }
}

fn schedule(
    now: Timestamp,
    changes: &mut Changes,
    found: &Found,
    dispatch: &mut Dispatch,
    finish: &Finish,
) -> Option<Claimed> {
    let verification = found.verifications.get(&dispatch.id.verification)?;
    dispatch.status = DispatchStatus::Queued;
    if let Some(reason) = dead(verification, now) {
        let reason = last_reason(dispatch, reason);
        end(changes, dispatch, DispatchStatus::Expired, &reason);
        return None;
    }
    let gives_up = matches!(finish.next, Next::GiveUp { .. });
    if let Some(reason) = chain::overtaken(&found.dispatches, dispatch).filter(|_| !gives_up) {
        end(changes, dispatch, DispatchStatus::Expired, reason);
        return None;
    }
    match &finish.next {
        Next::Failover { lease } => {
            *dispatch = hold(dispatch, now, *lease);
            return Some(Claimed { dispatch: dispatch.clone(), verification: verification.clone() });
        }
        Next::Retry { at } => {
            dispatch.pass += 1;
            dispatch.tried.clear();
            changes.due.insert(dispatch.id, due(dispatch, verification, *at));
        }
        Next::GiveUp { status, reason } => end(changes, dispatch, *status, reason),
        Next::HandBack { at } => {
            changes.due.insert(dispatch.id, due(dispatch, verification, *at));
        }
        Next::Done => {
            changes.due.insert(dispatch.id, due(dispatch, verification, now));
        }
    }
    None
}

fn end(changes: &mut Changes, dispatch: &mut Dispatch, status: DispatchStatus, reason: &str) {
    dispatch.status = status;
    dispatch.reason = Some(reason.to_owned());
    changes.give_back(dispatch);
}

fn due(dispatch: &Dispatch, verification: &Verification, at: Timestamp) -> super::rows::Due {
    super::rows::Due { dispatch: dispatch.id, at, deadline: verification.deadline(), published: 0 }
}
