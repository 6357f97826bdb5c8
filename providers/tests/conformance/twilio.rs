//! Twilio's published OpenAPI document: messages by SMS and by WhatsApp, and every example of a reply.

use std::sync::Arc;

use providers::Provider;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::rig::{also_answering, answering, outcomes, outgoing, provider, sms, whatsapp};
use crate::specs::Spec;

const MESSAGES: &str = "/2010-04-01/Accounts/{AccountSid}/Messages.json";

fn adapter(url: &str, more: &[(&str, &str)]) -> Arc<dyn Provider> {
    let mut settings = json!({"account_sid": format!("AC{}", "0a".repeat(16)), "auth_token": "12345", "base_url": url,
                              "from": "+15005550006", "whatsapp_from": "+14155238886"});
    for (name, value) in more {
        settings[*name] = Value::from(*value);
    }
    provider("twilio", settings, None)
}

#[tokio::test]
async fn messages_are_as_documented() {
    let Some(spec) = Spec::load("twilio_messages.json") else { return };
    let operation = spec.operation("post", MESSAGES);
    operation.admit(&outgoing(|url| adapter(url, &[]), &sms()).await, &[]);
    operation.admit(&outgoing(|url| adapter(url, &[]), &whatsapp()).await, &[]);
    let (service, content) = (format!("MG{}", "0b".repeat(16)), format!("HX{}", "0c".repeat(16)));
    let more = [("messaging_service_sid", service.as_str()), ("whatsapp_content_sid", &content), ("redact", "true")];
    operation.admit(&outgoing(|url| adapter(url, &more), &sms()).await, &[]);
    operation.admit(&outgoing(|url| adapter(url, &more), &whatsapp()).await, &[]);
}

#[tokio::test]
async fn every_example_of_a_reply_is_understood() {
    let Some(spec) = Spec::load("twilio_messages.json") else { return };
    let operation = spec.operation("post", MESSAGES);
    insta::assert_snapshot!(outcomes(&operation, |url| adapter(url, &[]), &sms()).await, @"
    201 create: taken as SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    201 createScheduledMessageMms: taken as MMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    201 createScheduledMessageSms: taken as SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    201 createScheduledMessageWhatsapp: taken as SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    201 createWithMessagingService: taken as SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    201 createWithQueuedStatus: taken as SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    201 createWoService: taken as SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    ");
}

#[tokio::test]
async fn the_account_and_its_balance_are_understood() {
    let Some(spec) = Spec::load("twilio_messages.json") else { return };
    let reply = |template: &str| spec.operation("get", template).replies().remove(0).body;
    let mut account = reply("/2010-04-01/Accounts/{Sid}.json");
    account["status"] = "active".into();
    let server = answering(ResponseTemplate::new(200).set_body_json(&account)).await;
    let balance = reply("/2010-04-01/Accounts/{AccountSid}/Balance.json");
    let path = format!("/2010-04-01/Accounts/AC{}/Balance.json", "0a".repeat(16));
    also_answering(&server, &path, &balance).await;
    let check = adapter(&server.uri(), &[]).check().await;
    let shown =
        format!("{} {}", balance["balance"].as_str().expect("text"), balance["currency"].as_str().expect("text"));
    assert_eq!((check.credentials, check.balance, check.problem), (Some(true), Some(shown), None));
}
