//! The worker's metrics, each described where Prometheus reads its help text.

use std::time::Duration;

use common::otp::rows::Dispatch;
use common::otp::status::DispatchStatus;
use common::otp::time::Timestamp;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use providers::checkup::Checkup;

use crate::breaker::Position;
use crate::place::Place;

const CLAIMS: &str = "otpd_claims_total";
const ATTEMPTS: &str = "otpd_attempts_total";
const HANDED_OVER: &str = "otpd_accept_to_handed_over_seconds";
const DELIVERED: &str = "otpd_accept_to_delivered_seconds";
const ENDED: &str = "otpd_dispatches_ended_total";
const BREAKER: &str = "otpd_provider_breaker";
const COUNTRY_BREAKER: &str = "otpd_provider_country_breaker";
const WEIGHT: &str = "otpd_provider_weight";
const UP: &str = "otpd_provider_up";
const BALANCE: &str = "otpd_provider_balance";
const CLOCK_SKEW: &str = "otpd_provider_clock_skew_seconds";
const OLDEST_DUE: &str = "otpd_oldest_due_seconds";
const DUE: &str = "otpd_due";
const FIRED: &str = "otpd_fallbacks_total";
const PANICS: &str = "otpd_job_panics_total";

/// Tells the recorder what each metric means. Once a process.
pub fn describe() {
    describe_counter!(CLAIMS, "Claims of attempts, by outcome");
    describe_counter!(ATTEMPTS, "Calls to providers, by provider, channel and cause of failure (ok when accepted)");
    describe_histogram!(
        HANDED_OVER,
        Unit::Seconds,
        "From the accepted send, or the turn of a fallback, to the provider's acceptance"
    );
    describe_histogram!(DELIVERED, Unit::Seconds, "From the accepted send, or the turn of a fallback, to its receipt");
    describe_counter!(ENDED, "Dispatches that no provider accepted, by status");
    describe_gauge!(BREAKER, "Breaker of a provider: 0 closed, 1 half-open, 2 open");
    describe_gauge!(COUNTRY_BREAKER, "The same for one channel and country, once it was open");
    describe_gauge!(WEIGHT, "Part of a route's traffic, of 100, by route, country and provider; once it was moved");
    describe_gauge!(
        UP,
        "Whether a provider's last check found nothing that would keep messages from going out: 1 or 0"
    );
    describe_gauge!(BALANCE, "What a provider's last check says is left, in the provider's own unit");
    describe_gauge!(CLOCK_SKEW, Unit::Seconds, "By how much this clock is ahead of a provider's");
    describe_gauge!(OLDEST_DUE, Unit::Seconds, "Age of the oldest job that is due and not worked on");
    describe_gauge!(DUE, "Jobs that are due and not worked on");
    describe_counter!(FIRED, "Fallbacks that went out, by channel and by what became of the dispatch before");
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
    let waited = now.since(dispatch.begun()).as_secs_f64();
    histogram!(HANDED_OVER, "provider" => provider.to_owned(), "channel" => channel).record(waited);
    if dispatch.status == DispatchStatus::Delivered {
        delivered(dispatch);
    }
}

/// Notes how long a delivered dispatch took.
pub(crate) fn delivered(dispatch: &Dispatch) {
    if let (Some(provider), Some(at)) = (&dispatch.provider, dispatch.delivered) {
        let took = at.since(dispatch.begun()).as_secs_f64();
        histogram!(DELIVERED, "provider" => provider.clone(), "channel" => dispatch.channel.as_str()).record(took);
    }
}

pub(crate) fn fired(channel: &'static str, because: &'static str) {
    counter!(FIRED, "channel" => channel, "because" => because).increment(1);
}

pub(crate) fn ended(status: DispatchStatus) {
    counter!(ENDED, "status" => status.as_str()).increment(1);
}

pub(crate) fn breaker(provider: &str, position: Position) {
    gauge!(BREAKER, "provider" => provider.to_owned()).set(value(position));
}

pub(crate) fn country_breaker(provider: &str, place: &Place, position: Position) {
    let labels = [("provider", provider), ("channel", place.channel.as_str()), ("country", &place.country)];
    let labels = labels.map(|(name, value)| metrics::Label::new(name, value.to_owned()));
    gauge!(COUNTRY_BREAKER, labels.to_vec()).set(value(position));
}

const fn value(position: Position) -> f64 {
    match position {
        Position::Closed => 0.0,
        Position::HalfOpen => 1.0,
        Position::Open => 2.0,
    }
}

pub(crate) fn weight(route: &str, country: &str, provider: &str, weight: u16) {
    let labels = [("route", route), ("country", country), ("provider", provider)];
    let labels = labels.map(|(name, value)| metrics::Label::new(name, value.to_owned()));
    gauge!(WEIGHT, labels.to_vec()).set(weight);
}

/// Notes what a check has found. What it does not tell keeps its last value.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; no clock is off by that many seconds")]
pub(crate) fn checked(provider: &str, is_up: Option<bool>, checkup: &Checkup) {
    let name = || provider.to_owned();
    if let Some(is_up) = is_up {
        gauge!(UP, "provider" => name()).set(if is_up { 1.0 } else { 0.0 });
    }
    if let Some(amount) = checkup.check.amount() {
        gauge!(BALANCE, "provider" => name()).set(amount);
    }
    if let Some(skew) = checkup.clock_skew_s {
        gauge!(CLOCK_SKEW, "provider" => name()).set(skew as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the count is bounded")]
pub(crate) fn backlog(due: u64, oldest: Duration) {
    gauge!(DUE).set(due as f64);
    gauge!(OLDEST_DUE).set(oldest.as_secs_f64());
}

pub(crate) fn panicked() {
    counter!(PANICS).increment(1);
}
