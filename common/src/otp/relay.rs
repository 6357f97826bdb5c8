//! The relay's rule for everything late: a lost publish, a retry whose time has come, a lease that has ended.

use std::collections::HashMap;

use super::chain::{self, Dispatches};
use super::changes::Changes;
use super::claim::{dead, last_reason};
use super::ids::{AttemptId, VerificationId};
use super::receipt;
use super::rows::{Attempt, Dispatch, Due, Verification};
use super::schedule;
use super::status::{AttemptStatus, DispatchStatus};
use super::time::Timestamp;

/// Attempts of one dispatch whose outcome nobody knows: after so many, another could be one code too many.
pub const MOST_AMBIGUOUS: i16 = 2;

/// A job to publish: which attempt is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueJob {
    pub attempt: AttemptId,
    pub deadline: Timestamp,
}

/// Due rows whose dispatches this relay has locked.
#[derive(Debug, Default)]
pub struct Found {
    /// What receipts have said of the attempts of those whose worker is gone.
    pub attempts: HashMap<AttemptId, Attempt>,
    pub due: Vec<(Due, Dispatch)>,
    pub verifications: HashMap<VerificationId, Verification>,
    /// All dispatches of those whose worker is gone, but for what waits and is locked elsewhere.
    pub chains: Dispatches,
}

/// At most `room` jobs; what there is no room for stays due as it is. What is dead ends all the same. `dice` gives
/// numbers in 0..=1 for the jitter.
pub fn decide(now: Timestamp, mut found: Found, room: usize, mut dice: impl FnMut() -> f64) -> (Vec<DueJob>, Changes) {
    let mut changes = Changes::at(now);
    let mut jobs = Vec::new();
    for (due, dispatch) in &found.due {
        // What came before it in this round may have ended it.
        if changes.dispatches.get(&due.dispatch).is_some_and(|ended| !ended.status.is_pending()) {
            continue;
        }
        let verification = found.verifications.get(&dispatch.id.verification);
        let is_abandoned = dispatch.lease.is_some() && !dispatch.is_held(now);
        let proven = is_abandoned.then(|| receipt::proven(&mut changes, &found.attempts, dispatch)).flatten();
        if let Some(after) = proven {
            changes.put_dispatch(dispatch, after.clone());
            chain::follow(now, &mut changes, &mut found.chains, verification, &after);
            continue;
        }
        match look(now, dispatch, verification, &found.chains) {
            Look::Done => changes.done.push(due.dispatch),
            Look::Held(at) => {
                changes.due.insert(due.dispatch, Due { at, ..due.clone() });
            }
            Look::End { mut after, attempt, status, reason } => {
                changes.attempts.extend(attempt.map(|attempt| (attempt.id, attempt)));
                after.status = status;
                after.reason = Some(reason);
                changes.give_back(&mut after);
                changes.put_dispatch(dispatch, after.clone());
                chain::follow(now, &mut changes, &mut found.chains, verification, &after);
            }
            Look::Publish { .. } if jobs.len() >= room => {}
            Look::Publish { after, attempt } => {
                changes.attempts.extend(attempt.map(|attempt| (attempt.id, attempt)));
                jobs.push(DueJob {
                    attempt: AttemptId { dispatch: after.id, n: after.attempt + 1 },
                    deadline: due.deadline,
                });
                if after != *dispatch {
                    changes.put_dispatch(dispatch, after);
                }
                let published = due.published.saturating_add(1);
                let at = now + schedule::relay_delay(published, dice());
                changes.due.insert(due.dispatch, Due { at, published, ..due.clone() });
            }
        }
    }
    (jobs, changes)
}

/// What a due dispatch needs. `attempt` is one whose worker is gone.
enum Look {
    /// Nothing any more.
    Done,
    /// Nothing until the lease of its worker ends.
    Held(Timestamp),
    End {
        after: Dispatch,
        attempt: Option<Attempt>,
        status: DispatchStatus,
        reason: String,
    },
    Publish {
        after: Dispatch,
        attempt: Option<Attempt>,
    },
}

fn look(now: Timestamp, dispatch: &Dispatch, verification: Option<&Verification>, chains: &Dispatches) -> Look {
    let Some(verification) = verification.filter(|_| dispatch.status.is_pending()) else { return Look::Done };
    let (after, attempt) = match dispatch.lease {
        Some(lease) if now < lease => return Look::Held(lease),
        Some(_) => end_lease(now, dispatch),
        None => (dispatch.clone(), None),
    };
    if let Some(reason) = dead(verification, now) {
        let reason = last_reason(&after, reason);
        return Look::End { after, attempt, status: DispatchStatus::Expired, reason };
    }
    if let Some(reason) = chain::overtaken(chains, &after).filter(|_| attempt.is_some()) {
        return Look::End { after, attempt, status: DispatchStatus::Expired, reason: reason.to_owned() };
    }
    if after.ambiguous >= MOST_AMBIGUOUS {
        let reason = "no answer".to_owned();
        return Look::End { after, attempt, status: DispatchStatus::Failed, reason };
    }
    Look::Publish { after, attempt }
}

/// The worker is gone: its attempt may or may not have reached a provider.
pub(super) fn end_lease(now: Timestamp, dispatch: &Dispatch) -> (Dispatch, Option<Attempt>) {
    let attempt = Attempt {
        id: AttemptId { dispatch: dispatch.id, n: dispatch.attempt },
        provider: None,
        chosen: None,
        started: dispatch.lease.unwrap_or(now),
        finished: now,
        status: AttemptStatus::Failed,
        cause: Some("ambiguous".to_owned()),
        detail: Some("the worker's lease ended without a result".to_owned()),
        message_id: None,
    };
    let mut after = dispatch.clone();
    after.lease = None;
    after.status = DispatchStatus::Queued;
    after.ambiguous += 1;
    (after, Some(attempt))
}
