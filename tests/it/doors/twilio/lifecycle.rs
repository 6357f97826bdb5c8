//! A verification from its first send to its end.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{Account, judged, refused};
use crate::doors::rig::{Rig, number, other_than, rigged};

const ANN: &str = "+14155552671";

rigged!(
    a_code_goes_out_and_is_right_once,
    a_resend_repeats_sid_and_code,
    a_send_late_in_its_life_supersedes,
    a_code_lives_for_ten_minutes,
    canceled_and_approved_ones_are_gone,
    five_wrong_codes_are_all_until_it_expires,
    a_check_by_sid_counts_as_one_by_number,
    of_twenty_right_codes_one_wins,
);

async fn a_code_goes_out_and_is_right_once(rig: Rig) {
    let account = Account::live(&rig);
    let sid = account.send_to(ANN).await;
    let code = rig.code(ANN).await;
    let wrong = account.check(ANN, &other_than(&code)).await;
    judged(&wrong, "pending");
    let right = account.check("+1 (415) 555-2671", &code).await;
    judged(&right, "approved");
    assert_eq!((right.text("sid"), right.text("to"), right.text("channel")), (sid.as_str(), ANN, "sms"));
    refused(&account.check(ANN, &code).await, 404, 20404);
    refused(&account.fetch(&sid).await, 404, 20404);
    refused(&account.update(&sid, "canceled").await, 404, 20404);
}

async fn a_resend_repeats_sid_and_code(rig: Rig) {
    let account = Account::live(&rig);
    let first = account.create(ANN, "sms").await.expect(201);
    let early = account.create("+1 415 555 2671", "sms").await;
    refused(&early, 429, 60203);
    let wait: u64 = early.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
    rig.client.clock.advance(Duration::from_secs(31));
    let second = account.create(ANN, "sms").await.expect(201);
    assert_eq!(second.body["sid"], first.body["sid"]);
    assert_eq!(second.body["date_created"], first.body["date_created"]);
    let sends = second.body["send_code_attempts"].as_array().expect("sends");
    assert_eq!((sends.len(), &sends[0]), (2, &first.body["send_code_attempts"][0]));
    assert_ne!(sends[0]["attempt_sid"], sends[1]["attempt_sid"]);
    assert_eq!((&sends[1]["time"], &sends[1]["channel"]), (&second.body["date_updated"], &json!("SMS")));
    assert_eq!(account.fetch(ANN).await.expect(200).body, second.body);
    let codes = rig.codes(ANN, 2).await;
    assert_eq!(codes[0], codes[1]);
    judged(&account.check(ANN, &codes[0]).await, "approved");
}

async fn a_send_late_in_its_life_supersedes(rig: Rig) {
    let account = Account::live(&rig);
    let first = account.send_to(ANN).await;
    rig.client.clock.advance(Duration::from_secs(550));
    let second = account.send_to(ANN).await;
    assert_ne!(first, second);
    refused(&account.fetch(&first).await, 404, 20404);
    assert_eq!(account.fetch(ANN).await.expect(200).text("sid"), second);
}

async fn a_code_lives_for_ten_minutes(rig: Rig) {
    let account = Account::live(&rig);
    let sid = account.send_to(ANN).await;
    let code = rig.code(ANN).await;
    rig.client.clock.advance(Duration::from_secs(570));
    judged(&account.check(ANN, &other_than(&code)).await, "pending");
    rig.client.clock.advance(Duration::from_secs(31));
    for gone in [
        account.check(ANN, &code).await,
        account.check_sid(&sid, &code).await,
        account.fetch(&sid).await,
        account.fetch(ANN).await,
        account.update(&sid, "approved").await,
    ] {
        refused(&gone, 404, 20404);
    }
    assert_ne!(account.send_to(ANN).await, sid);
}

