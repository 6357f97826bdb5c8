//! Verifying: reasons, budgets, single use, record ids, and many guesses at once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::both_ways;
use crate::harness::Client;

both_ways!(
    every_reason_is_told,
    five_wrong_guesses_lock_until_expiry,
    a_thousand_guesses_at_once_cost_at_most_five_looks,
    of_two_hundred_right_answers_one_wins,
    record_ids_of_both_kinds_are_understood,
    a_canceled_verification_is_closed_and_not_sent,
    wrong_guesses_at_one_target_are_limited,
    wrong_guesses_from_one_address_are_limited_however_they_come,
);

fn refused(reason: &str) -> Value {
    json!({ "valid": false, "reason": reason, "attemptsLeft": 0 })
}

fn other_than(code: &str) -> &'static str {
    if code == "111111" { "222222" } else { "111111" }
}

async fn every_reason_is_told(client: Client) {
    assert_eq!(client.verify("nobody@example.com", "123456").await.expect(200).body, refused("No verification found"));
    client.send_to("ann@example.com").await;
    let code = client.code("ann@example.com").await;
    client.clock.advance(Duration::from_secs(301));
    assert_eq!(client.verify("ann@example.com", &code).await.body, refused("Code has expired"));

    let id = client.send_to("bob@example.com").await;
    let canceled = client.post("/api/v1/otp/cancel", &json!({ "recordId": id })).await.expect(200);
    assert_eq!(canceled.body, json!({ "canceled": true, "recordId": id }));
    assert_eq!(client.verify("bob@example.com", "123456").await.body, refused("Verification canceled"));
    let again = client.post("/api/v1/otp/cancel", &json!({ "recordId": id })).await.expect(200);
    assert_eq!(again.body, json!({ "canceled": false, "recordId": id, "reason": "canceled" }));
}

async fn five_wrong_guesses_lock_until_expiry(client: Client) {
    let id = client.send_to("ann@example.com").await;
    let code = client.code("ann@example.com").await;
    for left in (0..5).rev() {
        let answer = client.verify("ann@example.com", other_than(&code)).await.expect(200).body;
        assert_eq!(answer, json!({ "valid": false, "reason": "Invalid code", "attemptsLeft": left }));
    }
    assert_eq!(client.verify("ann@example.com", &code).await.body, refused("Too many attempts"));
    client.clock.advance(Duration::from_secs(31));
    let locked = client.send(&json!({ "target": "ann@example.com", "channel": "email" })).await.expect(429);
    assert_eq!(locked.body["code"], "too_many_attempts");
    let wait: u64 = locked.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((200..=270).contains(&wait), "until its expiry: {wait}");
    assert_eq!(client.record(&id).await["guesses"], 5);
}

async fn a_thousand_guesses_at_once_cost_at_most_five_looks(client: Client) {
    let id = client.send_to("ann@example.com").await;
    let code = client.code("ann@example.com").await;
    let guesses = (0..1000).map(|n| {
        let guess = format!("{n:06}");
        let guess = if guess == code { "999999".to_owned() } else { guess };
        let client = client.clone();
        async move { client.verify("ann@example.com", &guess).await.expect(200).body }
    });
    let answers = join_all(guesses).await;
    let compared = answers.iter().filter(|answer| answer["reason"] == "Invalid code").count();
    assert_eq!(compared, 5);
    assert!(answers.iter().all(|answer| answer["valid"] == false));
    assert_eq!(client.record(&id).await["guesses"], 5);
    assert_eq!(client.verify("ann@example.com", &code).await.body, refused("Too many attempts"));
}

async fn of_two_hundred_right_answers_one_wins(client: Client) {
    client.send_to("ann@example.com").await;
    let code = client.code("ann@example.com").await;
    let answers = join_all((0..200).map(|_| client.verify("ann@example.com", &code))).await;
    let won = answers.iter().filter(|answer| answer.body["valid"] == true).count();
    assert_eq!(won, 1);
}

