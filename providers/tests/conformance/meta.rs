//! Meta's published OpenAPI document of the WhatsApp Cloud API: messages by template, replies, errors and webhooks.

use std::sync::Arc;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use providers::Provider;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::rig::{answering, outcome, outcomes, outgoing, provider, received, whatsapp};
use crate::samples::sample;
use crate::specs::Spec;

const MESSAGES: &str = "/{Version}/{Phone-Number-ID}/messages";

fn adapter(url: &str) -> Arc<dyn Provider> {
    let settings = json!({"access_token": "EAA", "phone_number_id": "106540352242922", "template": "otp",
                          "business_account_id": "102290129340398", "app_secret": "app_secret", "base_url": url});
    provider("meta", settings, None)
}

#[tokio::test]
async fn messages_are_as_documented() {
    let Some(spec) = Spec::load("meta_whatsapp.json") else { return };
    let request = outgoing(adapter, &whatsapp()).await;
    // The vendor's documentation of webhooks has it, this document has not.
    spec.operation("post", MESSAGES).admit(&request, &["biz_opaque_callback_data"]);
    let body: serde_json::Value = request.body_json().expect("JSON");
    let components = &body["template"]["components"];
    for (component, schema) in [(&components[0], "BodyComponent"), (&components[1], "ButtonComponent")] {
        let schema = &spec.document["components"]["schemas"][schema];
        assert_eq!(spec.problems(schema, component), Vec::<String>::new(), "{component:#}");
    }
    // Which schema a parameter has is said by its type, which no schema says.
    for (component, schema) in [(&components[0], "TextParameter"), (&components[1], "ButtonTextParameter")] {
        let (schema, parameter) = (&spec.document["components"]["schemas"][schema], &component["parameters"][0]);
        assert_eq!(spec.problems(schema, parameter), Vec::<String>::new(), "{parameter:#}");
        assert_eq!(spec.unknown(schema, parameter), Vec::<String>::new(), "{parameter:#}");
    }
}

#[tokio::test]
async fn every_example_of_a_reply_is_understood() {
    let Some(spec) = Spec::load("meta_whatsapp.json") else { return };
    let operation = spec.operation("post", MESSAGES);
    insta::assert_snapshot!(outcomes(&operation, adapter, &whatsapp()).await, @"
    200 Send Flow Template Message: taken as wamid.HBgL...
    200 Send Interactive Message Template: taken as wamid.gBGGSFcCNEOPAgkO_KJ55r4w_ww
    200 Send Message Template Media: taken as wamid.gBGGSFcCNEOPAgkO_KJ55r4w_ww
    200 Send Message Template Text: taken as wamid.gBGGSFcCNEOPAgkO_KJ55r4w_ww
    200 Send Reply to Text Message: taken as wamid.gBGGSFcCNEOPAgkO_KJ55r4w_ww
    200 Send Sample Shipping Confirmation Template: taken as wamid.gBGGSFcCNEOPAgkO_KJ55r4w_ww
    200 Send Sample Text message: taken as wamid.gBGGSFcCNEOPAgkO_KJ55r4w_ww
    200 Send Text Message: taken as wamid.gBGGSFcCNEOPAgkO_KJ55r4w_ww
    ");
    let mut error = sample(&spec, &spec.document["components"]["schemas"]["GraphAPIError"]);
    for (code, expected) in [(100, "misconfigured_endpoint"), (190, "misconfigured_credentials")] {
        error["error"]["code"] = code.into();
        let server = answering(ResponseTemplate::new(400).set_body_json(&error)).await;
        assert_eq!(outcome(&*adapter(&server.uri()), &whatsapp()).await, expected);
    }
}

#[tokio::test]
async fn the_state_of_the_template_is_understood() {
    let Some(spec) = Spec::load("meta_whatsapp.json") else { return };
    for template in [MESSAGES.trim_end_matches("/messages"), "/{Version}/{WABA-ID}/message_templates"] {
        let replies = spec.operation("get", template).replies();
        assert!(!replies.is_empty(), "{template}");
        let server = answering(ResponseTemplate::new(200).set_body_json(&replies[0].body)).await;
        assert_eq!(adapter(&server.uri()).check().await.reachable, Some(true));
    }
}

fn posted(body: &str) -> Vec<String> {
    let tag = sign(&Key::new(HMAC_SHA256, b"app_secret"), body.as_bytes());
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    received(&*adapter("http://localhost"), "/", &[("x-hub-signature-256", &format!("sha256={tag}"))], body.as_bytes())
}

#[test]
fn webhooks_are_understood_and_those_of_others_are_none_of_ours() {
    let Some(spec) = Spec::load("meta_whatsapp.json") else { return };
    let webhooks = &spec.document["paths"]["/whatsapp/webhooks"]["post"]["requestBody"]["content"]["application/json"];
    let examples = webhooks["examples"].as_object().expect("examples");
    for (name, example) in examples {
        assert_eq!(posted(&example["value"].to_string()), Vec::<String>::new(), "{name}");
    }
    let schemas = &spec.document["components"]["schemas"];
    let statuses = schemas["Statuses"]["properties"]["status"]["enum"].as_array().expect("statuses").clone();
    let mut value = sample(&spec, &schemas["StatusMessageValue"]);
    let lines = statuses.iter().rev().map(|status| {
        value["statuses"][0]["status"] = status.clone();
        if status != "failed" {
            value["statuses"][0]["errors"] = json!([]);
        }
        let hook =
            json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"value": value}]}]});
        format!("{status}: {}", posted(&hook.to_string()).join(", "))
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
    "failed": text undelivered: 1: text
    "read": text delivered
    "delivered": text delivered
    "sent": text sent
    "#);
}
