//! Magic targets: what a number's end or an address's name makes a vendor do, by SMS and by e-mail.

use serde_json::Value;

use super::rig::{FAST, Rehearsal, attempts, time};

/// A magic target by both its names, with the vendors that it is for.
fn targets(name: &str, digits: &str) -> [(&'static str, &'static str, String); 2] {
    let number = ("sms", "twilio", format!("+141555000{digits}"));
    [number, ("email", "postmark", format!("{name}@simulator.example"))]
}

/// Both of a magic target: the status that the dispatch comes to, and its first attempt.
async fn check(rig: &Rehearsal, name: &str, digits: &str, status: &str, first: &str) -> [Value; 2] {
    let [sms, email] = targets(name, digits);
    let ids = [rig.send(sms.0, &sms.2).await, rig.send(email.0, &email.2).await];
    let dispatches = [rig.dispatch_in(&ids[0], status).await, rig.dispatch_in(&ids[1], status).await];
    for ((_, vendor, target), dispatch) in [&sms, &email].into_iter().zip(&dispatches) {
        assert_eq!(attempts(dispatch)[0], format!("{vendor} {first}"), "{target}: {dispatch:#}");
    }
    dispatches
}

#[tokio::test]
async fn refusals_that_are_for_one_target() {
    let rig = Rehearsal::start(&["twilio", "postmark"], &[]).await;
    check(&rig, "rejected", "01", "failed", "rejected").await;
    let [sms, email] = check(&rig, "failed", "09", "undelivered", "undelivered").await;
    assert_eq!(sms["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(email["attempts"].as_array().map(Vec::len), Some(1));
    check(&rig, "lost", "08", "sent", "sent").await;
    check(&rig, "ordinary", "00", "delivered", "delivered").await;
}

#[tokio::test]
async fn refusals_of_the_whole_account() {
    for (name, digits, cause) in [
        ("throttled", "02", "throttled"),
        ("misconfigured", "06", "misconfigured_credentials"),
        ("balance", "10", "misconfigured_balance"),
        ("sender", "11", "misconfigured_sender"),
    ] {
        let rig = Rehearsal::start(&["twilio", "postmark"], &[]).await;
        for (channel, vendor, target) in targets(name, digits) {
            let id = rig.send(channel, &target).await;
            assert_eq!(attempts(&rig.after_attempts(&id, 1).await)[0], format!("{vendor} {cause}"));
        }
    }
}

#[tokio::test]
async fn slow_takes_its_time() {
    let rig = Rehearsal::start(&["twilio", "postmark"], &[]).await;
    for dispatch in &check(&rig, "slow", "03", "delivered", "delivered").await {
        let attempt = &dispatch["attempts"][0];
        assert!(time(attempt, "finishedAt") - time(attempt, "startedAt") >= 3000, "{dispatch:#}");
    }
}

#[tokio::test]
async fn late_lets_its_receipt_wait() {
    let rig = Rehearsal::start(&["twilio", "postmark"], &[]).await;
    for dispatch in &check(&rig, "late", "07", "delivered", "delivered").await {
        let sent = time(&dispatch["attempts"][0], "finishedAt");
        assert!(time(dispatch, "deliveredAt") - sent >= 4900, "{dispatch:#}");
    }
}

#[tokio::test]
async fn fail2_is_taken_the_third_time() {
    let rig = Rehearsal::start(&["twilio"], &[]).await;
    let id = rig.send("sms", "+14155500005").await;
    rig.after_attempts(&id, 1).await;
    rig.advance(3);
    rig.after_attempts(&id, 2).await;
    rig.advance(8);
    let dispatch = rig.dispatch_in(&id, "delivered").await;
    assert_eq!(attempts(&dispatch), ["twilio unavailable", "twilio unavailable", "twilio delivered"]);
}

#[tokio::test]
async fn timeout_takes_nothing_and_mute_everything() {
    let rig = Rehearsal::start(&["twilio"], &[FAST]).await;
    let id = rig.send("sms", "+14155500004").await;
    let dispatch = rig.dispatch_in(&id, "failed").await;
    assert_eq!(attempts(&dispatch)[0], "twilio ambiguous");
    assert_eq!(rig.vendors.count("twilio", "taken").await, 0);
    let id = rig.send("sms", "+14155500012").await;
    let dispatch = rig.dispatch_in(&id, "delivered").await;
    assert_eq!(attempts(&dispatch), ["twilio delivered"], "its receipt makes up for the answer: {dispatch:#}");
    assert_eq!(rig.vendors.count("twilio", "taken").await, 1);
}
