//! The relay's rule for everything late: a lost publish, a retry whose time has come, a lease that has ended.

use std::collections::HashMap;

use super::changes::Changes;
use super::claim::dead;
use super::ids::{AttemptId, VerificationId};
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
    pub due: Vec<(Due, Dispatch)>,
    pub verifications: HashMap<VerificationId, Verification>,
}

/// `dice` gives numbers in 0..=1 for the jitter.
pub fn decide(now: Timestamp, found: &Found, mut dice: impl FnMut() -> f64) -> (Vec<DueJob>, Changes) {
    let mut changes = Changes::default();
    let jobs = found
        .due
        .iter()
        .filter_map(|(due, dispatch)| {
            let verification = found.verifications.get(&dispatch.id.verification);
            one(now, &mut changes, due, dispatch, verification, dice())
        })
        .collect();
    (jobs, changes)
}

fn one(
    now: Timestamp,
    changes: &mut Changes,
    due: &Due,
    dispatch: &Dispatch,
    verification: Option<&Verification>,
    dice: f64,
) -> Option<DueJob> {
    let Some(verification) = verification.filter(|_| dispatch.status.is_pending()) else {
        changes.done.push(due.dispatch);
        return None;
    };
    if dispatch.is_held(now) {
        let at = dispatch.lease.unwrap_or(now);
        changes.due.insert(due.dispatch, Due { at, ..due.clone() });
        return None;
    }
    let after = if dispatch.lease.is_some() { end_lease(now, changes, dispatch) } else { dispatch.clone() };
    let over = dead(verification, now).map(|reason| (DispatchStatus::Expired, reason));
    let unsure = (after.ambiguous >= MOST_AMBIGUOUS).then_some((DispatchStatus::Failed, "no answer"));
    if let Some((status, reason)) = over.or(unsure) {
        let mut ended = after;
        ended.status = status;
        ended.reason = Some(reason.to_owned());
        changes.give_back(&mut ended);
        changes.put_dispatch(dispatch, ended);
        return None;
    }
    if after != *dispatch {
        changes.put_dispatch(dispatch, after.clone());
    }
    let at = now + schedule::relay_delay(due.published.saturating_add(1), dice);
    changes.due.insert(due.dispatch, Due { at, published: due.published.saturating_add(1), ..due.clone() });
    Some(DueJob { attempt: AttemptId { dispatch: dispatch.id, n: after.attempt + 1 }, deadline: due.deadline })
}

/// The worker is gone: its attempt may or may not have reached a provider.
fn end_lease(now: Timestamp, changes: &mut Changes, dispatch: &Dispatch) -> Dispatch {
    let id = AttemptId { dispatch: dispatch.id, n: dispatch.attempt };
    changes.attempts.insert(
        id,
        Attempt {
            id,
            provider: None,
            started: dispatch.lease.unwrap_or(now),
            finished: now,
            status: AttemptStatus::Failed,
            cause: Some("ambiguous".to_owned()),
            detail: Some("the worker's lease ended without a result".to_owned()),
            message_id: None,
        },
    );
    let mut after = dispatch.clone();
    after.lease = None;
    after.status = DispatchStatus::Queued;
    after.ambiguous += 1;
    after
}
