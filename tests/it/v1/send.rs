//! Sending: resends, cooldown, limits, tokens, life and supersession.

use std::time::Duration;

use serde_json::{Value, json};

use crate::both_ways;
use crate::harness::embedded::Embedded;
use crate::harness::process::run;
use crate::harness::{Client, eventually};

both_ways!(
    a_resend_repeats_the_code_after_the_cooldown,
    limits_are_told_in_headers,
    five_sends_of_one_verification_are_the_most,
    a_short_remainder_starts_anew_and_carries_the_guesses_over,
    spelling_does_not_dodge_the_cooldown,
    another_record_id_opens_another_verification,
    magic_targets_are_free_of_limits,
    client_addresses_are_limited,
    a_failed_dispatch_gives_its_token_back,
    phones_in_national_form_need_a_country,
);

async fn a_resend_repeats_the_code_after_the_cooldown(client: Client) {
    let first = client.send_to("ann@example.com").await;
    let code = client.code("ann@example.com").await;
    let early = client.send(&json!({ "target": "ann@example.com", "channel": "email" })).await.expect(429);
    assert_eq!(early.body["code"], "cooldown");
    assert_eq!(early.text("message"), "Too many requests - Rate limit exceeded");
    let wait: u64 = early.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((1..=30).contains(&wait));

    client.clock.advance(Duration::from_secs(31));
    let again = client.send(&json!({ "target": "ann@example.com", "channel": "email" })).await.expect(202);
    assert_eq!(again.text("recordId"), first);
    let left = again.body["expiresIn"].as_u64().expect("seconds");
    assert!((1..=269).contains(&left), "the expiry does not move: {left}");
    let codes = eventually("a second message", || async {
        let messages = client.messages("ann@example.com").await;
        (messages.len() == 2).then(|| messages.iter().map(|message| message["code"].clone()).collect::<Vec<_>>())
    });
    assert_eq!(codes.await, [code.as_str(), code.as_str()]);
}

async fn limits_are_told_in_headers(client: Client) {
    let sent = client.send(&json!({ "target": "ann@example.com", "channel": "email" })).await.expect(202);
    assert_eq!(sent.header("ratelimit-limit"), Some("1"));
    assert_eq!(sent.header("ratelimit-remaining"), Some("0"));
    assert_eq!(sent.header("ratelimit-reset"), Some("30"));
}

async fn five_sends_of_one_verification_are_the_most(client: Client) {
    let target = "fail@sandbox.otpd";
    for _ in 0..5 {
        client.send(&json!({ "target": target, "channel": "email" })).await.expect(202);
    }
    let sixth = client.send(&json!({ "target": target, "channel": "email" })).await.expect(429);
    assert_eq!(sixth.body["code"], "too_many_sends");
}

async fn a_short_remainder_starts_anew_and_carries_the_guesses_over(client: Client) {
    let first = client.send_to("ann@example.com").await;
    let code = client.code("ann@example.com").await;
    let wrong = if code == "111111" { "222222" } else { "111111" };
    assert_eq!(client.verify("ann@example.com", wrong).await.body["attemptsLeft"], 4);

    client.clock.advance(Duration::from_secs(250));
    let second = client.send(&json!({ "target": "ann@example.com", "channel": "email" })).await.expect(202);
    assert_ne!(second.text("recordId"), first);
    assert_eq!(second.body["expiresIn"], 300);
    let old = client.verify("ann@example.com", &code).await.body;
    let new = eventually("the second message", || async {
        let messages = client.messages("ann@example.com").await;
        (messages.len() == 2).then(|| messages[0]["code"].as_str().expect("a code").to_owned())
    });
    let new = new.await;
    if code != new {
        assert_eq!(old, json!({ "valid": false, "reason": "Invalid code", "attemptsLeft": 3 }));
    }
    assert_eq!(client.record(&first).await["state"], "superseded");
    assert_eq!(client.verify("ann@example.com", &new).await.body["valid"], true);
}

