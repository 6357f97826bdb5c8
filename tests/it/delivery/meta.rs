//! Meta's webhook: the question that sets it up, and receipts that it signs.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use serde_json::{Value, json};

use super::rig::{PUBLIC_URL, attempts};
use super::vendor::{Answer, Vendor};
use crate::harness::Embedded;
use crate::harness::client::{Client, reply};

const TAKEN: &str = r#"{"messaging_product":"whatsapp","messages":[{"id":"wamid.{n}"}]}"#;

async fn started() -> (Embedded, Vendor) {
    let vendor = Vendor::start(Answer::new(200, TAKEN));
    let settings = [
        ("OTPD_SERVER__PUBLIC_URL", PUBLIC_URL),
        ("OTPD_PROVIDERS__META__BASE_URL", vendor.url.as_str()),
        ("OTPD_PROVIDERS__META__ACCESS_TOKEN", "EAA"),
        ("OTPD_PROVIDERS__META__PHONE_NUMBER_ID", "1067"),
        ("OTPD_PROVIDERS__META__TEMPLATE", "otp"),
        ("OTPD_PROVIDERS__META__APP_SECRET", "app_secret"),
        ("OTPD_PROVIDERS__META__VERIFY_TOKEN", "sesame"),
    ];
    (Embedded::start_with(&settings).await, vendor)
}

async fn asked(client: &Client, provider: &str, token: &str) -> (u16, String) {
    let query = format!("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
    let answer = client.http.get(client.url(&format!("/receipts/{provider}?{query}"))).send().await.expect("an answer");
    let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
    let status = answer.status().as_u16();
    if status == 200 {
        assert!(kind.starts_with("text/plain"), "{kind}");
    }
    (status, answer.text().await.expect("text"))
}

#[tokio::test]
async fn the_challenge_is_answered_to_who_knows_the_token() {
    let (otpd, _vendor) = started().await;
    let client = otpd.client();
    assert_eq!(asked(&client, "meta", "sesame").await, (200, "1158201444".to_owned()));
    for (provider, token, status) in [("meta", "sesam", 401), ("sandbox", "sesame", 404), ("nobody", "sesame", 404)] {
        let (answered, body) = asked(&client, provider, token).await;
        assert_eq!(answered, status, "{provider} {token}");
        assert!(!body.contains("1158201444"), "{body}");
    }
}

async fn posted(client: &Client, secret: &str, statuses: Value) -> u16 {
    let changes = json!([{"field": "messages", "value": {"messaging_product": "whatsapp", "statuses": statuses}}]);
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]}).to_string();
    let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = client.http.post(client.url("/receipts/meta")).header("x-hub-signature-256", format!("sha256={tag}"));
    reply(request.body(body)).await.status
}

#[tokio::test]
async fn a_signed_batch_moves_its_messages_and_a_forged_one_nothing() {
    let (otpd, vendor) = started().await;
    let client = otpd.client().live();
    let sent = client.send(&json!({"target": "+14155552671", "channel": "whatsapp"})).await.expect(202);
    let id = sent.text("recordId").to_owned();
    let asked = vendor.nth(1).await;
    assert_eq!((asked.path.as_str(), asked.header("authorization")), ("/v23.0/1067/messages", "Bearer EAA"));
    let attempt = asked.json()["biz_opaque_callback_data"].clone();
    let before = client.record_in(&id, &["sent"]).await;

    let status = |status: &str| json!({"id": "wamid.1", "status": status, "biz_opaque_callback_data": attempt});
    assert_eq!(posted(&client, "other", json!([status("delivered")])).await, 401);
    assert_eq!(client.record(&id).await, before);
    let statuses: Vec<_> = (0..600).map(|n| json!({"id": format!("wamid.other{n}"), "status": "read"})).collect();
    assert_eq!(posted(&client, "app_secret", json!(statuses)).await, 204);
    assert_eq!(posted(&client, "app_secret", json!([status("sent"), status("delivered"), status("sent")])).await, 204);
    let record = client.record_in(&id, &["delivered"]).await;
    assert_eq!(attempts(&record["dispatches"][0]), ["meta delivered"]);
}
