//! Failover: what one vendor cannot do, the next one does; what none can do is tried again until it is too late.

use std::time::Duration;

use super::rig::{FAST, Rig, attempts, rigged};
use super::vendor::Answer;
use crate::harness::eventually;

rigged!(
    refused_credentials_open_the_breaker_until_a_probe_succeeds,
    a_vendor_that_asks_for_time_gets_it,
    a_vendor_that_fails_often_is_left_alone,
    a_silent_vendor_is_not_waited_for with FAST,
    two_silent_vendors_are_the_most with FAST,
    a_rejected_recipient_is_nobody_elses,
    passes_go_on_until_the_deadline,
    a_vendor_that_recovers_gets_the_next_pass,
);

const ANN: &str = "+14155552671";

fn numbers() -> impl Iterator<Item = String> {
    (2671..).map(|n| format!("+1415555{n}"))
}

async fn refused_credentials_open_the_breaker_until_a_probe_succeeds(rig: Rig) {
    // So the second vendor is asked at once, and not at a pass that would come in its time.
    rig.client.hold_time().await;
    let mut numbers = numbers();
    let mut next = || numbers.next().expect("a number");
    rig.twilio.answer(Answer::refused(401, 20003));
    let id = rig.sms(&next()).await;
    let dispatch = rig.dispatch_in(&id, "sent").await;
    assert_eq!(attempts(&dispatch), ["twilio misconfigured_credentials", "own sent"]);
    assert_eq!((&dispatch["provider"], dispatch["error"].is_null()), (&"own".into(), true));
    rig.breaker("twilio", 2).await;

    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["own sent"]);
    assert_eq!(rig.twilio.count(), 1);

    rig.twilio.answer(Answer::queued());
    rig.client.clock.advance(Duration::from_secs(61));
    rig.breaker("twilio", 1).await;
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio sent"]);
    rig.breaker("twilio", 0).await;
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio sent"]);
}

async fn a_vendor_that_asks_for_time_gets_it(rig: Rig) {
    rig.client.hold_time().await;
    let mut numbers = numbers();
    let mut next = || numbers.next().expect("a number");
    rig.twilio.answer(Answer::refused(429, 20429).later(100));
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio throttled", "own sent"]);

    rig.twilio.answer(Answer::queued());
    rig.client.clock.advance(Duration::from_secs(50));
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["own sent"]);
    rig.client.clock.advance(Duration::from_secs(51));
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio sent"]);
}

async fn a_vendor_that_fails_often_is_left_alone(rig: Rig) {
    rig.client.hold_time().await;
    let mut numbers = numbers();
    let mut next = || numbers.next().expect("a number");
    rig.twilio.answer(Answer::new(500, "oops"));
    for _ in 0..6 {
        let id = rig.sms(&next()).await;
        assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio unavailable", "own sent"]);
    }
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["own sent"]);
    // A probe that fails opens it again.
    rig.client.clock.advance(Duration::from_secs(11));
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio unavailable", "own sent"]);
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["own sent"]);
    assert_eq!(rig.twilio.count(), 7);
}

async fn a_silent_vendor_is_not_waited_for(rig: Rig) {
    rig.twilio.hold();
    let id = rig.sms(ANN).await;
    let dispatch = rig.dispatch_in(&id, "sent").await;
    assert_eq!(attempts(&dispatch), ["twilio ambiguous", "own sent"]);
    assert_eq!((rig.twilio.count(), rig.own.count()), (1, 1));
}

async fn two_silent_vendors_are_the_most(rig: Rig) {
    rig.twilio.hold();
    rig.own.hold();
    let id = rig.sms(ANN).await;
    let dispatch = rig.dispatch_in(&id, "failed").await;
    assert_eq!(attempts(&dispatch), ["twilio ambiguous", "own ambiguous"]);
    assert_eq!(dispatch["error"], "no answer");
    assert_eq!(rig.tokens_used().await, 0);
    assert_eq!((rig.twilio.count(), rig.own.count()), (1, 1));
}

async fn a_rejected_recipient_is_nobody_elses(rig: Rig) {
    rig.twilio.answer(Answer::refused(400, 21211));
    let id = rig.sms(ANN).await;
    let dispatch = rig.dispatch_in(&id, "failed").await;
    assert_eq!(attempts(&dispatch), ["twilio rejected"]);
    assert_eq!((&dispatch["error"], &dispatch["attempts"][0]["detail"]), (&"rejected".into(), &"400 21211: No".into()));
    assert_eq!((rig.own.count(), rig.tokens_used().await), (0, 0.into()));
}

async fn passes_go_on_until_the_deadline(rig: Rig) {
    rig.client.hold_time().await;
    rig.twilio.answer(Answer::new(503, ""));
    rig.own.answer(Answer::new(500, ""));
    let body = serde_json::json!({ "target": ANN, "channel": "sms", "ttl": 60 });
    let id = rig.client.send(&body).await.expect(202).text("recordId").to_owned();
    // Past the latest instants of the passes at 2, 8 and 20 seconds.
    for (pass, seconds) in [(1, 0.0), (2, 2.5), (3, 7.2), (4, 14.4)] {
        rig.client.clock.advance(Duration::from_secs_f64(seconds));
        rig.after_attempts(&id, 2 * pass).await;
    }
    rig.client.clock.advance(Duration::from_secs(30));
    let dispatch = rig.dispatch_in(&id, "expired").await;
    assert_eq!(dispatch["error"], "unavailable");
    assert_eq!(attempts(&dispatch), ["twilio unavailable", "own unavailable"].repeat(4));
    let started = |n: usize| {
        let text = dispatch["attempts"][n]["startedAt"].as_str().expect("a time");
        text.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
    };
    for (n, earliest) in [(2, 1600), (4, 6400), (6, 16_000)] {
        assert!(started(n) - started(0) >= earliest, "{dispatch}");
    }
    assert_eq!(rig.tokens_used().await, 0);
}

async fn a_vendor_that_recovers_gets_the_next_pass(rig: Rig) {
    rig.client.hold_time().await;
    rig.twilio.answer(Answer::new(503, ""));
    rig.own.answer(Answer::new(500, ""));
    let id = rig.sms(ANN).await;
    rig.after_attempts(&id, 2).await;
    rig.own.answer(Answer::taken());
    rig.client.clock.advance(Duration::from_secs(3));
    let dispatch = rig.dispatch_in(&id, "sent").await;
    let expected = ["twilio unavailable", "own unavailable", "twilio unavailable", "own sent"];
    assert_eq!(attempts(&dispatch), expected);
    assert_eq!((&dispatch["attempts"][3]["messageId"], rig.tokens_used().await), (&"own-2".into(), 1.into()));
    let codes: Vec<_> = rig.own.asked().iter().map(|asked| asked.json()["code"].clone()).collect();
    eventually("the same code", || async { (codes[0] == codes[1]).then_some(()) }).await;
}
