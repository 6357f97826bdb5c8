//! Chains through vendors: what does not arrive by one channel goes by the next, and what arrives goes by no other.

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Rig, attempts, rigged};
use super::vendor::{AUTH_TOKEN, Answer, twilio_receipt};
use crate::harness::eventually;

rigged!(
    who_is_not_on_whatsapp_gets_an_sms_at_once with OWN_SMS,
    without_a_receipt_the_sms_comes_in_its_time with OWN_SMS,
    a_receipt_in_time_saves_the_sms with OWN_SMS,
    a_failed_delivery_brings_the_sms_at_once with OWN_SMS,
    an_answer_in_time_saves_the_sms with OWN_SMS,
    a_number_that_has_had_enough_gets_no_sms with OWN_SMS,
    whatsapp_that_nobody_takes_is_given_up_for_the_sms with OWN_SMS,
);

/// When the SMS goes out, in seconds: later than any test gets to it by itself.
const AFTER: u64 = 60;
/// WhatsApp by `twilio`, SMS by `own` alone.
pub(super) const OWN_SMS: &[(&str, &str)] = &[("OTPD_ROUTES__SMS", "own")];
const ANN: &str = "+14155552671";
const BOB: &str = "+14155552672";

async fn whatsapp(rig: &Rig) -> String {
    let fallback = json!([{ "channel": "sms", "after": AFTER }]);
    let body = json!({ "target": ANN, "channel": "whatsapp", "fallback": fallback });
    rig.client.send(&body).await.expect(202).text("recordId").to_owned()
}

fn code_in(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).take(6).collect()
}

/// A dispatch of a verification, once it has this status.
async fn dispatch(rig: &Rig, id: &str, n: usize, status: &str) -> Value {
    eventually(&format!("dispatch {n} to be {status}"), || async {
        let dispatch = rig.client.record(id).await["dispatches"][n].clone();
        (dispatch["status"] == status).then_some(dispatch)
    })
    .await
}

/// Moves time on past the fallback's, and waits until the relay has looked: what else is due then has gone out.
async fn nothing_comes(rig: &Rig, own_before: usize) {
    rig.client.clock.advance(Duration::from_secs(AFTER + 10));
    let other = rig.sms(BOB).await;
    dispatch(rig, &other, 0, "sent").await;
    let asked = rig.own.asked();
    assert!(asked[own_before..].iter().all(|asked| asked.json()["target"] == BOB), "{asked:?}");
}

async fn who_is_not_on_whatsapp_gets_an_sms_at_once(rig: Rig) {
    rig.twilio.answer(Answer::refused(400, 21211));
    let id = whatsapp(&rig).await;
    let sms = rig.own.nth(1).await.json();
    assert_eq!((&sms["channel"], &sms["target"]), (&json!("sms"), &json!(ANN)));
    assert_eq!(code_in(&rig.twilio.asked()[0].form()["Body"]), sms["code"], "the same code");
    let sent = dispatch(&rig, &id, 1, "sent").await;
    assert_eq!((&sent["fallback"]["because"], &sent["fallback"]["after"]), (&json!("failed"), &json!(AFTER)));
    assert_eq!(attempts(&dispatch(&rig, &id, 0, "failed").await), ["twilio rejected"]);
    assert_eq!(rig.tokens_used().await, 1, "for what was handed over");
    let verified = rig.client.verify(ANN, sms["code"].as_str().expect("a code")).await.expect(200).body;
    assert_eq!(
        (&verified["valid"], &verified["sentTo"]),
        (&json!(true), &json!([{ "channel": "sms", "target": ANN }]))
    );
    let stats = rig.client.get("/api/v1/otp/stats").await.expect(200).body;
    assert_eq!((&stats["byStatus"], &stats["byProvider"]), (&json!({ "sent": 1 }), &json!({ "own": 1 })));
}

