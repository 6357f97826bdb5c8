//! The names of the queue's metrics, each described once.

use metrics::{Unit, describe_counter, describe_gauge};

pub(super) const CONFIRMED: &str = "otpd_queue_publishes_confirmed_total";
pub(super) const DROPPED: &str = "otpd_queue_publishes_dropped_total";
pub(super) const FAILED: &str = "otpd_queue_publish_failures_total";
pub(super) const CONNECTED: &str = "otpd_queue_connected";
pub(super) const READY: &str = "otpd_queue_ready";

/// Tells the recorder what the numbers mean; called once, after it is installed.
pub fn describe() {
    describe_counter!(CONFIRMED, Unit::Count, "Jobs that the broker has confirmed");
    describe_counter!(DROPPED, Unit::Count, "Jobs not published (full, away, blocked, stopped): the relay brings them");
    describe_counter!(
        FAILED,
        Unit::Count,
        "Jobs published without a confirm (nacked, returned, timeout, disconnected): the relay brings them"
    );
    describe_gauge!(CONNECTED, Unit::Count, "1 while the connection to the broker is there, by its use");
    describe_gauge!(READY, Unit::Count, "Jobs that no consumer has taken yet, when last looked");
}
