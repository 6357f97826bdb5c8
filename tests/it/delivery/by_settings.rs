//! A vendor that is made of settings alone, with receipts by GET.

use serde_json::json;

use super::rig::{PUBLIC_URL, attempts};
use super::vendor::{Answer, Vendor, path};
use crate::harness::client::{Client, reply};
use crate::harness::{Embedded, eventually};

const SECRET: &str = "0123456789abcdefghij";

async fn started() -> (Embedded, Vendor) {
    let vendor = Vendor::start(Answer::new(200, r#"{"sms":[{"id":{n}}]}"#));
    let url = format!("{}/{{{{ secrets.account }}}}/send", vendor.url);
    let settings = [
        ("OTPD_SERVER__PUBLIC_URL", PUBLIC_URL),
        ("OTPD_PROVIDERS__LOCAL__KIND", "http"),
        ("OTPD_PROVIDERS__LOCAL__CHANNELS", "sms"),
        ("OTPD_PROVIDERS__LOCAL__URL", url.as_str()),
        ("OTPD_PROVIDERS__LOCAL__SECRETS__ACCOUNT", "a/1"),
        ("OTPD_PROVIDERS__LOCAL__FORM", r#"{"to": "{{ digits }}", "text": "{{ code }}", "report": "{{ callback }}"}"#),
        ("OTPD_PROVIDERS__LOCAL__MESSAGE_ID", "json.sms[0].id"),
        ("OTPD_PROVIDERS__LOCAL__CAUSES__MISCONFIGURED_BALANCE", "json.error == 9"),
        ("OTPD_PROVIDERS__LOCAL__RECEIPT_SECRET", SECRET),
        ("OTPD_PROVIDERS__LOCAL__RECEIPTS__MESSAGE_ID", "item.id"),
        ("OTPD_PROVIDERS__LOCAL__RECEIPTS__DELIVERED", "item.state == 'OK'"),
    ];
    (Embedded::start_with(&settings).await, vendor)
}

async fn called_back(client: &Client, path: &str, query: &str) -> u16 {
    reply(client.http.get(client.url(&format!("{path}&{query}")))).await.status
}

#[tokio::test]
async fn it_sends_and_is_believed_at_the_address_that_it_was_told() {
    let (otpd, vendor) = started().await;
    let client = otpd.client().live();
    let sent = client.send(&json!({"target": "+14155552671", "channel": "sms"})).await.expect(202);
    let id = sent.text("recordId").to_owned();
    let asked = vendor.nth(1).await;
    let callback = asked.form()["report"].clone();
    assert_eq!((asked.path.as_str(), asked.form()["to"].as_str()), ("/a%2F1/send", "14155552671"));
    assert_eq!(callback, format!("{PUBLIC_URL}/receipts/local/{SECRET}?attempt={id}:1:1"));
    let before = client.record_in(&id, &["sent"]).await;

    let callback = path(&callback);
    assert_eq!(called_back(&client, &callback.replace(SECRET, "another"), "id=1&state=OK").await, 401);
    assert_eq!(called_back(&client, &callback, "state=OK").await, 400);
    assert_eq!(called_back(&client, &callback, "id=1&state=NEW").await, 204);
    assert_eq!(client.record(&id).await, before);
    assert_eq!(called_back(&client, &callback, "id=1&state=OK").await, 204);
    let record = client.record_in(&id, &["delivered"]).await;
    assert_eq!(attempts(&record["dispatches"][0]), ["local delivered"]);
}

#[tokio::test]
async fn its_conditions_name_the_cause() {
    let (otpd, vendor) = started().await;
    vendor.answer(Answer::new(200, r#"{"error":9}"#));
    let client = otpd.client().live();
    let sent = client.send(&json!({"target": "+14155552671", "channel": "sms"})).await.expect(202);
    vendor.nth(1).await;
    let first = eventually("a failed attempt", || async {
        let record = client.record(sent.text("recordId")).await;
        attempts(&record["dispatches"][0]).first().cloned()
    });
    assert_eq!(first.await, "local misconfigured_balance");
}
