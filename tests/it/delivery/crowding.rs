//! A vendor that takes its time holds up its own messages and nobody else's.

use std::time::Duration;

use serde_json::json;

use super::rig::{Rig, rigged};
use crate::harness::eventually_within;

rigged!(a_slow_vendor_does_not_starve_the_others with FEW_PLACES);

const FEW_PLACES: &[(&str, &str)] =
    &[("OTPD_WORKER__CONCURRENCY", "8"), ("OTPD_WORKER__PROVIDER_CONCURRENCY", "4"), ("OTPD_ROUTES__SMS", "twilio")];
const CROWD: usize = 40;

async fn a_slow_vendor_does_not_starve_the_others(rig: Rig) {
    rig.twilio.hold();
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        crowd.push(rig.sms(&format!("+1415555{}", 2100 + n)).await);
    }
    rig.twilio.nth(4).await;
    for n in 0..5 {
        rig.client.send(&json!({ "target": format!("u{n}@example.com"), "channel": "email" })).await.expect(202);
    }
    let arrived = || async { (rig.own.count() >= 5).then_some(()) };
    eventually_within(Duration::from_secs(5), "the others' messages", arrived).await;
    assert_eq!(rig.twilio.count(), 4, "no more than there are places");

    rig.twilio.go_on();
    for id in crowd {
        rig.dispatch_in(&id, "sent").await;
    }
    assert_eq!(rig.twilio.count(), CROWD);
}
