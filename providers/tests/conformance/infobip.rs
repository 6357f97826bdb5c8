//! Infobip's API of SMS, as its generated clients have it: requests, replies, errors and delivery reports.

use std::sync::Arc;

use providers::Provider;
use serde_json::json;

use crate::rig::{outcomes, outgoing, provider, received, sms};
use crate::samples::sample;
use crate::specs::Spec;

fn adapter(url: &str) -> Arc<dyn Provider> {
    let secret = "0123456789abcdef";
    provider("infobip", json!({"base_url": url, "api_key": "k", "from": "Shop", "receipt_secret": secret}), None)
}

#[tokio::test]
async fn messages_are_as_documented() {
    let Some(spec) = Spec::load("infobip_sms.json") else { return };
    spec.operation("post", "/sms/3/messages").admit(&outgoing(adapter, &sms()).await, &[]);
}

#[tokio::test]
async fn every_reply_and_error_is_understood() {
    let Some(spec) = Spec::load("infobip_sms.json") else { return };
    let operation = spec.operation("post", "/sms/3/messages");
    insta::assert_snapshot!(outcomes(&operation, adapter, &sms()).await, @"
    200 SmsResponse: taken as text
    400 ApiError: misconfigured_endpoint
    401 ApiError: misconfigured_credentials
    403 ApiError: misconfigured_credentials
    429 ApiError: throttled
    500 ApiError: unavailable
    ");
}

#[test]
fn reports_of_every_group_are_understood() {
    let Some(spec) = Spec::load("infobip_sms.json") else { return };
    let schemas = &spec.document["components"]["schemas"];
    let mut report = sample(&spec, &schemas["SmsDeliveryResult"]);
    let groups = schemas["MessageGeneralStatus"]["enum"].as_array().expect("groups").clone();
    let lines = groups.iter().map(|group| {
        report["results"][0]["status"]["groupName"] = group.clone();
        let told = received(&*adapter("http://localhost"), "/", &[], report.to_string().as_bytes());
        format!("{group}: {}", told.join(", "))
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
    "ACCEPTED": text sent
    "PENDING": text sent
    "UNDELIVERABLE": text undelivered: text
    "DELIVERED": text delivered
    "EXPIRED": text undelivered: text
    "REJECTED": text undelivered: text
    "#);
}
