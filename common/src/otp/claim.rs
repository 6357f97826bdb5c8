//! Claims: which attempt a worker may make. Only one claim of an attempt ever succeeds, and it sets the lease.

use std::collections::HashMap;
use std::time::Duration;

use super::changes::Changes;
use super::ids::{AttemptId, DispatchId, VerificationId};
use super::rows::{Dispatch, State, Verification};
use super::status::DispatchStatus;
use super::time::Timestamp;

const TOO_OLD: &str = "expired";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub attempt: AttemptId,
    pub lease: Duration,
}

/// An attempt that is the caller's alone until the dispatch's lease ends.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub dispatch: Dispatch,
    pub verification: Verification,
}

impl Claimed {
    #[must_use]
    pub const fn attempt(&self) -> AttemptId {
        AttemptId { dispatch: self.dispatch.id, n: self.dispatch.attempt }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclaimed {
    /// Somebody else has or had this attempt, or the dispatch has ended: the message was a duplicate.
    Taken,
    /// The code is dead, or a fallback is not needed or not to be had: the dispatch has just ended for it.
    Over,
    /// A fallback that waits. It is fired, when its turn comes, and not claimed.
    Waiting,
    /// No such dispatch.
    Unknown,
}

/// The dispatches of a batch, locked, and their verifications.
#[derive(Debug, Default)]
pub struct Found {
    pub dispatches: HashMap<DispatchId, Dispatch>,
    pub verifications: HashMap<VerificationId, Verification>,
}

#[must_use]
pub fn decide(now: Timestamp, mut found: Found, claims: &[Claim]) -> (Vec<Result<Claimed, Unclaimed>>, Changes) {
    let mut changes = Changes::at(now);
    let answers = claims.iter().map(|claim| one(now, &mut found, &mut changes, *claim)).collect();
    (answers, changes)
}

fn one(now: Timestamp, found: &mut Found, changes: &mut Changes, claim: Claim) -> Result<Claimed, Unclaimed> {
    let dispatch = found.dispatches.get_mut(&claim.attempt.dispatch).ok_or(Unclaimed::Unknown)?;
    let verification = found.verifications.get(&dispatch.id.verification).ok_or(Unclaimed::Unknown)?;
    if dispatch.status == DispatchStatus::Waiting {
        return Err(Unclaimed::Waiting);
    }
    if dispatch.status != DispatchStatus::Queued || dispatch.attempt + 1 != claim.attempt.n {
        return Err(Unclaimed::Taken);
    }
    if let Some(reason) = dead(verification, now) {
        *dispatch = changes.end_unsent(dispatch, DispatchStatus::Expired, &last_reason(dispatch, reason));
        return Err(Unclaimed::Over);
    }
    let after = hold(dispatch, now, claim.lease);
    changes.put_dispatch(dispatch, after.clone());
    *dispatch = after.clone();
    Ok(Claimed { dispatch: after, verification: verification.clone() })
}

/// The dispatch with its next attempt held until `now + lease`.
pub(super) fn hold(dispatch: &Dispatch, now: Timestamp, lease: Duration) -> Dispatch {
    let mut after = dispatch.clone();
    after.attempt += 1;
    after.status = DispatchStatus::Sending;
    after.lease = Some(now + lease);
    after.first_attempt = after.first_attempt.or(Some(now));
    after
}

/// Why nothing of this verification may be sent any more, if so.
#[must_use]
pub fn dead(verification: &Verification, now: Timestamp) -> Option<&'static str> {
    match verification.state {
        State::Verified => Some("verified"),
        State::Canceled => Some("canceled"),
        State::Superseded => Some("superseded"),
        State::Open if verification.is_locked() => Some("too many attempts"),
        State::Open if now >= verification.deadline() || verification.code.is_none() => Some(TOO_OLD),
        State::Open => None,
    }
}

/// What a dispatch says that ends because its verification is dead. One that grew too old says what held it up.
pub(super) fn last_reason(dispatch: &Dispatch, reason: &str) -> String {
    let cause = dispatch.reason.as_deref().filter(|_| reason == TOO_OLD);
    cause.unwrap_or(reason).to_owned()
}
