//! The magic targets end as docs/sandbox.md says.

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::attempts;
use crate::both_ways;
use crate::harness::client::Client;
use crate::harness::{Embedded, eventually};

both_ways!(magic_targets_end_as_documented, magic_numbers_do_the_same);

async fn send(client: &Client, target: &str, ttl: u32) -> String {
    let channel = if target.starts_with('+') { "sms" } else { "email" };
    let body = json!({ "target": target, "channel": channel, "ttl": ttl });
    client.send(&body).await.expect(202).text("recordId").to_owned()
}

/// The dispatch, once so many attempts have ended.
async fn after_attempts(client: &Client, id: &str, count: usize) -> Value {
    eventually(&format!("{count} attempts of {id}"), || async {
        let dispatch = client.record(id).await["dispatches"][0].clone();
        let is_waiting = dispatch["status"] != "sending" && dispatch["attempts"].as_array()?.len() >= count;
        is_waiting.then_some(dispatch)
    })
    .await
}

async fn ended(client: &Client, id: &str, status: &str) -> Value {
    client.record_in(id, &[status]).await["dispatches"][0].clone()
}

async fn magic_targets_end_as_documented(client: Client) {
    let magic = |name: &str| format!("{name}@Sandbox.otpd");
    let rejected = send(&client, &magic("rejected"), 300).await;
    let slow = send(&client, &magic("slow"), 300).await;
    let late = send(&client, &magic("late"), 300).await;
    let lost = send(&client, &magic("lost"), 300).await;
    let dispatch = ended(&client, &rejected, "failed").await;
    assert_eq!(
        (dispatch["error"].as_str(), attempts(&dispatch)),
        (Some("rejected"), vec!["sandbox rejected".to_owned()])
    );
    assert!(client.messages(&magic("rejected")).await.is_empty());

    let dispatch = ended(&client, &slow, "delivered").await;
    assert_eq!(attempts(&dispatch), ["sandbox delivered"]);
    let dispatch = ended(&client, &late, "delivered").await;
    assert_eq!(dispatch["receipts"][0]["status"], "delivered");
    let time = |value: &Value| value.as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
    let waited = time(&dispatch["deliveredAt"]).duration_since(time(&dispatch["attempts"][0]["finishedAt"]));
    assert!(waited > jiff::SignedDuration::from_secs(4), "{dispatch}");
    let dispatch = ended(&client, &lost, "sent").await;
    assert_eq!((&dispatch["receipts"], &dispatch["deliveredAt"]), (&json!([]), &Value::Null));
    assert_eq!(client.code(&magic("late")).await.len(), 6);
    assert_eq!(client.get("/api/v1/otp/token-info").await.body["tokensUsed"], 3, "rejected gave its token back");
}

async fn magic_numbers_do_the_same(client: Client) {
    client.hold_time().await;
    let throttled = send(&client, "+9990000002", 10).await;
    let misconfigured = send(&client, "+9990000006", 10).await;
    let fail2 = send(&client, "+9990000005", 300).await;
    for id in [&throttled, &misconfigured, &fail2] {
        after_attempts(&client, id, 1).await;
    }
    client.clock.advance(Duration::from_secs(3));
    for id in [&throttled, &misconfigured, &fail2] {
        after_attempts(&client, id, 2).await;
    }
    client.clock.advance(Duration::from_secs(9));
    let dispatch = ended(&client, &fail2, "delivered").await;
    assert_eq!(attempts(&dispatch), ["sandbox unavailable", "sandbox unavailable", "sandbox delivered"]);
    assert_eq!(client.code("+9990000005").await.len(), 6);
    for (id, cause) in [(&throttled, "throttled"), (&misconfigured, "misconfigured_credentials")] {
        let dispatch = ended(&client, id, "expired").await;
        assert_eq!(dispatch["error"], cause);
        assert!(attempts(&dispatch).iter().all(|attempt| *attempt == format!("sandbox {cause}")), "{dispatch}");
    }
    assert_eq!(client.get("/api/v1/otp/token-info").await.body["tokensUsed"], 1);
}

#[tokio::test]
async fn a_timeout_is_tried_once_more_and_then_given_up() {
    let otpd = Embedded::start_with(&[("OTPD_WORKER__PROVIDER_TIMEOUT_MS", "300")]).await;
    let client = otpd.client();
    let id = send(&client, "timeout@sandbox.otpd", 300).await;
    after_attempts(&client, &id, 1).await;
    client.clock.advance(Duration::from_secs(3));
    let dispatch = ended(&client, &id, "failed").await;
    assert_eq!(dispatch["error"], "no answer");
    assert_eq!(attempts(&dispatch), ["sandbox ambiguous", "sandbox ambiguous"]);
    assert_eq!(client.get("/api/v1/otp/token-info").await.body["tokensUsed"], 0);
}
