//! One verification whole, with its dispatches, attempts and receipts in order.

use std::collections::HashMap;

use common::otp::chain::{Fallback, Fired};
use common::otp::ids::DispatchId;
use common::otp::rows::{Attempt, Dispatch, Receipt, State};
use common::otp::target::Target;
use common::otp::time::Timestamp;
use common::store::records::Timeline;

use crate::openapi::records;

/// The reply of `GET /records/{id}`; `own` are the targets of those dispatches that have their own.
pub(super) fn show(
    timeline: &Timeline,
    target: Option<&Target>,
    own: &HashMap<DispatchId, Target>,
    now: Timestamp,
) -> records::Timeline {
    let verification = &timeline.verification;
    let dispatches = timeline.dispatches.iter().map(|dispatch| {
        let target = if dispatch.target.is_some() { own.get(&dispatch.id) } else { target };
        show_dispatch(timeline, dispatch, target)
    });
    records::Timeline {
        id: verification.id.to_string(),
        record_id: Some(verification.record.clone()).filter(|record| !record.is_empty()),
        target: target.map(|target| target.delivered().to_owned()),
        channel: verification.channel.as_str(),
        country: verification.country.clone(),
        locale: verification.locale.clone(),
        mode: verification.mode.as_str(),
        state: state(verification.state, now >= verification.expires),
        verified: (!verification.is_relayed()).then_some(verification.state == State::Verified),
        guesses: verification.guesses,
        attempts_left: verification.guesses_left(now),
        sends: verification.sends,
        created_at: verification.id.created().rfc3339(),
        expires_at: verification.expires.rfc3339(),
        closed_at: verification.closed.map(Timestamp::rfc3339),
        dispatches: dispatches.collect(),
    }
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

fn show_dispatch(timeline: &Timeline, dispatch: &Dispatch, target: Option<&Target>) -> records::Dispatch {
    let of = |id: DispatchId| id == dispatch.id;
    let attempts = timeline.attempts.iter().filter(|attempt| of(attempt.id.dispatch)).map(show_attempt);
    let receipts = timeline.receipts.iter().filter(|receipt| receipt.attempt.is_some_and(|id| of(id.dispatch)));
    records::Dispatch {
        id: dispatch.id.to_string(),
        channel: dispatch.channel.as_str(),
        target: target.map(|target| target.delivered().to_owned()),
        status: dispatch.status.as_str(),
        provider: dispatch.provider.clone(),
        error: dispatch.reason.clone(),
        fallback: dispatch.fallback.map(show_fallback),
        created_at: dispatch.created.rfc3339(),
        sent_at: dispatch.sent.map(Timestamp::rfc3339),
        delivered_at: dispatch.delivered.map(Timestamp::rfc3339),
        attempts: attempts.collect(),
        receipts: receipts.map(show_receipt).collect(),
    }
}

fn show_fallback(fallback: Fallback) -> records::FallbackShown {
    records::FallbackShown {
        after: fallback.after.as_secs(),
        at: fallback.at.rfc3339(),
        because: fallback.fired.map(Fired::as_str),
    }
}

fn show_attempt(attempt: &Attempt) -> records::Attempt {
    records::Attempt {
        number: attempt.id.n,
        provider: attempt.provider.clone(),
        chosen: attempt.chosen.clone(),
        status: attempt.status.as_str(),
        cause: attempt.cause.clone(),
        detail: attempt.detail.clone(),
        message_id: attempt.message_id.clone(),
        started_at: attempt.started.rfc3339(),
        finished_at: attempt.finished.rfc3339(),
    }
}

fn show_receipt(receipt: &Receipt) -> records::Receipt {
    records::Receipt {
        attempt: receipt.attempt.map(|id| id.n),
        provider: receipt.provider.clone(),
        status: receipt.status.as_str(),
        detail: receipt.detail.clone(),
        message_id: receipt.message_id.clone(),
        received_at: receipt.received.rfc3339(),
    }
}
