//! Resend's published OpenAPI document: mail, its reply, the list of domains, and every event of a message.

use std::sync::Arc;

use providers::Provider;
use providers::standard_webhooks::{self, Secret};
use secrecy::SecretString;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::rig::{answering, email, outcomes, outgoing, provider, received};
use crate::samples::sample;
use crate::specs::Spec;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: i64 = 1_752_402_600;

fn adapter(url: &str) -> Arc<dyn Provider> {
    let settings =
        json!({"api_key": "re_k", "from": "Shop <otp@example.com>", "webhook_secret": SECRET, "base_url": url});
    provider("resend", settings, Some(NOW))
}

#[tokio::test]
async fn messages_are_as_documented() {
    let Some(spec) = Spec::load("resend.json") else { return };
    spec.operation("post", "/emails").admit(&outgoing(adapter, &email()).await, &[]);
}

#[tokio::test]
async fn every_reply_is_understood() {
    let Some(spec) = Spec::load("resend.json") else { return };
    insta::assert_snapshot!(outcomes(&spec.operation("post", "/emails"), adapter, &email()).await, @"200 SendEmailResponse: taken as text");
    let domains = spec.operation("get", "/domains").replies().remove(0).body;
    let server = answering(ResponseTemplate::new(200).set_body_json(&domains)).await;
    let check = adapter(&server.uri()).check().await;
    assert_eq!((check.reachable, check.credentials), (Some(true), Some(true)), "{domains:#}");
}

#[test]
fn every_event_is_understood() {
    let Some(spec) = Spec::load("resend.json") else { return };
    let schemas = spec.document["components"]["schemas"].as_object().expect("schemas");
    let secrets = [Secret::parse(&SecretString::from(SECRET)).expect("a secret")];
    let events = schemas.iter().filter(|(name, _)| name.starts_with("Email") && name.ends_with("Event"));
    let mut lines: Vec<_> = events
        .map(|(name, schema)| {
            let body = sample(&spec, schema).to_string();
            let signature = standard_webhooks::sign(&secrets, "msg_1", NOW, body.as_bytes());
            let timestamp = NOW.to_string();
            let headers = [("svix-id", "msg_1"), ("svix-timestamp", &timestamp), ("svix-signature", &signature)];
            format!("{name}: {}", received(&*adapter("http://localhost"), "/", &headers, body.as_bytes()).join(", "))
        })
        .collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"), @"
    EmailBouncedEvent: text undelivered: text
    EmailComplainedEvent: text delivered
    EmailDeliveredEvent: text delivered
    EmailDeliveryDelayedEvent: text sent
    EmailFailedEvent: text undelivered: text
    EmailOpenedEvent: text delivered
    EmailScheduledEvent: 
    EmailSentEvent: text sent
    EmailSuppressedEvent: text undelivered: text
    ");
}
