//! Twilio: what it is sent, and what its receipts do.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::rig::{FAST, PUBLIC_URL, Rig, attempts, rigged};
use super::vendor::{AUTH_TOKEN, Asked, path, twilio_receipt};
use crate::harness::client::reply;
use crate::harness::process::run;

rigged!(
    it_is_sent_what_its_api_wants,
    receipts_move_the_dispatch_and_forged_ones_do_not,
    repeated_and_late_receipts_are_harmless,
    what_it_could_not_deliver_is_undelivered,
    a_receipt_before_the_reply_joins,
    a_receipt_makes_up_for_a_reply_that_never_comes with FAST,
);

const ANN: &str = "+14155552671";

async fn receive(rig: &Rig, asked: &Asked, sid: &str, status: &str) -> u16 {
    twilio_receipt(&rig.client, &asked.form()["StatusCallback"], AUTH_TOKEN, sid, status).await.status
}

async fn it_is_sent_what_its_api_wants(rig: Rig) {
    let id = rig.sms(ANN).await;
    let asked = rig.twilio.nth(1).await;
    assert_eq!(asked.path, "/2010-04-01/Accounts/AC1/Messages.json");
    assert_eq!(asked.header("authorization"), format!("Basic {}", BASE64_STANDARD.encode(format!("AC1:{AUTH_TOKEN}"))));
    assert_eq!(asked.header("content-type"), "application/x-www-form-urlencoded");
    let form = asked.form();
    assert_eq!(form.keys().collect::<Vec<_>>(), ["Body", "From", "StatusCallback", "To", "ValidityPeriod"]);
    assert_eq!((form["To"].as_str(), form["From"].as_str()), (ANN, "+15005550006"));
    assert_eq!(form["StatusCallback"], format!("{PUBLIC_URL}/receipts/twilio?attempt={id}:1:1"));
    let validity: u64 = form["ValidityPeriod"].parse().expect("seconds");
    assert!((200..=300).contains(&validity), "{validity}");
    let code: String = form["Body"].chars().filter(char::is_ascii_digit).take(6).collect();
    let dispatch = rig.dispatch_in(&id, "sent").await;
    assert_eq!(
        (attempts(&dispatch), &dispatch["attempts"][0]["messageId"]),
        (vec!["twilio sent".to_owned()], &json!("SM1"))
    );
    assert_eq!(rig.client.verify(ANN, &code).await.body["valid"], true, "{form:?}");

    rig.client.send(&json!({ "target": "+14155552672", "channel": "whatsapp" })).await.expect(202);
    let form = rig.twilio.nth(2).await.form();
    assert_eq!((form["To"].as_str(), form["From"].as_str()), ("whatsapp:+14155552672", "whatsapp:+15005550007"));
}

async fn receipts_move_the_dispatch_and_forged_ones_do_not(rig: Rig) {
    let id = rig.sms(ANN).await;
    let asked = rig.twilio.nth(1).await;
    let before = rig.dispatch_in(&id, "sent").await;
    let callback = asked.form()["StatusCallback"].clone();
    let forged = twilio_receipt(&rig.client, &callback, "sardine", "SM1", "delivered").await;
    assert_eq!((forged.status, forged.text("code")), (401, "invalid_signature"));
    let unsigned =
        rig.client.http.post(rig.client.url(&path(&callback))).body("MessageSid=SM1&MessageStatus=delivered");
    assert_eq!(reply(unsigned).await.status, 401);
    let elsewhere = callback.replace("otp.example.com", "elsewhere.example.com");
    assert_eq!(twilio_receipt(&rig.client, &elsewhere, AUTH_TOKEN, "SM1", "delivered").await.status, 401);
    let nobody = twilio_receipt(&rig.client, &format!("{PUBLIC_URL}/receipts/nobody"), AUTH_TOKEN, "SM1", "sent").await;
    assert_eq!(nobody.status, 404);
    assert_eq!(rig.dispatch_in(&id, "sent").await, before);

    let bare = format!("{PUBLIC_URL}/receipts/twilio");
    let unknown = twilio_receipt(&rig.client, &bare, AUTH_TOKEN, "SM999", "delivered").await;
    assert_eq!(unknown.status, 204, "of a message that nobody knows");
    assert_eq!(rig.dispatch_in(&id, "sent").await, before);

    assert_eq!(receive(&rig, &asked, "SM1", "delivered").await, 204);
    let dispatch = rig.dispatch_in(&id, "delivered").await;
    assert_eq!(attempts(&dispatch), ["twilio delivered"]);
    assert!(dispatch["deliveredAt"].is_string());
    let receipt = &dispatch["receipts"][0];
    assert_eq!(
        (&receipt["status"], &receipt["provider"], &receipt["messageId"], &receipt["attempt"]),
        (&json!("delivered"), &json!("twilio"), &json!("SM1"), &json!(1))
    );
}

