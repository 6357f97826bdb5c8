//! A sender of one's own behind the webhook provider: signatures both ways, the contract of its body, its receipts.

use serde_json::{Value, json};

use super::rig::{PUBLIC_URL, Rig, attempts, rigged};
use super::vendor::{Answer, SECRET, own_receipt, signature};

rigged!(
    it_is_sent_a_signed_message,
    its_receipts_are_signed_the_same_way,
    its_words_decide,
    a_repeated_dispatch_has_the_same_id,
);

const ANN: &str = "ann@example.com";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn it_is_sent_a_signed_message(rig: Rig) {
    let id = rig.client.send_to("Ann@Example.com").await;
    let asked = rig.own.nth(1).await;
    let (webhook_id, timestamp) = (asked.header("webhook-id"), asked.header("webhook-timestamp"));
    assert_eq!(asked.header("webhook-signature"), signature(SECRET, webhook_id, timestamp, &asked.body));
    assert_eq!(webhook_id, format!("{id}:1"));
    let body = asked.json();
    for (field, expected) in [
        ("id", json!(webhook_id)),
        ("type", json!("otp.send")),
        ("attempt", json!(format!("{id}:1:1"))),
        ("project", json!(rig.client.project.id)),
        ("channel", json!("email")),
        ("target", json!("Ann@Example.com")),
        ("locale", json!("en")),
        ("callback", json!(format!("{PUBLIC_URL}/receipts/own?attempt={id}:1:1"))),
    ] {
        assert_eq!(body[field], expected, "{field}");
    }
    let code = body["code"].as_str().expect("a code");
    for field in ["text", "subject", "html"] {
        assert!(body[field].as_str().expect("text").contains(code), "{field}");
    }
    assert!((200..=300).contains(&body["expires_in"].as_u64().expect("seconds")));
    let sent: jiff::Timestamp = body["timestamp"].as_str().expect("a time").parse().expect("a time");
    assert_eq!(sent.as_second().to_string(), timestamp);
    let dispatch = rig.dispatch_in(&id, "sent").await;
    assert_eq!(dispatch["attempts"][0]["messageId"], "own-1");
    assert_eq!(rig.client.verify(ANN, code).await.body["valid"], true);
}

async fn its_receipts_are_signed_the_same_way(rig: Rig) {
    let id = rig.client.send_to(ANN).await;
    let asked = rig.own.nth(1).await;
    rig.dispatch_in(&id, "sent").await;
    let now = asked.header("webhook-timestamp");
    let old = (now.parse::<i64>().expect("seconds") - 400).to_string();
    let delivered = json!({ "message_id": "own-1", "status": "delivered", "detail": "at ann@example.com, 482913" });
    for (timestamp, secret) in [(now, OTHER), (&old, SECRET)] {
        let refused = own_receipt(&rig.client, "/receipts/own", timestamp, secret, &delivered).await;
        assert_eq!((refused.status, refused.text("code")), (401, "invalid_signature"));
    }
    assert_eq!(rig.dispatch_in(&id, "sent").await["receipts"], json!([]));
    for bad in [json!({}), json!({ "message_id": "own-1", "status": "lost" }), json!([])] {
        assert_eq!(own_receipt(&rig.client, "/receipts/own", now, SECRET, &bad).await.status, 400, "{bad}");
    }
    let unknown = json!({ "message_id": "nobody's", "status": "delivered" });
    assert_eq!(own_receipt(&rig.client, "/receipts/own", now, SECRET, &unknown).await.status, 204);
    assert_eq!(rig.dispatch_in(&id, "sent").await["receipts"], json!([]));

    assert_eq!(own_receipt(&rig.client, "/receipts/own", now, SECRET, &delivered).await.status, 204);
    let dispatch = rig.dispatch_in(&id, "delivered").await;
    assert_eq!(dispatch["receipts"][0]["detail"], "at *** ***");
}

async fn its_words_decide(rig: Rig) {
    let send = async |answer: Answer, address: &str, status: &str| {
        rig.own.answer(answer);
        let id = rig.client.send_to(address).await;
        rig.dispatch_in(&id, status).await
    };
    let delivered = Answer::new(200, r#"{"message_id":"x","status":"delivered"}"#);
    assert_eq!(attempts(&send(delivered, "a@example.com", "delivered").await), ["own delivered"]);
    let dispatch = send(Answer::new(204, ""), "b@example.com", "sent").await;
    let attempt = dispatch["attempts"][0]["messageId"].as_str().expect("an id");
    assert!(attempt.ends_with(":1:1"), "a message without a name goes by its attempt: {attempt}");
    let refused =
        Answer::new(400, r#"{"error":{"class":"recipient","code":"E7","message":"c@example.com is unknown"}}"#);
    let dispatch = send(refused, "c@example.com", "failed").await;
    assert_eq!(attempts(&dispatch), ["own rejected"]);
    assert_eq!(dispatch["attempts"][0]["detail"], "400: E7: *** is unknown");
    let dispatch = send(Answer::new(404, "nothing here"), "d@example.com", "queued").await;
    let dispatch = rig.after_attempts(&id_of(&dispatch), 1).await;
    assert_eq!(attempts(&dispatch)[0], "own misconfigured_endpoint");
}

fn id_of(dispatch: &Value) -> String {
    dispatch["id"].as_str().expect("an id").split(':').next().expect("an id").to_owned()
}

async fn a_repeated_dispatch_has_the_same_id(rig: Rig) {
    rig.own.answer(Answer::new(503, ""));
    let id = rig.client.send_to(ANN).await;
    rig.after_attempts(&id, 1).await;
    rig.own.answer(Answer::taken());
    rig.client.clock.advance(std::time::Duration::from_secs(3));
    rig.dispatch_in(&id, "sent").await;
    let asked = rig.own.asked();
    assert_eq!(asked[0].header("webhook-id"), asked[1].header("webhook-id"));
    assert_eq!(asked[0].json()["code"], asked[1].json()["code"]);
    assert_ne!(asked[0].json()["attempt"], asked[1].json()["attempt"]);
}
