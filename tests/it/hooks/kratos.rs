//! Kratos's courier: keys, channels, lives, what comes again and what has no code.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{ANN, KRATOS, NUMBER, courier, open, records, tokens_used};
use crate::harness::client::reply;
use crate::harness::{Client, Embedded, Reply, eventually};

/// A message as docs/integrations/kratos.jsonnet makes it.
fn message(recipient: &str, template: &str, code: &str) -> Value {
    json!({ "recipient": recipient, "template_type": template, "code": code, "expires_in_minutes": 5 })
}

/// Kratos names no project.
async fn call(client: &Client, body: &Value) -> Reply {
    reply(client.http.post(client.url(KRATOS)).header("x-api-key", &client.key).json(body)).await
}

#[tokio::test]
async fn codes_go_by_sms_and_by_mail_as_they_were_given() {
    let otpd = Embedded::start().await;
    let client = courier(&otpd, false);
    for (recipient, code, channel) in [(NUMBER, "001122", "sms"), ("Ann@example.com", "003344", "email")] {
        let taken = call(&client, &message(recipient, "login_code_valid", code)).await.expect(200);
        assert_eq!(taken.body, json!({ "queued": true }));
        assert_eq!(client.code(recipient).await, code);
        let record = &records(&client).await[0];
        assert_eq!((&record["channel"], &record["target"]), (&json!(channel), &json!(recipient)));
        assert_eq!(record["recordId"], "door:kratos:login_code_valid");
    }
}

#[tokio::test]
async fn the_same_message_again_is_not_sent_again() {
    let otpd = Embedded::start().await;
    let client = courier(&otpd, false);
    for _ in 0..3 {
        let taken = call(&client, &message(ANN, "login_code_valid", "001122")).await.expect(200);
        assert_eq!(taken.body, json!({ "queued": true }));
    }
    client.code(ANN).await;
    assert_eq!((client.messages(ANN).await.len(), tokens_used(&client).await), (1, json!(1)));
    let other = call(&client, &message(ANN, "login_code_valid", "003344")).await.expect(429);
    assert_eq!(other.body["code"], "cooldown");
    assert!(other.header("retry-after").is_some() && other.header("ratelimit-limit").is_some());
    client.clock.advance(Duration::from_secs(31));
    call(&client, &message(ANN, "login_code_valid", "003344")).await.expect(200);
    eventually("the second code", || async { (client.code(ANN).await == "003344").then_some(()) }).await;
}

#[tokio::test]
async fn a_code_lives_as_long_as_kratos_says_within_what_is_allowed() {
    let otpd = Embedded::start().await;
    let client = courier(&otpd, false);
    let minutes = [(json!(0), 10), (json!(2), 120), (json!(10), 600), (json!(1440), 600), (Value::Null, 300)];
    for (n, (minutes, seconds)) in minutes.into_iter().enumerate() {
        let mut body = message(&format!("user{n}@example.com"), "login_code_valid", "001122");
        body["expires_in_minutes"] = minutes;
        call(&client, &body).await.expect(200);
        let record = &records(&client).await[0];
        let at = |field: &str| record[field].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
        assert_eq!(at("expiresAt").duration_since(at("createdAt")).as_secs().abs_diff(seconds), 0, "{record}");
    }
}

#[tokio::test]
async fn only_keys_with_codes_of_their_own_may() {
    let otpd = Embedded::start().await;
    let client = courier(&otpd, false);
    let body = message(ANN, "login_code_valid", "001122");
    let forbidden = call(&otpd.client().live(), &body).await.expect(403);
    assert_eq!(forbidden.body["code"], "own_codes_not_allowed");
    for key in ["", "otpd_live_unknown", &"x".repeat(2000)] {
        assert_eq!(call(&client.with_key(key), &body).await.expect(401).body["code"], "invalid_api_key");
    }
    let keyless = client.http.post(client.url(KRATOS)).json(&body);
    assert_eq!(reply(keyless).await.expect(401).text("message"), "Invalid API key");
    assert_eq!(records(&client).await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_has_no_code_is_taken_and_not_sent() {
    let otpd = Embedded::start().await;
    let client = courier(&otpd, false);
    for (template, code) in [
        ("verifiable_address_changed", Value::Null),
        ("recovery_valid", json!("")),
        ("verification_code_invalid", Value::Null),
    ] {
        let body = json!({ "recipient": ANN, "template_type": template, "code": code });
        assert_eq!(call(&client, &body).await.expect(200).body, json!({ "queued": false }), "{template}");
    }
    otpd.process.says("verifiable_address_changed").await;
    assert_eq!(records(&client).await, Vec::<Value>::new());
    // The body that Kratos has of its own, which knows no such field.
    let own = json!({ "recipient": NUMBER, "template_type": "login_code_valid", "to": NUMBER, "body": "Your code is 001122" });
    let refused = call(&client, &own).await.expect(400);
    assert!(refused.text("message").contains("docs/integrations/kratos.jsonnet"), "{}", refused.body);
}

#[tokio::test]
async fn messages_that_are_none_are_refused_by_name() {
    let otpd = open(&[]).await;
    let client = courier(&otpd, false);
    for (field, value, words) in [
        ("recipient", json!(""), "recipient is required"),
        ("recipient", json!("4155552671"), "recipient must be an e-mail address or a phone number in E.164"),
        ("recipient", json!("+1415"), "recipient must be"),
        ("recipient", json!("ann@"), "recipient must be"),
        ("recipient", json!("+99900000001"), "recipient must be"),
        ("recipient", json!("any@sandbox.otpd"), "recipient must be"),
        ("template_type", json!("Login"), "template_type must be 1 to 64"),
        ("template_type", Value::Null, "template_type is required"),
        ("template_type", json!("a".repeat(65)), "template_type must be"),
        ("code", json!(1122), "code must be a string"),
        ("code", json!("12 34"), "code must be 4 to 10 digits"),
        ("expires_in_minutes", json!("5"), "expires_in_minutes must be a whole number"),
        ("expires_in_minutes", json!(-1), "expires_in_minutes must be a whole number"),
        ("expires_in_minutes", json!(1.5), "expires_in_minutes must be a whole number"),
    ] {
        let mut body = message(NUMBER, "login_code_valid", "001122");
        body[field] = value;
        let refused = call(&client, &body).await.expect(400);
        assert!(refused.text("message").starts_with(words), "{}", refused.body);
    }
    reply(client.http.post(client.url(KRATOS)).json(&json!({ "x": "x".repeat(17_000) }))).await.expect(413);
    reply(client.http.post(client.url(KRATOS)).body("code=1")).await.expect(415);
    reply(client.http.post(client.url(KRATOS)).header("content-type", "application/json")).await.expect(400);
    reply(client.request(Method::GET, KRATOS)).await.expect(405);
}
