//! Routing: who carries what, in which parts, and how that follows how providers fare.

use std::time::Duration;

use serde_json::Value;

use super::rig::{PUBLIC_URL, Rig, attempts, rigged};
use super::vendor::{AUTH_TOKEN, Answer, twilio_receipt};
use crate::harness::eventually;

rigged!(
    the_narrowest_rule_says_who_carries with RULES,
    traffic_is_shared_by_weight with WEIGHTS,
    traffic_leaves_a_provider_whose_receipts_stay_away with WEIGHTS,
    a_country_that_fails_is_left_alone_and_no_other,
    no_more_a_second_than_a_provider_may_have with PACED,
    a_record_says_why_each_provider_was_chosen,
);

const RULES: &[(&str, &str)] = &[(
    "OTPD_ROUTES__RULES",
    r#"[{"channel":"sms","country":"UZ","providers":["own"]},{"channel":"sms","prefix":"+99890","providers":["twilio"]}]"#,
)];
const WEIGHTS: &[(&str, &str)] = &[("OTPD_ROUTES__SMS", "twilio=80, own=20")];
const PACED: &[(&str, &str)] = &[("OTPD_PROVIDERS__TWILIO__MAX_PER_SECOND", "1")];

/// Sends to this number; who carried it and why.
async fn carried(rig: &Rig, number: &str) -> (String, String) {
    let id = rig.sms(number).await;
    let attempt = rig.dispatch_in(&id, "sent").await["attempts"][0].clone();
    let text = |name: &str| attempt[name].as_str().expect("text").to_owned();
    (text("provider"), text("chosen"))
}

fn us(nth: u32) -> String {
    format!("+1415555{}", 2100 + nth)
}

async fn the_narrowest_rule_says_who_carries(rig: Rig) {
    let by = |name: &str, why: &str| (name.to_owned(), why.to_owned());
    assert_eq!(carried(&rig, "+998711234567").await, by("own", "route sms UZ: the only provider"));
    assert_eq!(carried(&rig, "+998901234567").await, by("twilio", "route sms +99890: the only provider"));
    assert_eq!(carried(&rig, &us(0)).await, by("twilio", "route sms: number 1 in order"));
}

async fn traffic_is_shared_by_weight(rig: Rig) {
    let mut parts = [0, 0];
    for nth in 0..60 {
        let (provider, chosen) = carried(&rig, &us(nth)).await;
        let (place, weight) = if provider == "twilio" { (0, 80) } else { (1, 20) };
        parts[place] += 1;
        assert_eq!(chosen, format!("route sms: weight {weight} of 100"));
    }
    // Far from what 60 tries with a chance of 80 % make of it.
    assert!((30..60).contains(&parts[0]), "{parts:?}");
}

/// Waits until the worker shows this part of the SMS to the US for `twilio`.
async fn weight(rig: &Rig, expected: u16) {
    let line = format!("otpd_provider_weight{{route=\"sms\",country=\"US\",provider=\"twilio\"}} {expected}");
    eventually(&line, || async { rig.metrics().await.lines().any(|shown| shown == line).then_some(()) }).await;
}

async fn traffic_leaves_a_provider_whose_receipts_stay_away(rig: Rig) {
    rig.client.hold_time().await;
    let mut told = false;
    for nth in 0..60 {
        let id = rig.sms(&us(nth)).await;
        let provider = rig.dispatch_in(&id, "sent").await["provider"].clone();
        // One message arrives, so that it is known that receipts come.
        if provider == "twilio" && !told {
            let callback = format!("{PUBLIC_URL}/receipts/twilio?attempt={id}:1:1");
            twilio_receipt(&rig.client, &callback, AUTH_TOKEN, "SM1", "delivered").await.expect(204);
            rig.client.record_in(&id, &["delivered"]).await;
            told = true;
        }
    }
    rig.client.clock.advance(Duration::from_secs(32));
    weight(&rig, 70).await;
    rig.client.clock.advance(Duration::from_secs(20));
    rig.client.clock.advance(Duration::from_secs(11));
    weight(&rig, 60).await;
    // Nothing is late any more once those messages are old, and then it drifts back.
    rig.client.clock.advance(Duration::from_secs(200));
    for step in [70, 80] {
        eventually("calm", || async {
            rig.client.clock.advance(Duration::from_secs(61));
            let metrics = rig.metrics().await;
            let lines = metrics.lines().filter(|shown| shown.starts_with("otpd_provider_weight"));
            let shown = lines.filter_map(|shown| shown.split_once("provider=\"twilio\"} ")?.1.parse::<u16>().ok());
            // Another step may have been taken meanwhile.
            shown.into_iter().any(|weight| (step..=80).contains(&weight)).then_some(())
        })
        .await;
    }
}

async fn a_country_that_fails_is_left_alone_and_no_other(rig: Rig) {
    rig.client.hold_time().await;
    assert_eq!(carried(&rig, &us(0)).await.0, "twilio");
    // A sender that is not registered for one country.
    rig.twilio.answer(Answer::refused(400, 21606));
    for nth in 0..6 {
        let id = rig.sms(&format!("+99890123450{nth}")).await;
        let dispatch = rig.dispatch_in(&id, "sent").await;
        assert_eq!(attempts(&dispatch), ["twilio misconfigured_sender", "own sent"]);
    }
    rig.twilio.answer(Answer::queued());
    let (provider, chosen) = carried(&rig, "+998901234510").await;
    let why = "route sms: number 2 in order; twilio is left alone: misconfigured_sender";
    assert_eq!((provider.as_str(), chosen.as_str()), ("own", why));
    assert_eq!(carried(&rig, &us(1)).await.0, "twilio");
    let line = "otpd_provider_country_breaker{provider=\"twilio\",channel=\"sms\",country=\"UZ\"} 2";
    eventually(line, || async { rig.metrics().await.lines().any(|shown| shown == line).then_some(()) }).await;
    rig.client.clock.advance(Duration::from_secs(11));
    let probe = ("twilio".to_owned(), "route sms: number 1 in order; a probe".to_owned());
    assert_eq!(carried(&rig, "+998901234511").await, probe);
}

async fn no_more_a_second_than_a_provider_may_have(rig: Rig) {
    let began = std::time::Instant::now();
    let passed_over = ("own".to_owned(), "route sms: number 2 in order; twilio is full".to_owned());
    let mut chosen = Vec::new();
    // Where each takes longer than a second, none is passed over.
    while chosen.len() < 8 || !chosen.contains(&passed_over) {
        assert!(chosen.len() < 100, "{chosen:?}");
        chosen.push(carried(&rig, &us(u32::try_from(chosen.len()).expect("small"))).await);
    }
    let most = 1 + usize::try_from(began.elapsed().as_secs()).expect("seconds") + 1;
    assert!((1..=most).contains(&rig.twilio.count()), "{} of {most}", rig.twilio.count());
}

async fn a_record_says_why_each_provider_was_chosen(rig: Rig) {
    rig.twilio.answer(Answer::new(503, ""));
    let id = rig.sms(&us(0)).await;
    let dispatch = rig.dispatch_in(&id, "sent").await;
    let chosen: Vec<&Value> = dispatch["attempts"].as_array().expect("attempts").iter().map(|a| &a["chosen"]).collect();
    let expected = ["route sms: number 1 in order", "route sms: number 2 in order; twilio was left: unavailable"];
    assert_eq!(chosen, expected);
}
