//! Nothing is sent that nobody waits for any more: after verification, cancellation, supersession or expiry.

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Rig, rigged};
use super::vendor::Answer;

rigged!(what_waits_for_its_retry_is_not_sent_when_it_is_over, a_code_that_is_too_old_is_not_sent);

/// Sends to an address that `own` does not take yet: the id and the code.
async fn wait_for_retry(rig: &Rig, address: &str) -> (String, String) {
    rig.own.answer(Answer::new(503, ""));
    let before = rig.own.count();
    let id = rig.client.send_to(address).await;
    rig.after_attempts(&id, 1).await;
    let code = rig.own.nth(before + 1).await.json()["code"].as_str().expect("a code").to_owned();
    (id, code)
}

fn arrivals(rig: &Rig, address: &str) -> usize {
    rig.own.asked().iter().filter(|asked| asked.json()["target"] == address).count()
}

async fn what_waits_for_its_retry_is_not_sent_when_it_is_over(rig: Rig) {
    rig.client.hold_time().await;
    let (verified, code) = wait_for_retry(&rig, "verified@example.com").await;
    let (canceled, _) = wait_for_retry(&rig, "canceled@example.com").await;
    let (waiting, _) = wait_for_retry(&rig, "waiting@example.com").await;
    assert_eq!(rig.client.verify("verified@example.com", &code).await.body["valid"], true);
    let cancel = rig.client.post("/api/v1/otp/cancel", &json!({ "recordId": canceled })).await.expect(200);
    assert_eq!(cancel.body["canceled"], true);

    rig.own.answer(Answer::taken());
    rig.client.clock.advance(Duration::from_secs(20));
    rig.dispatch_in(&waiting, "sent").await;
    for (id, address, reason) in
        [(verified, "verified@example.com", "verified"), (canceled, "canceled@example.com", "canceled")]
    {
        let dispatch = rig.dispatch_in(&id, "expired").await;
        assert_eq!((&dispatch["error"], arrivals(&rig, address)), (&Value::from(reason), 1));
    }
    assert_eq!((arrivals(&rig, "waiting@example.com"), rig.tokens_used().await), (2, json!(1)));
}

async fn a_code_that_is_too_old_is_not_sent(rig: Rig) {
    rig.client.hold_time().await;
    let (id, _) = wait_for_retry(&rig, "ann@example.com").await;
    // Its own life is not over yet, but what is left of it is of no use.
    rig.client.clock.advance(Duration::from_secs(285));
    rig.own.answer(Answer::taken());
    let dispatch = rig.dispatch_in(&id, "expired").await;
    assert_eq!((&dispatch["error"], rig.tokens_used().await), (&json!("unavailable"), json!(0)));
    assert_eq!(rig.client.record(&id).await["state"], "open");
    let next = rig.client.send_to("bob@example.com").await;
    rig.dispatch_in(&next, "sent").await;
    assert_eq!(arrivals(&rig, "ann@example.com"), 1);
}

#[cfg(feature = "server-tests")]
#[tokio::test]
async fn a_superseded_code_is_not_sent() {
    let mut rig = Rig::distributed(&[]).await;
    rig.client.hold_time().await;
    let (old, code) = wait_for_retry(&rig, "ann@example.com").await;
    let super::rig::Otpd::Distributed(otpd) = &mut rig.otpd else { panic!("distributed") };
    otpd.kill_worker();
    rig.client.clock.advance(Duration::from_secs(250));
    let new = rig.client.send_to("ann@example.com").await;
    assert_ne!(new, old);
    rig.own.answer(Answer::taken());
    let super::rig::Otpd::Distributed(otpd) = &mut rig.otpd else { panic!("distributed") };
    otpd.add_worker().await;
    rig.dispatch_in(&new, "sent").await;
    let dispatch = rig.dispatch_in(&old, "expired").await;
    assert_eq!(dispatch["error"], "superseded");
    let codes: Vec<_> = rig.own.asked().iter().map(|asked| asked.json()["id"].clone()).collect();
    assert_eq!(codes, [format!("{old}:1"), format!("{new}:1")]);
    let guess = rig.client.verify("ann@example.com", &code).await.body;
    let is_same = rig.own.asked()[1].json()["code"] == code.as_str();
    assert_eq!(guess["valid"], is_same, "the old code is worth nothing");
}