async fn without_a_receipt_the_sms_comes_in_its_time(rig: Rig) {
    let id = whatsapp(&rig).await;
    let before = dispatch(&rig, &id, 0, "sent").await;
    let waiting = dispatch(&rig, &id, 1, "waiting").await;
    let time = |value: &Value| value.as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
    let taken = time(&before["attempts"][0]["finishedAt"]);
    assert_eq!(time(&waiting["fallback"]["at"]).duration_since(taken).unsigned_abs(), Duration::from_secs(AFTER));
    assert_eq!((&waiting["fallback"]["because"], &waiting["attempts"]), (&Value::Null, &json!([])));
    assert_eq!(rig.tokens_used().await, 1);
    rig.client.clock.advance(Duration::from_secs(AFTER));
    let sms = rig.own.nth(1).await.json();
    let sent = dispatch(&rig, &id, 1, "sent").await;
    assert_eq!(sent["fallback"]["because"], "not delivered in time");
    assert_eq!(rig.tokens_used().await, 2);
    let listed = rig.client.get("/api/v1/otp/records").await.expect(200).body["records"][0].clone();
    assert_eq!((&listed["status"], &listed["provider"]), (&json!("sent"), &json!("own")), "the newest that went out");
    let guess = json!({ "target": ANN, "code": sms["code"], "proof": true });
    let verified = rig.client.post("/api/v1/otp/verify", &guess).await.expect(200).body;
    let both = json!([{ "channel": "whatsapp", "target": ANN }, { "channel": "sms", "target": ANN }]);
    assert_eq!(verified["sentTo"], both);
    let claims = super::claims(verified["proof"].as_str().expect("a proof: both went to one target"));
    assert_eq!((&claims["channel"], &claims["channels"]), (&json!("sms"), &json!(["whatsapp", "sms"])));
}

async fn a_receipt_in_time_saves_the_sms(rig: Rig) {
    let id = whatsapp(&rig).await;
    let asked = rig.twilio.nth(1).await;
    dispatch(&rig, &id, 0, "sent").await;
    rig.client.clock.advance(Duration::from_secs(15));
    twilio_receipt(&rig.client, &asked.form()["StatusCallback"], AUTH_TOKEN, "SM1", "delivered").await.expect(204);
    let ended = dispatch(&rig, &id, 1, "expired").await;
    assert_eq!((&ended["error"], &ended["attempts"]), (&json!("already delivered"), &json!([])));
    nothing_comes(&rig, 0).await;
    assert_eq!(rig.tokens_used().await, 2, "one for each of two people");
    let listed = rig.client.get("/api/v1/otp/records?status=delivered").await.expect(200).body;
    assert_eq!(listed["records"][0]["id"], id.as_str());
}

async fn a_failed_delivery_brings_the_sms_at_once(rig: Rig) {
    let id = whatsapp(&rig).await;
    let asked = rig.twilio.nth(1).await;
    dispatch(&rig, &id, 0, "sent").await;
    twilio_receipt(&rig.client, &asked.form()["StatusCallback"], AUTH_TOKEN, "SM1", "undelivered").await.expect(204);
    rig.own.nth(1).await;
    assert_eq!(dispatch(&rig, &id, 1, "sent").await["fallback"]["because"], "undelivered");
    assert_eq!(rig.tokens_used().await, 2);
}

async fn an_answer_in_time_saves_the_sms(rig: Rig) {
    let id = whatsapp(&rig).await;
    let code = code_in(&rig.twilio.nth(1).await.form()["Body"]);
    dispatch(&rig, &id, 0, "sent").await;
    assert_eq!(rig.client.verify(ANN, &code).await.body["valid"], true);
    assert_eq!(dispatch(&rig, &id, 1, "expired").await["error"], "verified");
    nothing_comes(&rig, 0).await;
    assert_eq!(rig.tokens_used().await, 2, "one for each of two people");
}

async fn a_number_that_has_had_enough_gets_no_sms(rig: Rig) {
    let project = rig.client.project.id.clone();
    rig.run(&["project", "update", &project, "--per-hour", "1"]);
    let id = whatsapp(&rig).await;
    dispatch(&rig, &id, 0, "sent").await;
    rig.client.clock.advance(Duration::from_secs(AFTER));
    let ended = dispatch(&rig, &id, 1, "failed").await;
    assert_eq!((&ended["error"], &ended["attempts"]), (&json!("target limited"), &json!([])));
    nothing_comes(&rig, 0).await;
    assert_eq!(rig.tokens_used().await, 2, "one for each of two people");
    let stats = rig.client.get("/api/v1/otp/stats").await.expect(200).body;
    assert_eq!(stats["byStatus"], json!({ "sent": 2 }));
}

async fn whatsapp_that_nobody_takes_is_given_up_for_the_sms(rig: Rig) {
    // Its next pass is far off, so that no worker is at it when the fallback's turn comes.
    rig.twilio.answer(Answer::refused(429, 20429).later(150));
    let id = whatsapp(&rig).await;
    eventually("the refused attempt", || async {
        let first = rig.client.record(&id).await["dispatches"][0].clone();
        (first["status"] == "queued" && !attempts(&first).is_empty()).then_some(())
    })
    .await;
    rig.client.clock.advance(Duration::from_secs(AFTER));
    rig.own.nth(1).await;
    assert_eq!(dispatch(&rig, &id, 1, "sent").await["fallback"]["because"], "not delivered in time");
    assert_eq!(dispatch(&rig, &id, 0, "expired").await["error"], "replaced by its fallback");
    assert_eq!(rig.tokens_used().await, 1, "one token went over");
}