async fn spelling_does_not_dodge_the_cooldown(client: Client) {
    client.send(&json!({ "target": "+1 415 555 2671", "channel": "sms" })).await.expect(202);
    for (target, country) in
        [("+14155552671", Value::Null), ("(415) 555-2671", "US".into()), ("4155552671", "+1".into())]
    {
        let body = json!({ "target": target, "channel": "sms", "countryCode": country });
        assert_eq!(client.send(&body).await.expect(429).body["code"], "cooldown", "{target}");
    }
    client.send_to("Ann@Example.com").await;
    client.send(&json!({ "target": "ann@EXAMPLE.com", "channel": "email" })).await.expect(429);
}

async fn another_record_id_opens_another_verification(client: Client) {
    let body = |record: &str| json!({ "target": "ann@example.com", "channel": "email", "recordId": record });
    let first = client.send(&body("a")).await.expect(202).text("recordId").to_owned();
    client.clock.advance(Duration::from_secs(31));
    let second = client.send(&body("b")).await.expect(202).text("recordId").to_owned();
    assert_ne!(first, second);
    client.clock.advance(Duration::from_secs(31));
    assert_eq!(client.send(&body("a")).await.expect(202).text("recordId"), first);
}

async fn magic_targets_are_free_of_limits(client: Client) {
    for record in 0..12 {
        let body = json!({ "target": "any@sandbox.otpd", "channel": "email", "recordId": record.to_string() });
        client.send(&body).await.expect(202);
    }
    let live = client.live().send(&json!({ "target": "+9990000001", "channel": "sms" })).await.expect(400);
    assert_eq!(live.text("message"), "target is a sandbox number: it needs a sandbox key");
}

async fn client_addresses_are_limited(client: Client) {
    client.hold_time().await;
    let send = |n: u32, ip: &'static str| {
        let client = client.clone();
        async move {
            let target = format!("user{n}@example.com");
            client.send(&json!({ "target": target, "channel": "email", "clientIp": ip })).await
        }
    };
    for n in 0..20 {
        send(n, "2001:db8::1").await.expect(202);
    }
    assert_eq!(send(20, "2001:db8::2").await.expect(429).body["code"], "ip_limited");
    send(21, "2001:db8:0:1::1").await.expect(202);
}

async fn a_failed_dispatch_gives_its_token_back(client: Client) {
    let id = client.send_to("rejected@sandbox.otpd").await;
    let record = client.record_in(&id, &["failed"]).await;
    assert_eq!(record["dispatches"][0]["error"], "rejected");
    assert_eq!(record["dispatches"][0]["attempts"][0]["cause"], "rejected");
    assert_eq!(client.get("/api/v1/otp/token-info").await.body["tokensUsed"], 0);
}

async fn phones_in_national_form_need_a_country(client: Client) {
    let body = json!({ "target": "09123456789", "channel": "whatsapp", "countryCode": "IR" });
    client.send(&body).await.expect(202);
    let code = client.code("+989123456789").await;
    let guess = json!({ "target": "09123456789", "countryCode": "98", "code": code });
    assert_eq!(client.post("/api/v1/otp/verify", &guess).await.expect(200).body["valid"], true);
}

#[tokio::test]
async fn tokens_run_out_and_come_again() {
    let otpd = Embedded::start().await;
    let data = otpd.data();
    let arguments = ["project", "create", "Small", "--tokens", "2", "--data", &data, "--json"];
    let (code, stdout, log) = run(&arguments, &otpd.environment);
    assert_eq!(code, 0, "{log}");
    let made: Value = serde_json::from_str(&stdout).expect("JSON");
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    let project = crate::harness::client::Project {
        id: text("project_id"),
        live_key: text("live_key"),
        sandbox_key: text("sandbox_key"),
    };
    let client = otpd.client().of(&project);
    client.send_to("a@example.com").await;
    client.send_to("b@example.com").await;
    let third = client.send(&json!({ "target": "c@example.com", "channel": "email" })).await.expect(400);
    assert_eq!(
        third.body,
        json!({ "statusCode": 400, "message": "Insufficient tokens", "code": "insufficient_tokens" })
    );
    let info = client.get("/api/v1/otp/token-info").await.body;
    let expected = json!({ "tokens": 2, "tokensUsed": 2, "remainingTokens": 0, "hasUnlimitedTokens": false });
    assert_eq!(info, expected);
    let update = ["project", "update", &project.id, "--tokens", "3", "--data", &data];
    assert_eq!(run(&update, &otpd.environment).0, 0);
    client.send_to("c@example.com").await;
}
