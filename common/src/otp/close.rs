//! Closing a verification: its waiting dispatches end with it, their tokens go back, its sealed code is erased.

use super::changes::Changes;
use super::rows::{Dispatch, State, Verification};
use super::status::DispatchStatus;
use super::time::Timestamp;

/// Closes `verification` as `state`. A dispatch that a worker holds is left to that worker: it may be on the wire.
pub fn close(
    changes: &mut Changes,
    verification: &Verification,
    dispatches: &[Dispatch],
    state: State,
    reason: &str,
    now: Timestamp,
) -> Verification {
    let mut after = verification.clone();
    after.state = state;
    after.closed = Some(now);
    after.code = None;
    changes.put_verification(after.clone());
    end_waiting(changes, dispatches, reason, now);
    after
}

/// Locks a verification whose guesses are used up: nothing more of it is sent, and it stays as it is until it expires.
pub fn lock(changes: &mut Changes, verification: &mut Verification, dispatches: &[Dispatch], now: Timestamp) {
    verification.code = None;
    changes.put_verification(verification.clone());
    end_waiting(changes, dispatches, "too many attempts", now);
}

fn end_waiting(changes: &mut Changes, dispatches: &[Dispatch], reason: &str, now: Timestamp) {
    for dispatch in dispatches.iter().filter(|dispatch| dispatch.status.is_pending() && !dispatch.is_held(now)) {
        changes.end_unsent(dispatch, DispatchStatus::Expired, reason);
    }
}