async fn record_ids_of_both_kinds_are_understood(client: Client) {
    let body = json!({ "target": "ann@example.com", "channel": "email", "recordId": "order_1" });
    let id = client.send(&body).await.expect(202).text("recordId").to_owned();
    let code = client.code("ann@example.com").await;
    let verify = |target: &'static str, record: String, code: String| {
        let client = client.clone();
        async move {
            let body = json!({ "target": target, "code": code, "recordId": record });
            client.post("/api/v1/otp/verify", &body).await.expect(200).body
        }
    };
    let other = verify("ann@example.com", "order_2".to_owned(), code.clone()).await;
    assert_eq!(other, refused("No verification found"));
    let stranger = verify("eve@example.com", id.clone(), code.clone()).await;
    assert_eq!(stranger, refused("No verification found"));
    let wrong = verify("ann@example.com", "order_1".to_owned(), other_than(&code).to_owned()).await;
    assert_eq!(wrong["attemptsLeft"], 4);
    let right = verify("ANN@example.com", id.clone(), code.clone()).await;
    assert_eq!((&right["valid"], right["recordId"].as_str()), (&Value::Bool(true), Some(id.as_str())));
    assert_eq!(verify("ann@example.com", id, code).await, refused("Code already used"));
}

async fn a_canceled_verification_is_closed_and_not_sent(client: Client) {
    let body = json!({ "target": "throttled@sandbox.otpd", "channel": "email", "recordId": "order_9" });
    let id = client.send(&body).await.expect(202).text("recordId").to_owned();
    let canceled = client.post("/api/v1/otp/cancel", &json!({ "recordId": "order_9" })).await.expect(200);
    assert_eq!(canceled.text("recordId"), id);
    let record = client.record_in(&id, &["expired"]).await;
    assert_eq!((&record["state"], &record["dispatches"][0]["error"]), (&"canceled".into(), &"canceled".into()));
    assert_eq!(client.get("/api/v1/otp/token-info").await.body["tokensUsed"], 0);
}

async fn wrong_guesses_at_one_target_are_limited(client: Client) {
    client.hold_time().await;
    let target = "guess@sandbox.otpd";
    let mut compared = 0;
    for round in 0..6 {
        let body = json!({ "target": target, "channel": "email", "recordId": format!("r{round}") });
        client.send(&body).await.expect(202);
        for _ in 0..5 {
            let guess = json!({ "target": target, "code": "0000000", "recordId": format!("r{round}") });
            let answer = client.post("/api/v1/otp/verify", &guess).await;
            if answer.status == 429 {
                assert_eq!(answer.body["code"], "guesses_limited");
                assert!(answer.header("retry-after").is_some());
                assert_eq!(compared, 25);
                return;
            }
            assert_eq!(answer.body["reason"], "Invalid code");
            compared += 1;
        }
    }
    panic!("{compared} wrong guesses were compared");
}

/// All at once, at as many targets as they like, and to two APIs where there are two.
async fn wrong_guesses_from_one_address_are_limited_however_they_come(client: Client) {
    client.hold_time().await;
    let targets: Vec<_> = (0..40).map(|nth| format!("user{nth}@example.com")).collect();
    join_all(targets.iter().map(|target| client.send_to(target))).await;
    let guess = |target: &str, code: &str| {
        let guess = json!({ "target": target, "code": code, "clientIp": "192.0.2.1" });
        let client = client.clone();
        async move { client.post("/api/v1/otp/verify", &guess).await }
    };
    // Far longer than any code of this project: surely wrong.
    guess(&targets[0], "0000000000").await.expect(200);
    let guesses =
        targets.iter().flat_map(|target| ["1111111111", "2222222222", "3333333333"].map(|code| guess(target, code)));
    let answers = join_all(guesses).await;
    let compared = answers.iter().filter(|answer| answer.body["reason"] == "Invalid code").count();
    assert_eq!(compared, 59);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 120 - 59);
}
