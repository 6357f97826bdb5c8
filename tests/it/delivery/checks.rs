//! Checks while a worker runs: a provider that would refuse every message is left alone before one goes there, and is back
//! as soon as its check says so.

use std::time::Duration;

use super::rig::{FAST, Rig, attempts, rigged, vendors};
use super::vendor::Answer;

const SOON: &[(&str, &str)] = &[("OTPD_WORKER__PROVIDER_CHECK_EVERY_S", "1")];
const BROKE: &str = "a provider is broken, says its check";
const WORKS: &str = "a provider works again, says its check";

rigged!(
    spent_money_moves_messages_on_before_one_is_lost with SOON,
    one_sender_refused_is_no_reason_to_leave_a_vendor with SOON,
);

fn numbers() -> impl FnMut() -> String {
    let mut numbers = 2671..;
    move || format!("+1415555{}", numbers.next().expect("a number"))
}

async fn a_vendor_that_is_broken_at_the_start_gets_no_message(rig: Rig) {
    let mut next = numbers();
    rig.breaker("twilio", 2).await;
    rig.metric("otpd_provider_up", "twilio", "0").await;
    rig.metric("otpd_provider_up", "own", "1").await;
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["own sent"]);
    assert_eq!((rig.twilio.count(), rig.own.count()), (0, 1));

    rig.twilio.more_checks(3).await;
    rig.says(BROKE).await;
    assert_eq!((rig.said(BROKE), rig.said(WORKS)), (1, 0), "once, not each time");
    assert_eq!(rig.said("the provider refused the credentials: check them"), 1);
    // Checks are the probes: however long it takes, no message is.
    rig.client.clock.advance(Duration::from_secs(120));
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["own sent"]);

    rig.twilio.answer_checks(Answer::account("12.50"));
    rig.breaker("twilio", 0).await;
    rig.metric("otpd_provider_up", "twilio", "1").await;
    rig.metric("otpd_provider_balance", "twilio", "12.5").await;
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio sent"]);
    rig.says(WORKS).await;
    assert_eq!((rig.said(BROKE), rig.said(WORKS)), (1, 1));
}

#[tokio::test]
async fn a_vendor_that_is_broken_at_the_start_gets_no_message_embedded() {
    let (twilio, own) = vendors();
    twilio.answer_checks(Answer::refused(401, 20003));
    a_vendor_that_is_broken_at_the_start_gets_no_message(Rig::embedded_with((twilio, own), SOON).await).await;
}

#[cfg(feature = "server-tests")]
#[tokio::test]
async fn a_vendor_that_is_broken_at_the_start_gets_no_message_distributed() {
    let (twilio, own) = vendors();
    twilio.answer_checks(Answer::refused(401, 20003));
    a_vendor_that_is_broken_at_the_start_gets_no_message(Rig::distributed_with((twilio, own), SOON).await).await;
}

async fn spent_money_moves_messages_on_before_one_is_lost(rig: Rig) {
    let mut next = numbers();
    rig.metric("otpd_provider_balance", "twilio", "12.5").await;
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio sent"]);
    rig.twilio.answer_checks(Answer::account("0.00"));
    rig.breaker("twilio", 2).await;
    rig.metric("otpd_provider_balance", "twilio", "0").await;
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["own sent"]);
    let advice = "the provider account is out of funds: top it up";
    rig.says(advice).await;
    assert_eq!((rig.twilio.count(), rig.said(advice)), (1, 1));
}

/// An answer that is none of Twilio's says that the address may be wrong, which messages find out for themselves.
async fn one_sender_refused_is_no_reason_to_leave_a_vendor(rig: Rig) {
    rig.metric("otpd_provider_up", "twilio", "1").await;
    rig.twilio.answer_checks(Answer::refused(404, 20404));
    rig.metric("otpd_provider_up", "twilio", "0").await;
    rig.breaker("twilio", 0).await;
    let id = rig.sms(&numbers()()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio sent"]);
}

#[tokio::test]
async fn nobody_waits_for_a_check_that_is_not_answered() {
    let (twilio, own) = vendors();
    twilio.hold_checks();
    let rig = Rig::embedded_with((twilio, own), FAST).await;
    let id = rig.sms(&numbers()()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio sent"]);
    rig.metric("otpd_provider_up", "twilio", "0").await;
    rig.breaker("twilio", 0).await;
    rig.says("nothing answers").await;
    assert_eq!(rig.said("nothing answers"), 1);
}

/// A key that may send but not see the balance is refused by the check alone.
#[tokio::test]
async fn the_only_vendor_is_tried_in_spite_of_its_check_and_then_trusted() {
    let mut next = numbers();
    let (twilio, own) = vendors();
    twilio.answer_checks(Answer::refused(401, 20003));
    let settings = [SOON, &[("OTPD_ROUTES__SMS", "twilio")]].concat();
    let rig = Rig::embedded_with((twilio, own), &settings).await;
    rig.breaker("twilio", 2).await;
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio sent"]);
    rig.breaker("twilio", 0).await;
    rig.twilio.more_checks(3).await;
    rig.breaker("twilio", 0).await;
    let id = rig.sms(&next()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio sent"]);
    rig.says(BROKE).await;
    assert_eq!(rig.said(BROKE), 1);
}

#[tokio::test]
async fn checks_can_be_switched_off() {
    let rig = Rig::embedded(&[("OTPD_WORKER__PROVIDER_CHECK_EVERY_S", "0")]).await;
    let id = rig.sms(&numbers()()).await;
    assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), ["twilio sent"]);
    rig.breaker("twilio", 0).await;
    assert_eq!((rig.twilio.checks().len(), rig.own.checks().len()), (0, 0));
    assert!(!rig.metrics().await.contains("otpd_provider_up{"));
}
