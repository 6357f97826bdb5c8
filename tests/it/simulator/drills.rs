//! The failover drills: what fails at one vendor is delivered by the next, and nobody who asked for a code notices.

use serde_json::{Value, json};

use super::rig::{CHECKED, FAST, Rehearsal, attempts, drilled, time};

const SMS: (&str, &str) = ("OTPD_ROUTES__SMS", "twilio,telnyx");
const WEIGHTED: (&str, &str) = ("OTPD_ROUTES__SMS", "twilio=80,telnyx=20");
const EMPTY: (&str, &str) = ("OTPD_ROUTES__SMS", "africastalking,infobip,telnyx");
const EMAIL: (&str, &str) = ("OTPD_ROUTES__EMAIL", "sendgrid,postmark");

drilled!(
    in both:
    refused_credentials_at_one_vendor_are_nobodys_trouble: &["twilio", "telnyx", "--answer", "twilio=401"], &[SMS];
    when_all_are_down_the_code_expires_and_its_token_comes_back:
        &["twilio", "telnyx", "--answer", "unavailable"], &[SMS];
    a_vendor_that_recovers_gets_its_traffic_back: &["twilio", "telnyx", "--answer", "twilio=401"], &[SMS];
    a_check_finds_out_before_a_message_does: &["twilio", "telnyx", "--answer", "twilio=401"], &[SMS, CHECKED];
    a_slow_vendor_loses_traffic: &["twilio", "telnyx", "--latency", "twilio=2500ms"], &[WEIGHTED];
    who_is_not_on_whatsapp_gets_an_sms: &["meta", "telnyx", "--receipts", "meta=failed"], &[];
);

drilled!(
    an_empty_account_that_answers_200_is_left_at_once:
        &["africastalking", "infobip", "telnyx", "--answer", "balance", "--answer", "telnyx=ok"], &[EMPTY];
    spent_credits_that_look_like_a_wrong_key_are_told_apart:
        &["sendgrid", "postmark", "--answer", "sendgrid=balance"], &[EMAIL];
    a_silent_vendor_costs_its_time_and_no_code: &["twilio", "telnyx", "--answer", "twilio=timeout"], &[SMS, FAST];
    a_vendor_that_fails_now_and_then_loses_nothing: &["twilio", "telnyx", "--errors", "twilio=50%"], &[SMS];
    what_could_not_be_delivered_is_told_as_such: &["twilio", "--receipts", "failed"], &[];
);

/// Delivered by the last of these at once, that is while time stands still, and the code is good.
async fn check(rig: &Rehearsal, channel: &str, target: &str, expected: &[&str]) -> Value {
    rig.client.hold_time().await;
    let id = rig.send(channel, target).await;
    let dispatch = rig.dispatch_in(&id, "delivered").await;
    assert_eq!(attempts(&dispatch), expected, "{dispatch:#}");
    let last = expected.last().and_then(|last| last.split(' ').next()).expect("a vendor");
    let code = rig.code_at(last).await;
    assert_eq!(rig.client.verify(target, &code).await.body["valid"], true);
    dispatch
}

async fn refused_credentials_at_one_vendor_are_nobodys_trouble(rig: Rehearsal) {
    check(&rig, "sms", "+14155552671", &["twilio misconfigured_credentials", "telnyx delivered"]).await;
    rig.breaker("twilio", 2).await;
    check(&rig, "sms", "+14155552672", &["telnyx delivered"]).await;
    assert_eq!((rig.vendors.count("twilio", "requests").await, rig.tokens_used().await), (1, json!(2)));
}

async fn an_empty_account_that_answers_200_is_left_at_once(rig: Rehearsal) {
    let broke = ["africastalking misconfigured_balance", "infobip misconfigured_balance", "telnyx delivered"];
    let dispatch = check(&rig, "sms", "+254711222333", &broke).await;
    let words = |n: usize| dispatch["attempts"][n]["detail"].as_str().expect("words");
    assert!(words(0).starts_with("201 405: InsufficientBalance"), "{dispatch:#}");
    assert!(words(1).starts_with("200 REJECTED_NOT_ENOUGH_CREDITS"), "{dispatch:#}");
    rig.breaker("africastalking", 2).await;
    rig.breaker("infobip", 2).await;
}

async fn spent_credits_that_look_like_a_wrong_key_are_told_apart(rig: Rehearsal) {
    let expected = ["sendgrid misconfigured_balance", "postmark delivered"];
    check(&rig, "email", "ann@example.com", &expected).await;
}

async fn a_silent_vendor_costs_its_time_and_no_code(rig: Rehearsal) {
    let id = rig.send("sms", "+14155552671").await;
    let dispatch = rig.dispatch_in(&id, "delivered").await;
    assert_eq!(attempts(&dispatch), ["twilio ambiguous", "telnyx delivered"]);
    let silence = &dispatch["attempts"][0];
    assert!(time(silence, "finishedAt") - time(silence, "startedAt") >= 1000, "{dispatch:#}");
    assert_eq!(rig.vendors.count("twilio", "taken").await, 0);
}

