//! Cancelling: the code stops being good and what has not been sent of it never is.

use super::changes::Changes;
use super::close;
use super::ids::VerificationId;
use super::rows::{Dispatch, State, Verification};
use super::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canceled {
    Now(VerificationId),
    /// It had ended before, and how.
    Closed(VerificationId, &'static str),
}

#[must_use]
pub fn decide(now: Timestamp, verification: &Verification, dispatches: &[Dispatch]) -> (Canceled, Changes) {
    let mut changes = Changes::default();
    let id = verification.id;
    let answer = match verification.state {
        State::Verified => Canceled::Closed(id, "verified"),
        State::Canceled => Canceled::Closed(id, "canceled"),
        State::Superseded => Canceled::Closed(id, "superseded"),
        State::Open if now >= verification.expires => Canceled::Closed(id, "expired"),
        State::Open => {
            close::close(&mut changes, verification, dispatches, State::Canceled, "canceled", now);
            Canceled::Now(id)
        }
    };
    (answer, changes)
}
