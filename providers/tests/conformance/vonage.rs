//! Vonage's published OpenAPI document of the Messages API: SMS and WhatsApp, its errors, and its status webhooks.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use providers::Provider;
use serde_json::{Value, json};

use wiremock::ResponseTemplate;

use crate::rig::{answering, outcome, outcomes, outgoing, provider, received, sms, whatsapp};
use crate::samples::sample;
use crate::specs::Spec;

const NOW: i64 = 1_752_402_600;
/// They are in the vendor's newer documentation and in its libraries.
const NEWER: [&str; 3] = ["ttl", "webhook_url", "webhook_version"];

fn adapter(url: &str, more: &[(&str, &str)]) -> Arc<dyn Provider> {
    let mut settings = json!({"api_key": "abcd1234", "api_secret": "s", "signature_secret": "sigsecret", "base_url": url,
                              "account_url": url, "from": "447700900001", "whatsapp_from": "447700900002"});
    for (name, value) in more {
        settings[*name] = Value::from(*value);
    }
    provider("vonage", settings, Some(NOW))
}

#[tokio::test]
async fn messages_are_as_documented() {
    let Some(spec) = Spec::load("vonage_messages.json") else { return };
    let operation = spec.operation("post", "/");
    operation.admit(&outgoing(|url| adapter(url, &[]), &sms()).await, &NEWER);
    operation.admit(&outgoing(|url| adapter(url, &[]), &whatsapp()).await, &NEWER[1..]);
    let template = [("whatsapp_template", "login_code")];
    operation.admit(&outgoing(|url| adapter(url, &template), &whatsapp()).await, &NEWER[1..]);
}

