//! Meta's WhatsApp Cloud API: codes by an authentication template, and its signed webhook.
//!
//! Sources: the published OpenAPI document (business messaging, v23.0), developers.facebook.com (authentication templates,
//! error codes, webhooks).

use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::crypto::{base64, hex, hmac_sha256};
use crate::wire::{Answer, Asked, hex_id, is_digits, stranger, text};

const TOKEN: &str = "simulated-access-token";
const NUMBER: &str = "106540352242922";
const ACCOUNT: &str = "102290129340398";
const TEMPLATE: &str = "simulated_code";
const LANGUAGE: &str = "en_US";
const APP_SECRET: &str = "simulated-app-secret";
const VERIFY_TOKEN: &str = "simulated-verify-token";
const DISPLAYED: &str = "15550783881";
const LONGEST_CODE: usize = 15;
const KNOWN: &[(&str, &[&str])] = &[
    ("", &["messaging_product", "recipient_type", "to", "type", "template", "context", "biz_opaque_callback_data"]),
    ("/template", &["name", "language", "components"]),
    ("/template/language", &["code", "policy"]),
    ("/template/components/0", &["type", "parameters"]),
    ("/template/components/1", &["type", "sub_type", "index", "parameters"]),
];

#[derive(Debug)]
pub(crate) struct Meta;

fn refused(status: u16, code: u32, message: &str, details: &str) -> Answer {
    let mut error = json!({"message": format!("(#{code}) {message}"), "type": "OAuthException", "code": code,
                           "fbtrace_id": hex_id(11)});
    if !details.is_empty() {
        error["error_data"] = json!({"messaging_product": "whatsapp", "details": details});
    }
    Answer::json(status, &json!({"error": error}))
}

fn unauthorised() -> Answer {
    refused(401, 190, "Invalid OAuth access token - Cannot parse access token", "")
}

impl Vendor for Meta {
    fn name(&self) -> &'static str {
        "meta"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        let settings = [
            ("base_url", url),
            ("access_token", TOKEN),
            ("phone_number_id", NUMBER),
            ("business_account_id", ACCOUNT),
            ("template", TEMPLATE),
            ("language", LANGUAGE),
            ("app_secret", APP_SECRET),
            ("verify_token", VERIFY_TOKEN),
        ];
        settings.map(|(name, value)| (name, value.to_owned())).into()
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if !asked.has_bearer(TOKEN) {
            return Err(unauthorised());
        }
        let unknown = || refused(400, 100, "Unsupported request", "Object does not exist or cannot be loaded");
        let (version, object) = asked.path.trim_start_matches('/').split_once('/').ok_or_else(unknown)?;
        if !version.starts_with('v') {
            return Err(unknown());
        }
        match (asked.method, object.split_once('/').unwrap_or((object, ""))) {
            ("POST", (NUMBER, "messages")) => message(asked).map(Read::Message),
            ("GET", (NUMBER, "")) => Ok(Read::Other(Answer::json(200, &number()))),
            ("GET", (ACCOUNT, "message_templates")) => {
                let status = if asked.standing == Some(Refusal::Sender) { "PAUSED" } else { "APPROVED" };
                let template = json!({"name": TEMPLATE, "status": status, "language": LANGUAGE,
                                      "category": "AUTHENTICATION", "id": "594425479261596"});
                Ok(Read::Other(Answer::json(200, &json!({"data": [template]}))))
            }
            _ => Err(unknown()),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        let body = json!({
            "messaging_product": "whatsapp",
            "contacts": [{"input": message.to, "wa_id": message.to}],
            "messages": [{"id": message.id, "message_status": "accepted"}],
        });
        Answer::json(200, &body)
    }

