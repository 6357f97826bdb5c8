//! One verification whole, with its dispatches, attempts and receipts in order.

use common::otp::ids::DispatchId;
use common::otp::rows::{Attempt, Dispatch, Receipt, State};
use common::otp::target::Target;
use common::otp::time::Timestamp;
use common::store::records::Timeline;
use serde_json::{Value, json};

/// The reply of `GET /records/{id}`. `target` is null once it has been forgotten.
pub(super) fn show(timeline: &Timeline, target: Option<&Target>, now: Timestamp) -> Value {
    let verification = &timeline.verification;
    let dispatches = timeline.dispatches.iter().map(|dispatch| show_dispatch(timeline, dispatch));
    json!({
        "id": verification.id.to_string(),
        "recordId": Some(&verification.record).filter(|record| !record.is_empty()),
        "target": target.map(Target::delivered),
        "channel": verification.channel.as_str(),
        "country": verification.country,
        "locale": verification.locale,
        "mode": verification.mode.as_str(),
        "state": state(verification.state, now >= verification.expires),
        "verified": verification.state == State::Verified,
        "guesses": verification.guesses,
        "attemptsLeft": verification.guesses_left(now),
        "sends": verification.sends,
        "createdAt": verification.id.created().rfc3339(),
        "expiresAt": verification.expires.rfc3339(),
        "closedAt": verification.closed.map(Timestamp::rfc3339),
        "dispatches": dispatches.collect::<Vec<_>>(),
    })
}

const fn state(state: State, is_over: bool) -> &'static str {
    match state {
        State::Verified => "verified",
        State::Canceled => "canceled",
        State::Superseded => "superseded",
        State::Open if is_over => "expired",
        State::Open => "open",
    }
}

fn show_dispatch(timeline: &Timeline, dispatch: &Dispatch) -> Value {
    let of = |id: DispatchId| id == dispatch.id;
    let attempts = timeline.attempts.iter().filter(|attempt| of(attempt.id.dispatch)).map(show_attempt);
    let receipts = timeline.receipts.iter().filter(|receipt| receipt.attempt.is_some_and(|id| of(id.dispatch)));
    json!({
        "id": dispatch.id.to_string(),
        "channel": dispatch.channel.as_str(),
        "status": dispatch.status.as_str(),
        "provider": dispatch.provider,
        "error": dispatch.reason,
        "createdAt": dispatch.created.rfc3339(),
        "sentAt": dispatch.sent.map(Timestamp::rfc3339),
        "deliveredAt": dispatch.delivered.map(Timestamp::rfc3339),
        "attempts": attempts.collect::<Vec<_>>(),
        "receipts": receipts.map(show_receipt).collect::<Vec<_>>(),
    })
}

fn show_attempt(attempt: &Attempt) -> Value {
    json!({
        "number": attempt.id.n,
        "provider": attempt.provider,
        "status": attempt.status.as_str(),
        "cause": attempt.cause,
        "detail": attempt.detail,
        "messageId": attempt.message_id,
        "startedAt": attempt.started.rfc3339(),
        "finishedAt": attempt.finished.rfc3339(),
    })
}

fn show_receipt(receipt: &Receipt) -> Value {
    json!({
        "attempt": receipt.attempt.map(|id| id.n),
        "provider": receipt.provider,
        "status": receipt.status.as_str(),
        "detail": receipt.detail,
        "messageId": receipt.message_id,
        "receivedAt": receipt.received.rfc3339(),
    })
}
