//! SendGrid's published OpenAPI document: mail, and every example of an error.

use std::sync::Arc;

use providers::Provider;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::rig::{answering, email, outcome, outcomes, outgoing, provider};
use crate::specs::Spec;

fn adapter(url: &str) -> Arc<dyn Provider> {
    provider("sendgrid", json!({"api_key": "SG.k", "from": "Shop <otp@example.com>", "base_url": url}), None)
}

#[tokio::test]
async fn messages_are_as_documented() {
    let Some(spec) = Spec::load("sendgrid_mail_send.json") else { return };
    spec.operation("post", "/v3/mail/send").admit(&outgoing(adapter, &email()).await, &[]);
}

#[tokio::test]
async fn every_example_of_a_reply_is_understood() {
    let Some(spec) = Spec::load("sendgrid_mail_send.json") else { return };
    let operation = spec.operation("post", "/v3/mail/send");
    insta::assert_snapshot!(outcomes(&operation, adapter, &email()).await, @"
    400 Unauthorized request: misconfigured_endpoint
    401 Unauthorized request: misconfigured_credentials
    403 Unauthorized request: misconfigured_credentials
    404 Unauthorized request: misconfigured_endpoint
    405 Unauthorized request: misconfigured_endpoint
    413 Unauthorized request: misconfigured_endpoint
    500 Unauthorized request: unavailable
    ");
    // The document has no body for it, and names no header.
    let server = answering(ResponseTemplate::new(202).insert_header("x-message-id", "m-1")).await;
    assert_eq!(outcome(&*adapter(&server.uri()), &email()).await, "taken as m-1");
}
