//! The worker's metrics, each described where Prometheus reads its help text.

use std::time::Duration;

use common::otp::rows::Dispatch;
use common::otp::status::DispatchStatus;
use common::otp::time::Timestamp;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::breaker::Position;

const CLAIMS: &str = "otpd_claims_total";
const ATTEMPTS: &str = "otpd_attempts_total";
const HANDED_OVER: &str = "otpd_accept_to_handed_over_seconds";
const DELIVERED: &str = "otpd_accept_to_delivered_seconds";
const ENDED: &str = "otpd_dispatches_ended_total";
const BREAKER: &str = "otpd_provider_breaker";
const OLDEST_DUE: &str = "otpd_oldest_due_seconds";
const DUE: &str = "otpd_due";
const PANICS: &str = "otpd_job_panics_total";

/// Tells the recorder what each metric means. Once a process.
pub fn describe() {
    describe_counter!(CLAIMS, "Claims of attempts, by outcome");
    describe_counter!(ATTEMPTS, "Calls to providers, by provider, channel and cause of failure (ok when accepted)");
    describe_histogram!(HANDED_OVER, Unit::Seconds, "From the accepted send to the provider's acceptance");
    describe_histogram!(DELIVERED, Unit::Seconds, "From the accepted send to the receipt of its delivery");
    describe_counter!(ENDED, "Dispatches that no provider accepted, by status");
    describe_gauge!(BREAKER, "Breaker of a provider: 0 closed, 1 half-open, 2 open");
    describe_gauge!(OLDEST_DUE, Unit::Seconds, "Age of the oldest job that is due and not worked on");
    describe_gauge!(DUE, "Jobs that are due and not worked on");
    describe_counter!(PANICS, "Jobs whose work panicked");
}

pub(crate) fn claimed(outcome: &'static str) {
    counter!(CLAIMS, "outcome" => outcome).increment(1);
}

pub(crate) fn attempted(provider: &str, dispatch: &Dispatch, cause: &'static str) {
    let channel = dispatch.channel.as_str();
    counter!(ATTEMPTS, "provider" => provider.to_owned(), "channel" => channel, "cause" => cause).increment(1);
}

pub(crate) fn handed_over(provider: &str, dispatch: &Dispatch, now: Timestamp) {
    let channel = dispatch.channel.as_str();
    let waited = now.since(dispatch.created).as_secs_f64();
    histogram!(HANDED_OVER, "provider" => provider.to_owned(), "channel" => channel).record(waited);
    if dispatch.status == DispatchStatus::Delivered {
        delivered(dispatch);
    }
}

/// Notes how long a delivered dispatch took.
pub(crate) fn delivered(dispatch: &Dispatch) {
    if let (Some(provider), Some(at)) = (&dispatch.provider, dispatch.delivered) {
        let took = at.since(dispatch.created).as_secs_f64();
        histogram!(DELIVERED, "provider" => provider.clone(), "channel" => dispatch.channel.as_str()).record(took);
    }
}

pub(crate) fn ended(status: DispatchStatus) {
    counter!(ENDED, "status" => status.as_str()).increment(1);
}

pub(crate) fn breaker(provider: &str, position: Position) {
    let value = match position {
        Position::Closed => 0.0,
        Position::HalfOpen => 1.0,
        Position::Open => 2.0,
    };
    gauge!(BREAKER, "provider" => provider.to_owned()).set(value);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the count is bounded")]
pub(crate) fn backlog(due: u64, oldest: Duration) {
    gauge!(DUE).set(due as f64);
    gauge!(OLDEST_DUE).set(oldest.as_secs_f64());
}

pub(crate) fn panicked() {
    counter!(PANICS).increment(1);
}
