//! Mailgun's published OpenAPI document: mail, every example of a reply, and the state of the domain.

use std::sync::Arc;

use providers::Provider;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::rig::{answering, email, outcomes, outgoing, provider};
use crate::specs::Spec;

const MESSAGES: &str = "/v3/{domain_name}/messages";

fn adapter(url: &str) -> Arc<dyn Provider> {
    provider("mailgun", json!({"api_key": "k", "domain": "mg.example.com", "base_url": url}), None)
}

#[tokio::test]
async fn messages_are_as_documented() {
    let Some(spec) = Spec::load("mailgun.json") else { return };
    spec.operation("post", MESSAGES).admit(&outgoing(adapter, &email()).await, &[]);
}

#[tokio::test]
async fn every_example_of_a_reply_is_understood() {
    let Some(spec) = Spec::load("mailgun.json") else { return };
    let operation = spec.operation("post", MESSAGES);
    // Its example of 400 has all the words at once, those about the sender among them.
    insta::assert_snapshot!(outcomes(&operation, adapter, &email()).await, @"
    200 Example: taken as message-id
    400 Example: misconfigured_sender
    401 Example: misconfigured_credentials
    429 Example: throttled
    500 Example: unavailable
    ");
}

#[tokio::test]
async fn every_state_of_the_domain_is_understood() {
    let Some(spec) = Spec::load("mailgun.json") else { return };
    let mut lines = Vec::new();
    for reply in spec.operation("get", "/v4/domains/{name}").replies() {
        let server = answering(ResponseTemplate::new(reply.status).set_body_json(&reply.body)).await;
        let check = adapter(&server.uri()).check().await;
        lines.push(format!("{}: {:?} {:?}", reply.status, check.credentials, check.problem));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    200: Some(true) None
    401: Some(false) Some((Credentials, "401: Invalid private key"))
    404: None Some((Endpoint, "404: Domain not found"))
    "#);
}
