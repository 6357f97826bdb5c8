//! A vendor that takes its time holds up its own messages and nobody else's.

use futures_util::future::join_all;
use serde_json::json;

use super::rig::{Rig, rigged};
use crate::harness::eventually;

rigged!(a_slow_vendor_does_not_starve_the_others with FEW_PLACES);

const FEW_PLACES: &[(&str, &str)] =
    &[("OTPD_WORKER__CONCURRENCY", "8"), ("OTPD_WORKER__PROVIDER_CONCURRENCY", "4"), ("OTPD_ROUTES__SMS", "twilio")];
const CROWD: usize = 40;

async fn a_slow_vendor_does_not_starve_the_others(rig: Rig) {
    rig.twilio.hold();
    let numbers: Vec<_> = (0..CROWD).map(|n| format!("+1415555{}", 2100 + n)).collect();
    let crowd = join_all(numbers.iter().map(|number| rig.sms(number))).await;
    rig.twilio.nth(4).await;
    for n in 0..5 {
        rig.client.send(&json!({ "target": format!("u{n}@example.com"), "channel": "email" })).await.expect(202);
    }
    let arrived = || async { (rig.own.count() >= 5).then_some(()) };
    eventually("the others' messages", arrived).await;
    assert_eq!(rig.twilio.count(), 4, "as many as there are places, and none of them has ended");

    rig.twilio.go_on();
    for id in crowd {
        rig.dispatch_in(&id, "sent").await;
    }
    assert_eq!(rig.twilio.count(), CROWD);
}