async fn canceled_and_approved_ones_are_gone(rig: Rig) {
    let account = Account::live(&rig);
    for (nth, status) in ["canceled", "approved"].into_iter().enumerate() {
        let to = number(nth);
        let pending = account.create(&to, "sms").await.expect(201).body;
        let code = rig.code(&to).await;
        refused(&account.update(&to, "deleted").await, 400, 60200);
        let mut closed = account.update(&to, status).await.expect(200).body;
        assert_eq!((&closed["status"], &closed["valid"]), (&json!(status), &json!(status == "approved")));
        for changed in ["status", "valid", "date_updated"] {
            closed[changed] = pending[changed].clone();
        }
        assert_eq!(closed, pending);
        let sid = pending["sid"].as_str().expect("a sid");
        for gone in [
            account.update(sid, status).await,
            account.fetch(sid).await,
            account.fetch(&to).await,
            account.check(&to, &code).await,
            account.check_sid(sid, &code).await,
        ] {
            refused(&gone, 404, 20404);
        }
    }
}

async fn five_wrong_codes_are_all_until_it_expires(rig: Rig) {
    let account = Account::live(&rig);
    let sid = account.send_to(ANN).await;
    let code = rig.code(ANN).await;
    for _ in 0..5 {
        judged(&account.check(ANN, &other_than(&code)).await, "pending");
    }
    for check in [account.check(ANN, &code).await, account.check_sid(&sid, &code).await] {
        refused(&check, 429, 60202);
        let wait: u64 = check.header("retry-after").expect("retry-after").parse().expect("seconds");
        assert!((500..=600).contains(&wait), "until it expires: {wait}");
    }
    for named in [sid.as_str(), ANN] {
        let used_up = account.fetch(named).await.expect(200);
        assert_eq!((used_up.text("status"), &used_up.body["valid"]), ("max_attempts_reached", &json!(false)));
        refused(&account.update(named, "approved").await, 404, 20404);
    }
    rig.client.clock.advance(Duration::from_secs(31));
    refused(&account.create(ANN, "sms").await, 429, 60202);
    rig.client.clock.advance(Duration::from_secs(570));
    refused(&account.fetch(&sid).await, 404, 20404);
    refused(&account.check(ANN, &code).await, 404, 20404);
}

async fn a_check_by_sid_counts_as_one_by_number(rig: Rig) {
    let account = Account::live(&rig);
    // The address is delivered to as it was written, and looked for in its canonical form.
    for (to, channel) in [(ANN, "sms"), ("Zoë@BÜCHER.example", "email")] {
        let sid = account.create(to, channel).await.expect(201).text("sid").to_owned();
        let code = rig.code(to).await;
        for _ in 0..2 {
            judged(&account.check(to, &other_than(&code)).await, "pending");
        }
        for _ in 0..3 {
            judged(&account.check_sid(&sid, &other_than(&code)).await, "pending");
        }
        refused(&account.check_sid(&sid, &code).await, 429, 60202);
        refused(&account.check(to, &code).await, 429, 60202);
    }
    let sid = account.create("Ann.M@Example.com", "email").await.expect(201).text("sid").to_owned();
    let code = rig.code("Ann.M@Example.com").await;
    let both = [("To", ANN), ("VerificationSid", &sid), ("Code", &code)];
    refused(&account.post("VerificationCheck", &both).await, 404, 20404);
    let right = account.check_sid(&sid, &code).await;
    judged(&right, "approved");
    assert_eq!((right.text("to"), right.text("channel")), ("Ann.M@Example.com", "email"));
}

async fn of_twenty_right_codes_one_wins(rig: Rig) {
    let account = Account::live(&rig);
    let sid = account.send_to(ANN).await;
    let code = rig.code(ANN).await;
    let by_number = (0..10).map(|_| account.check(ANN, &code));
    let by_sid = (0..10).map(|_| account.check_sid(&sid, &code));
    let (mut replies, more) = (join_all(by_number).await, join_all(by_sid).await);
    replies.extend(more);
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    // Who waits behind more guesses than there can be is told so at once.
    assert!(replies.iter().all(|reply| [201, 404, 429].contains(&reply.status)));
}