async fn repeated_and_late_receipts_are_harmless(rig: Rig) {
    let id = rig.sms(ANN).await;
    let asked = rig.twilio.nth(1).await;
    rig.dispatch_in(&id, "sent").await;
    for status in ["delivered", "queued", "sent", "delivered", "undelivered", "sending", "failed", "something new"] {
        assert_eq!(receive(&rig, &asked, "SM1", status).await, 204, "{status}");
        let dispatch = rig.client.record(&id).await["dispatches"][0].clone();
        assert_eq!(dispatch["status"], "delivered", "after {status}");
    }
    assert_eq!(rig.tokens_used().await, 1);
}

async fn what_it_could_not_deliver_is_undelivered(rig: Rig) {
    let id = rig.sms(ANN).await;
    let asked = rig.twilio.nth(1).await;
    rig.dispatch_in(&id, "sent").await;
    // By its message id alone, as where no callback could be given.
    let bare = format!("{PUBLIC_URL}/receipts/twilio");
    assert_eq!(twilio_receipt(&rig.client, &bare, AUTH_TOKEN, "SM1", "undelivered").await.status, 204);
    let dispatch = rig.dispatch_in(&id, "undelivered").await;
    assert_eq!((attempts(&dispatch), rig.tokens_used().await), (vec!["twilio undelivered".to_owned()], json!(1)));
    assert_eq!(receive(&rig, &asked, "SM1", "sent").await, 204);
    assert_eq!(rig.client.record(&id).await["dispatches"][0]["status"], "undelivered");
    assert_eq!(receive(&rig, &asked, "SM1", "delivered").await, 204);
    assert_eq!(rig.dispatch_in(&id, "delivered").await["error"], Value::Null);
    assert_eq!(rig.own.count(), 0, "nothing else is sent");
}

async fn a_receipt_before_the_reply_joins(rig: Rig) {
    rig.twilio.hold();
    let id = rig.sms(ANN).await;
    let asked = rig.twilio.nth(1).await;
    assert_eq!(receive(&rig, &asked, "SM1", "delivered").await, 204);
    rig.twilio.go_on();
    let dispatch = rig.dispatch_in(&id, "delivered").await;
    assert_eq!(attempts(&dispatch), ["twilio delivered"]);
    assert_eq!(dispatch["receipts"].as_array().expect("receipts").len(), 1);
    assert_eq!((rig.twilio.count(), rig.own.count(), rig.tokens_used().await), (1, 0, json!(1)));
}

async fn a_receipt_makes_up_for_a_reply_that_never_comes(rig: Rig) {
    rig.twilio.hold();
    let id = rig.sms(ANN).await;
    let asked = rig.twilio.nth(1).await;
    assert_eq!(receive(&rig, &asked, "SM1", "delivered").await, 204);
    let dispatch = rig.dispatch_in(&id, "delivered").await;
    assert_eq!(dispatch["receipts"].as_array().expect("receipts").len(), 1);
    // The worker has given up by the time that it serves another.
    let next = rig.sms("+14155552672").await;
    rig.dispatch_in(&next, "sent").await;
    let dispatch = rig.dispatch_in(&id, "delivered").await;
    assert_eq!((attempts(&dispatch), rig.own.count()), (vec!["twilio delivered".to_owned()], 1), "{dispatch}");
}

#[test]
fn the_check_of_settings_asks_for_the_public_url() {
    let settings = |more: &[(&str, &str)]| {
        let always = [
            ("OTPD_PROVIDERS__TWILIO__ACCOUNT_SID", "AC1"),
            ("OTPD_PROVIDERS__TWILIO__AUTH_TOKEN", AUTH_TOKEN),
            ("OTPD_PROVIDERS__TWILIO__FROM", "+15005550006"),
        ];
        always.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let (code, _, log) = run(&["config", "check", "--embedded"], &settings(&[]));
    assert_eq!(code, 78);
    assert!(log.contains("server.public_url is missing: providers.twilio sends receipts"), "{log}");
    let (code, _, log) = run(&["config", "check", "--embedded"], &settings(&[("OTPD_SERVER__PUBLIC_URL", PUBLIC_URL)]));
    assert_eq!(code, 0, "{log}");
}