async fn a_vendor_that_fails_now_and_then_loses_nothing(rig: Rehearsal) {
    let mut by_twilio = 0;
    for n in 0..16 {
        let id = rig.send("sms", &format!("+141555526{n:02}")).await;
        let dispatch = rig.dispatch_in(&id, "delivered").await;
        by_twilio += u64::from(attempts(&dispatch) == ["twilio delivered"]);
    }
    let (twilio, telnyx) = (rig.vendors.count("twilio", "taken").await, rig.vendors.count("telnyx", "taken").await);
    assert_eq!((twilio, twilio + telnyx), (by_twilio, 16));
}

async fn when_all_are_down_the_code_expires_and_its_token_comes_back(rig: Rehearsal) {
    let id = rig.send("sms", "+14155552671").await;
    rig.after_attempts(&id, 2).await;
    assert_eq!(rig.tokens_used().await, 1);
    // Past the useful life of a code that lives for a minute.
    rig.advance(50);
    let dispatch = rig.dispatch_in(&id, "expired").await;
    assert_eq!(dispatch["error"], "unavailable");
    let tried = attempts(&dispatch);
    assert_eq!(&tried[..2], ["twilio unavailable", "telnyx unavailable"]);
    assert_eq!(rig.tokens_used().await, 0);
    for vendor in ["twilio", "telnyx"] {
        assert_eq!(rig.vendors.count(vendor, "taken").await, 0);
    }
}

async fn a_vendor_that_recovers_gets_its_traffic_back(rig: Rehearsal) {
    check(&rig, "sms", "+14155552671", &["twilio misconfigured_credentials", "telnyx delivered"]).await;
    rig.breaker("twilio", 2).await;
    rig.vendors.order("twilio", &json!({"answer": "ok"})).await;
    check(&rig, "sms", "+14155552672", &["telnyx delivered"]).await;
    rig.advance(61);
    rig.breaker("twilio", 1).await;
    check(&rig, "sms", "+14155552673", &["twilio delivered"]).await;
    rig.breaker("twilio", 0).await;
    check(&rig, "sms", "+14155552674", &["twilio delivered"]).await;
}

async fn a_check_finds_out_before_a_message_does(rig: Rehearsal) {
    rig.breaker("twilio", 2).await;
    check(&rig, "sms", "+14155552671", &["telnyx delivered"]).await;
    rig.vendors.order("twilio", &json!({"answer": "ok"})).await;
    // Nobody else is left: it is asked although its check still speaks against it.
    rig.vendors.order("telnyx", &json!({"answer": "unavailable"})).await;
    let id = rig.send("sms", "+14155552672").await;
    let dispatch = rig.dispatch_in(&id, "delivered").await;
    assert_eq!(attempts(&dispatch), ["telnyx unavailable", "twilio delivered"]);
    let why = "route sms: number 1 in order; telnyx was left: unavailable; the last resort";
    assert_eq!(dispatch["attempts"][1]["chosen"], why);
}

async fn a_slow_vendor_loses_traffic(rig: Rehearsal) {
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(rig.send("sms", &format!("+141555526{n:02}")).await);
    }
    for id in &ids {
        rig.dispatch_in(id, "delivered").await;
    }
    rig.advance(11);
    rig.metric("otpd_provider_weight{route=\"sms\",country=\"US\",provider=\"twilio\"} 70").await;
}

async fn what_could_not_be_delivered_is_told_as_such(rig: Rehearsal) {
    let id = rig.send("sms", "+14155552671").await;
    let dispatch = rig.dispatch_in(&id, "undelivered").await;
    assert_eq!(attempts(&dispatch), ["twilio undelivered"]);
    let details: Vec<_> = dispatch["receipts"].as_array().expect("receipts").iter().map(|one| &one["detail"]).collect();
    assert_eq!(details.iter().filter(|detail| **detail == "30005").count(), 1, "{dispatch:#}");
}

async fn who_is_not_on_whatsapp_gets_an_sms(rig: Rehearsal) {
    rig.client.hold_time().await;
    let chain = json!([{ "channel": "sms", "after": 20 }]);
    let body = json!({ "target": "+14155552671", "channel": "whatsapp", "ttl": 60, "fallback": chain });
    let id = rig.client.send(&body).await.expect(202).text("recordId").to_owned();
    // Time does not go on: the SMS goes out by Meta's receipt and not by the 20 s.
    let sms = rig.dispatch_in(&id, "delivered").await;
    assert_eq!(attempts(&sms), ["telnyx delivered"]);
    assert_eq!((&sms["channel"], &sms["fallback"]["because"]), (&json!("sms"), &json!("undelivered")));
    let whatsapp = &rig.client.record(&id).await["dispatches"][0];
    assert_eq!((&whatsapp["status"], attempts(whatsapp)), (&json!("undelivered"), vec!["meta undelivered".to_owned()]));
    let code = rig.code_at("telnyx").await;
    assert_eq!(rig.code_at("meta").await, code, "the same code");
    assert_eq!(rig.client.verify("+14155552671", &code).await.body["valid"], true);
}