    fn refuse(&self, refusal: Refusal, _: &Asked<'_>) -> Option<Answer> {
        Some(match refusal {
            Refusal::Credentials => unauthorised(),
            Refusal::Balance => refused(400, 131_042, "Business eligibility payment issue", "There is no payment"),
            Refusal::Sender => refused(404, 132_001, "Template name does not exist in the translation", "No template"),
            Refusal::Rejected => refused(400, 131_026, "Message undeliverable", "Unable to deliver message."),
            Refusal::Throttled => refused(429, 130_429, "Rate limit hit", "Message failed: throughput was reached."),
            Refusal::Unavailable => refused(500, 131_000, "Something went wrong", "Message failed to send."),
            Refusal::Ip => return None,
        })
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        let status = match news {
            News::Sent => "sent",
            News::Delivered => "delivered",
            News::Failed => "failed",
        };
        let mut status = json!({
            "id": message.id,
            "status": status,
            "timestamp": now.as_ms().div_euclid(1000).to_string(),
            "recipient_id": message.to,
            "pricing": {"billable": true, "pricing_model": "PMP", "category": "authentication"},
        });
        if message.echo.is_string() {
            status["biz_opaque_callback_data"] = message.echo.clone();
        }
        if news == News::Failed {
            let details = "Message Undeliverable: the number is not on WhatsApp";
            status["errors"] = json!([{"code": 131_026, "title": "Message undeliverable",
                                       "message": "Message undeliverable", "error_data": {"details": details}}]);
        }
        let metadata = json!({"display_phone_number": DISPLAYED, "phone_number_id": NUMBER});
        let value = json!({"messaging_product": "whatsapp", "metadata": metadata, "statuses": [status]});
        let entry = json!({"id": ACCOUNT, "changes": [{"value": value, "field": "messages"}]});
        let body = json!({"object": "whatsapp_business_account", "entry": [entry]}).to_string();
        let tag = hex(&hmac_sha256(APP_SECRET.as_bytes(), body.as_bytes()));
        let headers =
            vec![("content-type", "application/json".to_owned()), ("x-hub-signature-256", format!("sha256={tag}"))];
        Some(Post { callback: None, headers, body })
    }
}

fn number() -> Value {
    json!({
        "id": NUMBER,
        "display_phone_number": format!("+{DISPLAYED}"),
        "verified_name": "Simulated",
        "quality_rating": "GREEN",
        "code_verification_status": "VERIFIED",
        "status": "CONNECTED",
        "throughput": {"level": "STANDARD"},
    })
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let invalid = |details: &str| refused(400, 131_009, "Parameter value is not valid", details);
    let body = asked.json().ok_or_else(|| refused(400, 100, "Invalid parameter", "The body is no JSON object"))?;
    if let Some(name) = stranger(&body, KNOWN) {
        return Err(refused(400, 100, "Invalid parameter", &format!("Unexpected key \"{name}\"")));
    }
    let to = text(&body, "/to").trim_start_matches('+');
    if text(&body, "/messaging_product") != "whatsapp" || text(&body, "/type") != "template" {
        return Err(refused(400, 131_008, "Required parameter is missing", "messaging_product or type"));
    }
    if !is_digits(to) {
        return Err(refused(400, 131_009, "Parameter value is not valid", "to is no phone number"));
    }
    let names = (text(&body, "/template/name"), text(&body, "/template/language/code"));
    if names != (TEMPLATE, LANGUAGE) {
        let details = format!("template name ({}) does not exist in {}", names.0, names.1);
        return Err(refused(404, 132_001, "Template name does not exist in the translation", &details));
    }
    let at = |n: usize, field: &str| text(&body, &format!("/template/components/{n}{field}"));
    let code = at(0, "/parameters/0/text");
    let is_body = at(0, "/type") == "body" && at(0, "/parameters/0/type") == "text";
    let is_button = (at(1, "/type"), at(1, "/sub_type"), at(1, "/index")) == ("button", "url", "0");
    if !is_body || !is_button || code != at(1, "/parameters/0/text") {
        return Err(refused(400, 132_000, "Number of parameters does not match", "body and button have the code"));
    }
    if code.is_empty() || code.len() > LONGEST_CODE {
        return Err(invalid("a code has 1 to 15 characters"));
    }
    Ok(Message {
        id: format!("wamid.{}", base64(hex_id(32).as_bytes())),
        channel: "whatsapp",
        from: DISPLAYED.to_owned(),
        to: to.to_owned(),
        text: format!("{code} is your verification code."),
        echo: body["biz_opaque_callback_data"].clone(),
        callback: None,
        at: asked.now,
    })
}
