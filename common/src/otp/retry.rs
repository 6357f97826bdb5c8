//! Trying a dispatch again because an operator says so.

use super::chain::{self, Dispatches};
use super::changes::Changes;
use super::claim::dead;
use super::relay::MOST_AMBIGUOUS;
use super::rows::{Charge, Counters, Dispatch, Due, Verification};
use super::status::DispatchStatus;
use super::time::Timestamp;

/// Why there is nothing to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRetried {
    Unknown,
    /// A worker holds it.
    Held,
    /// A provider has accepted it.
    Accepted,
    /// Its verification has closed or has too little life left.
    Dead,
    /// Its token was given back and there is none left.
    NoToken,
    /// A fallback that has not gone out.
    Fallback,
    /// Its fallback has gone out, or its chain has arrived.
    Overtaken,
}

/// Makes the dispatch due now, from the first pass on; one that had failed takes a token again.
///
/// # Errors
/// Why not.
pub fn decide(
    now: Timestamp,
    dispatch: &Dispatch,
    chains: &Dispatches,
    verification: &Verification,
    counters: Counters,
) -> Result<Changes, NotRetried> {
    if dispatch.is_held(now) {
        return Err(NotRetried::Held);
    }
    if dead(verification, now).is_some() {
        return Err(NotRetried::Dead);
    }
    if !dispatch.has_fired() {
        return Err(NotRetried::Fallback);
    }
    let has_ended = matches!(dispatch.status, DispatchStatus::Failed | DispatchStatus::Expired);
    if !has_ended && !dispatch.status.is_pending() {
        return Err(NotRetried::Accepted);
    }
    if chain::overtaken(chains, dispatch).is_some() {
        return Err(NotRetried::Overtaken);
    }
    if has_ended && counters.tokens.is_some_and(|tokens| counters.used >= tokens) {
        return Err(NotRetried::NoToken);
    }
    let mut changes = Changes::at(now);
    let mut after = dispatch.clone();
    if after.charge == Charge::Returned {
        after.charge = Charge::Reserved;
        changes.project(dispatch.project).used += 1;
    }
    if dispatch.lease.is_none() {
        after.status = DispatchStatus::Queued;
        after.pass = 0;
        after.first_attempt = None;
        after.tried.clear();
        // One more that nobody answers for is the last. That there was one is kept: somebody may have its code.
        after.ambiguous = after.ambiguous.min(MOST_AMBIGUOUS - 1);
    }
    changes.put_dispatch(dispatch, after);
    let due = Due { dispatch: dispatch.id, at: now, deadline: verification.deadline(), published: 0 };
    changes.due.insert(dispatch.id, due);
    Ok(changes)
}
