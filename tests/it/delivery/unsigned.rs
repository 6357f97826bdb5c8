//! A vendor that signs no receipts: they come to an address that holds a secret, and to no other.

use serde_json::{Value, json};

use super::rig::{PUBLIC_URL, attempts};
use super::vendor::{Answer, Vendor, path};
use crate::harness::Embedded;
use crate::harness::client::{Client, reply};

const SECRET: &str = "0123456789abcdefghij";
const PENDING: &str = r#"{"messages":[{"messageId":"ib-{n}","status":{"groupName":"PENDING"}}]}"#;

async fn started() -> (Embedded, Vendor) {
    let vendor = Vendor::start(Answer::new(200, PENDING));
    let settings = [
        ("OTPD_SERVER__PUBLIC_URL", PUBLIC_URL),
        ("OTPD_PROVIDERS__INFOBIP__BASE_URL", vendor.url.as_str()),
        ("OTPD_PROVIDERS__INFOBIP__API_KEY", "k3y"),
        ("OTPD_PROVIDERS__INFOBIP__FROM", "Shop"),
        ("OTPD_PROVIDERS__INFOBIP__RECEIPT_SECRET", SECRET),
    ];
    (Embedded::start_with(&settings).await, vendor)
}

async fn posted(client: &Client, path: &str, body: &Value) -> u16 {
    reply(client.http.post(client.url(path)).json(body)).await.status
}

fn delivered(id: &str) -> Value {
    json!({"results": [{"messageId": id, "status": {"groupName": "DELIVERED"}}]})
}

#[tokio::test]
async fn only_the_address_that_the_vendor_was_told_takes_receipts() {
    let (otpd, vendor) = started().await;
    let client = otpd.client().live();
    let sent = client.send(&json!({"target": "+14155552671", "channel": "sms"})).await.expect(202);
    let id = sent.text("recordId").to_owned();
    let webhooks = vendor.nth(1).await.json()["messages"][0]["webhooks"].clone();
    let callback = webhooks["delivery"]["url"].as_str().expect("an address").to_owned();
    assert_eq!(callback, format!("{PUBLIC_URL}/receipts/infobip/{SECRET}?attempt={id}:1:1"));
    assert_eq!(webhooks["callbackData"], format!("{id}:1:1"));
    let before = client.record_in(&id, &["sent"]).await;

    let elsewhere = callback.replace(SECRET, "0123456789abcdefghiJ");
    for wrong in
        [path(&elsewhere), path(&callback).replace(&format!("/{SECRET}"), ""), "/receipts/infobip/x".to_owned()]
    {
        assert_eq!(posted(&client, &wrong, &delivered("ib-1")).await, 401, "{wrong}");
    }
    assert_eq!(posted(&client, &path(&callback), &json!({})).await, 400);
    assert_eq!(posted(&client, &format!("/receipts/nobody/{SECRET}"), &delivered("ib-1")).await, 404);
    assert_eq!(client.record(&id).await, before);

    assert_eq!(posted(&client, &path(&callback), &delivered("ib-1")).await, 204);
    let record = client.record_in(&id, &["delivered"]).await;
    assert_eq!(attempts(&record["dispatches"][0]), ["infobip delivered"]);
}

#[tokio::test]
async fn a_batch_moves_all_of_its_messages() {
    let (otpd, vendor) = started().await;
    let client = otpd.client().live();
    let mut results = Vec::new();
    let mut ids = Vec::new();
    for (n, number) in ["+14155552671", "+14155552672"].into_iter().enumerate() {
        let sent = client.send(&json!({"target": number, "channel": "sms"})).await.expect(202);
        ids.push(sent.text("recordId").to_owned());
        let webhooks = vendor.nth(n + 1).await.json()["messages"][0]["webhooks"].clone();
        results.push(json!({"messageId": format!("ib-{}", n + 1), "callbackData": webhooks["callbackData"],
                            "status": {"groupName": "DELIVERED"}}));
    }
    let batch = json!({ "results": results });
    assert_eq!(posted(&client, &format!("/receipts/infobip/{SECRET}"), &batch).await, 204);
    for id in ids {
        client.record_in(&id, &["delivered"]).await;
    }
}
