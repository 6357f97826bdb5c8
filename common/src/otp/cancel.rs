//! Closing by hand: a caller cancels a verification, or says that it has checked the code itself.

use super::changes::Changes;
use super::close;
use super::ids::VerificationId;
use super::rows::{Dispatch, State, Verification};
use super::time::Timestamp;

/// How a caller closes a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    Cancel,
    Approve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    Now(VerificationId),
    /// It had ended before, and how.
    Before(VerificationId, &'static str),
}

#[must_use]
pub fn decide(now: Timestamp, verification: &Verification, dispatches: &[Dispatch], how: ByHand) -> (Closed, Changes) {
    let mut changes = Changes::at(now);
    let id = verification.id;
    let answer = match verification.state {
        State::Verified => Closed::Before(id, "verified"),
        State::Canceled => Closed::Before(id, "canceled"),
        State::Superseded => Closed::Before(id, "superseded"),
        State::Open if now >= verification.expires => Closed::Before(id, "expired"),
        State::Open => {
            let (state, reason) = match how {
                ByHand::Cancel => (State::Canceled, "canceled"),
                ByHand::Approve => (State::Verified, "verified"),
            };
            let after = close::close(&mut changes, verification, dispatches, state, reason, now);
            if how == ByHand::Approve {
                changes.stats.verified(&after);
            }
            Closed::Now(id)
        }
    };
    (answer, changes)
}