#[tokio::test]
async fn every_reply_and_error_is_understood() {
    let Some(spec) = Spec::load("vonage_messages.json") else { return };
    let operation = spec.operation("post", "/");
    insta::assert_snapshot!(outcomes(&operation, |url| adapter(url, &[]), &sms()).await, @"
    202 SMS: taken as aaaaaaaa-bbbb-cccc-dddd-0123456789ab
    202 MMS: taken as aaaaaaaa-bbbb-cccc-dddd-0123456789ab
    202 WhatsApp: taken as aaaaaaaa-bbbb-cccc-dddd-0123456789ab
    202 Messenger: taken as aaaaaaaa-bbbb-cccc-dddd-0123456789ab
    202 Viber: taken as aaaaaaaa-bbbb-cccc-dddd-0123456789ab
    401 ErrorUnauthorizedMissingCredentials: misconfigured_credentials
    401 ErrorUnauthorizedInvalidApplication: misconfigured_credentials
    402 ErrorPaymentRequired: misconfigured_balance
    422 ErrorInvalidJson: misconfigured_endpoint
    422 ErrorChannel: unavailable
    422 ErrorChannelParams: misconfigured_endpoint
    422 ErrorSender: misconfigured_sender
    422 ErrorRecipient: rejected
    422 ErrorMessageType: misconfigured_sender
    422 ErrorMessageParams: misconfigured_endpoint
    422 ErrorClientReference: misconfigured_credentials
    429 ErrorThrottled: throttled
    500 ErrorInternal: unavailable
    ");
}

#[tokio::test]
async fn every_listed_code_has_a_cause_and_none_blames_what_it_is_not_about() {
    let Some(spec) = Spec::load("vonage_messages.json") else { return };
    let mut error = sample(&spec, &spec.document["components"]["schemas"]["ErrorSender"]);
    let mut lines = Vec::new();
    for code in spec.document["x-errors"].as_object().expect("codes").keys() {
        error["type"] = format!("https://developer.nexmo.com/api-errors/messages-olympus#{code}").into();
        let server = answering(ResponseTemplate::new(422).set_body_json(&error)).await;
        lines.push(format!("{code} {}", outcome(&*adapter(&server.uri(), &[]), &sms()).await));
    }
    insta::assert_snapshot!(lines.join("\n"), @"
    1000 throttled
    1010 misconfigured_endpoint
    1020 misconfigured_endpoint
    1021 misconfigured_endpoint
    1022 misconfigured_sender
    1030 unavailable
    1040 unavailable
    1050 rejected
    1060 misconfigured_credentials
    1070 misconfigured_balance
    1080 misconfigured_credentials
    1090 misconfigured_endpoint
    1100 unavailable
    1120 misconfigured_sender
    1130 misconfigured_endpoint
    1140 misconfigured_sender
    1150 misconfigured_endpoint
    1160 misconfigured_sender
    1170 rejected
    1180 unavailable
    1190 rejected
    1200 rejected
    1210 misconfigured_sender
    1220 unavailable
    1230 unavailable
    1240 rejected
    1241 rejected
    1250 rejected
    1260 unavailable
    1270 rejected
    1280 rejected
    1290 rejected
    1300 rejected
    1310 rejected
    1320 misconfigured_endpoint
    1330 unavailable
    1331 unavailable
    1340 misconfigured_sender
    1350 misconfigured_endpoint
    1360 misconfigured_endpoint
    1370 misconfigured_endpoint
    1380 misconfigured_endpoint
    1381 misconfigured_endpoint
    1382 misconfigured_endpoint
    1400 misconfigured_endpoint
    1410 misconfigured_endpoint
    1420 misconfigured_sender
    1430 rejected
    1440 misconfigured_endpoint
    1450 misconfigured_endpoint
    ");
}

#[tokio::test]
async fn the_balance_is_understood() {
    let Some(spec) = Spec::load("vonage_account.json") else { return };
    let mut lines = Vec::new();
    for reply in spec.operation("get", "/account/get-balance").replies() {
        let server = answering(ResponseTemplate::new(reply.status).set_body_json(&reply.body)).await;
        let check = adapter(&server.uri(), &[]).check().await;
        lines.push(format!("{} {}: {:?} {:?}", reply.status, reply.name, check.credentials, check.balance));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    200 example: Some(true) Some("10.171275 EUR")
    401 ErrorAuthenticationFailedAccountBalance: Some(false) None
    "#);
}

fn posted(body: &str) -> Vec<String> {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let hash: String = digest(&SHA256, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let claims = json!({"iat": NOW, "jti": "x", "iss": "Vonage", "payload_hash": hash});
    let text = format!("{}.{}", encode(br#"{"alg":"HS256","typ":"JWT"}"#), encode(claims.to_string().as_bytes()));
    let signature = encode(sign(&Key::new(HMAC_SHA256, b"sigsecret"), text.as_bytes()).as_ref());
    let authorization = format!("Bearer {text}.{signature}");
    received(&*adapter("http://localhost", &[]), "/", &[("authorization", &authorization)], body.as_bytes())
}

#[test]
fn every_status_of_both_channels_is_understood() {
    let Some(spec) = Spec::load("vonage_messages.json") else { return };
    let mut lines = Vec::new();
    for name in ["messageStatusSMS", "messageStatusWhatsApp"] {
        let schema = &spec.document["components"]["schemas"][name];
        let mut body = sample(&spec, schema);
        for status in ["submitted", "delivered", "read", "rejected", "undeliverable"] {
            body["status"] = status.into();
            lines.push(format!("{name} {status}: {}", posted(&body.to_string()).join(", ")));
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @"
    messageStatusSMS submitted: aaaaaaaa-bbbb-cccc-dddd-0123456789ab sent: 1000
    messageStatusSMS delivered: aaaaaaaa-bbbb-cccc-dddd-0123456789ab delivered: 1000
    messageStatusSMS read: aaaaaaaa-bbbb-cccc-dddd-0123456789ab delivered: 1000
    messageStatusSMS rejected: aaaaaaaa-bbbb-cccc-dddd-0123456789ab undelivered: 1000
    messageStatusSMS undeliverable: aaaaaaaa-bbbb-cccc-dddd-0123456789ab undelivered: 1000
    messageStatusWhatsApp submitted: aaaaaaaa-bbbb-cccc-dddd-0123456789ab sent: 1000
    messageStatusWhatsApp delivered: aaaaaaaa-bbbb-cccc-dddd-0123456789ab delivered: 1000
    messageStatusWhatsApp read: aaaaaaaa-bbbb-cccc-dddd-0123456789ab delivered: 1000
    messageStatusWhatsApp rejected: aaaaaaaa-bbbb-cccc-dddd-0123456789ab undelivered: 1000
    messageStatusWhatsApp undeliverable: aaaaaaaa-bbbb-cccc-dddd-0123456789ab undelivered: 1000
    ");
}
