//! The API's metrics, each described where Prometheus reads its help text.

use std::time::Duration;

use common::otp::channel::{Channel, Mode};
use common::otp::rows::Dispatch;
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

const ACCEPTS: &str = "otpd_accepts_total";
const REFUSALS: &str = "otpd_refusals_total";
const VERIFICATIONS: &str = "otpd_verifications_total";
const RECEIPTS: &str = "otpd_receipts_total";
const REQUESTS: &str = "otpd_http_request_seconds";
const DELIVERED: &str = "otpd_accept_to_delivered_seconds";

/// Tells the recorder what each metric means. Once a process.
pub fn describe() {
    describe_counter!(ACCEPTS, "Accepted sends, by channel and mode");
    describe_counter!(REFUSALS, "Refused sends, by reason");
    describe_counter!(VERIFICATIONS, "Guesses, by outcome");
    describe_counter!(RECEIPTS, "Receipts, by provider and what became of them");
    describe_histogram!(REQUESTS, Unit::Seconds, "Requests, by route, method and status");
    describe_histogram!(DELIVERED, Unit::Seconds, "From the accepted send, or the turn of a fallback, to its receipt");
    describe_histogram!("otpd_batch_size", "Items that one store call took, by operation");
    describe_counter!("otpd_batch_items_refused_total", "Items that the store refused alone, by operation");
}

pub(crate) fn accepted(channel: Channel, mode: Mode) {
    counter!(ACCEPTS, "channel" => channel.as_str(), "mode" => mode.as_str()).increment(1);
}

pub(crate) fn refused(reason: &'static str) {
    counter!(REFUSALS, "reason" => reason).increment(1);
}

pub(crate) fn verified(outcome: &'static str) {
    counter!(VERIFICATIONS, "outcome" => outcome).increment(1);
}

pub(crate) fn receipt(provider: &str, outcome: &'static str) {
    counter!(RECEIPTS, "provider" => provider.to_owned(), "outcome" => outcome).increment(1);
}

pub(crate) fn delivered(dispatch: &Dispatch) {
    if let (Some(provider), Some(at)) = (&dispatch.provider, dispatch.delivered) {
        let took = at.since(dispatch.begun()).as_secs_f64();
        histogram!(DELIVERED, "provider" => provider.clone(), "channel" => dispatch.channel.as_str()).record(took);
    }
}

pub(crate) fn answered(route: &str, method: &str, status: u16, took: Duration) {
    let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
    histogram!(REQUESTS, &labels).record(took.as_secs_f64());
}
