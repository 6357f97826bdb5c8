//! The signature vectors: what each signs is believed as it stands, and not when one bit of it is another.

use common::otp::time::Timestamp;
use providers::Provider;
use providers::standard_webhooks::{self, Secret, Signed};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::rig::{provider, received};
use crate::specs::file;

const FORGED: [&str; 1] = ["the signature does not fit"];

fn vectors(vendor: &str) -> Option<Value> {
    let vectors = file("signature_vectors.json")?;
    let vector = vectors.get(vendor).unwrap_or_else(|| panic!("no vectors of {vendor}"));
    Some(vector.clone())
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name} in {vector}"))
}

/// Believed, then with another signature and with another body.
#[track_caller]
fn check(adapter: &dyn Provider, header: (&str, &str), others: &[(&str, &str)], body: &str) {
    let read = |value: &str, body: &str| {
        let headers = [&[(header.0, value)], others].concat();
        received(adapter, "https://otp.example.com/receipts/x", &headers, body.as_bytes())
    };
    assert_ne!(read(header.1, body), FORGED);
    let at = header.1.len() - 9;
    let other = if header.1.as_bytes()[at] == b'a' { "b" } else { "a" };
    let mut changed = header.1.to_owned();
    changed.replace_range(at..=at, other);
    assert_eq!(read(&changed, body), FORGED);
    assert_eq!(read(header.1, &format!("{body} ")), FORGED);
}

#[test]
fn twilio() {
    let Some(vector) = vectors("twilio") else { return };
    let settings = json!({"account_sid": "AC1", "auth_token": vector["token"], "from": "+15005550006"});
    let adapter = provider("twilio", settings, None);
    for case in vector["cases"].as_array().expect("cases") {
        // One case is of a body in JSON, which Twilio's receipts are not.
        if case.get("json_body").is_some() {
            continue;
        }
        let fields: Vec<(String, String)> = serde_json::from_value(case["form"].clone()).expect("fields");
        let mut form = form_urlencoded::Serializer::new(String::new());
        let body = form.extend_pairs(&fields).finish();
        let read = |url: &str, signature: &str, body: &str| {
            received(&*adapter, url, &[("x-twilio-signature", signature)], body.as_bytes())
        };
        let (url, signature) = (text(case, "url"), text(case, "signature"));
        // Its vectors are of calls: what fits is read on, and is no receipt.
        assert_eq!(read(url, signature, &body), ["the body is not a receipt of this provider"]);
        assert_eq!(read(&url.replace("https", "http"), signature, &body), FORGED);
        assert_eq!(read(url, signature, &format!("{body}&More=1")), FORGED);
    }
}

#[test]
fn sendgrid() {
    let Some(vector) = vectors("sendgrid") else { return };
    let key = &vector["public_key_spki_b64"];
    let settings = json!({"api_key": "k", "from": "a@example.com", "webhook_public_key": key});
    let timestamp = text(&vector, "timestamp");
    let adapter = provider("sendgrid", settings, timestamp.parse().ok());
    let headers = ("x-twilio-email-event-webhook-signature", text(&vector, "signature"));
    check(&*adapter, headers, &[("x-twilio-email-event-webhook-timestamp", timestamp)], text(&vector, "body"));
}

#[test]
fn meta() {
    let Some(vector) = vectors("meta") else { return };
    let settings = json!({"access_token": "t", "phone_number_id": "1", "template": "otp",
                          "app_secret": vector["app_secret"]});
    let adapter = provider("meta", settings, None);
    check(&*adapter, ("x-hub-signature-256", text(&vector, "header")), &[], text(&vector, "body"));
}

#[test]
fn mailgun() {
    let Some(vector) = vectors("mailgun") else { return };
    let settings = json!({"api_key": "k", "domain": "mg.example.com", "webhook_secret": vector["signing_key"]});
    let adapter = provider("mailgun", settings, text(&vector, "timestamp").parse().ok());
    let hook = |signature: &str| {
        let signature = json!({"timestamp": vector["timestamp"], "token": vector["token"], "signature": signature});
        let event = json!({"event": "delivered", "message": {"headers": {"message-id": "m-1"}}});
        json!({"signature": signature, "event-data": event}).to_string()
    };
    let signature = text(&vector, "signature");
    let forged = hook(&signature.replace('e', "f"));
    assert_eq!(received(&*adapter, "/", &[], forged.as_bytes()), FORGED);
    assert_eq!(received(&*adapter, "/", &[], hook(signature).as_bytes()), ["m-1 delivered"]);
}

#[test]
fn telnyx() {
    let Some(vector) = vectors("telnyx") else { return };
    let timestamp = text(&vector, "timestamp");
    let settings = json!({"api_key": "k", "from": "+15005550006", "public_key": vector["public_key_b64"]});
    let adapter = provider("telnyx", settings, timestamp.parse().ok());
    let header = ("telnyx-signature-ed25519", text(&vector, "signature"));
    check(&*adapter, header, &[("telnyx-timestamp", timestamp)], text(&vector, "body"));
}

#[test]
fn vonage() {
    let Some(vector) = vectors("vonage_jwt") else { return };
    let settings = json!({"api_key": "k", "api_secret": "s", "from": "Shop",
                          "signature_secret": vector["signature_secret"]});
    let adapter = provider("vonage", settings, Some(1_700_000_000));
    check(&*adapter, ("authorization", text(&vector, "authorization")), &[], text(&vector, "body"));
}

#[test]
fn standard_webhooks_and_resend_which_uses_them() {
    let Some(vector) = vectors("standard_webhooks") else { return };
    let (id, timestamp) = (text(&vector, "id"), text(&vector, "timestamp"));
    let (signature, body) = (text(&vector, "signature"), text(&vector, "body"));
    let seconds: i64 = timestamp.parse().expect("seconds");
    let secrets = [Secret::parse(&SecretString::from(text(&vector, "secret"))).expect("a secret")];
    assert_eq!(standard_webhooks::sign(&secrets, id, seconds, body.as_bytes()), signature);
    let now = Timestamp::from_ms(seconds * 1000);
    let signed = Signed { id, timestamp, signature };
    assert!(standard_webhooks::verify(&secrets, signed, body.as_bytes(), now).is_ok());
    let settings = json!({"api_key": "k", "from": "a@example.com", "webhook_secret": vector["secret"]});
    let adapter = provider("resend", settings, Some(seconds));
    check(&*adapter, ("svix-signature", signature), &[("svix-id", id), ("svix-timestamp", timestamp)], body);
}
