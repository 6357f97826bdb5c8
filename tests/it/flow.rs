//! The whole flow: send, read the message, verify, look back.

use serde_json::{Value, json};

use crate::both_ways;
use crate::harness::Client;

both_ways!(a_code_is_sent_read_and_verified, a_wrong_code_is_counted_and_the_right_one_still_wins);

async fn a_code_is_sent_read_and_verified(client: Client) {
    let target = "Ann@Example.com";
    let sent = client.send(&json!({ "target": target, "channel": "email", "recordId": "order_1" })).await.expect(202);
    assert_eq!(sent.text("message"), "OTP generated and queued");
    assert_eq!(sent.body["expiresIn"], 300);
    let id = sent.text("recordId").to_owned();

    let code = client.code(target).await;
    assert_eq!(code.len(), 6);
    let verified = client.verify("ann@example.com", &code).await.expect(200);
    assert_eq!(verified.body["valid"], true);
    assert_eq!(verified.text("recordId"), id);
    let again = client.verify(target, &code).await.expect(200);
    assert_eq!(again.body, json!({ "valid": false, "reason": "Code already used", "attemptsLeft": 0 }));

    let record = client.record_in(&id, &["delivered"]).await;
    assert_eq!(record["state"], "verified");
    assert_eq!(record["target"], target);
    assert_eq!(record["dispatches"][0]["attempts"][0]["provider"], "sandbox");
    let stats = client.get("/api/v1/otp/stats").await.expect(200).body;
    assert_eq!(stats["byChannel"], json!({ "email": 1 }));
    assert_eq!(stats["verificationRate"], "100.00");
    let records = client.get("/api/v1/otp/records?recordId=order_1&verified=true").await.expect(200).body;
    assert_eq!(records["pagination"], json!({ "page": 1, "limit": 10, "total": 1, "pages": 1 }));
    assert_eq!(records["records"][0]["recordId"], "order_1");
}

async fn a_wrong_code_is_counted_and_the_right_one_still_wins(client: Client) {
    client.send_to("bob@example.com").await;
    let code = client.code("bob@example.com").await;
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let answer = client.verify("bob@example.com", wrong).await.expect(200);
    assert_eq!(answer.body, json!({ "valid": false, "reason": "Invalid code", "attemptsLeft": 4 }));
    assert_eq!(client.verify("bob@example.com", &code).await.body["valid"], Value::Bool(true));
}
