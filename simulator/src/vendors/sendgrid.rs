//! Twilio SendGrid: e-mail by its v3 API, and its signed event webhook.
//!
//! Sources: the published OpenAPI document (tsg_mail_v3), twilio.com/docs/sendgrid/api-reference (errors, scopes, credits),
//! …/for-developers/tracking-events/event and …/getting-started-event-webhook-security-features.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::crypto::base64;
use crate::wire::{Answer, Asked, hex_id, is_address, stranger, text};

const KEY: &str = "SG.simulated.key";
const FROM: &str = "otp@simulated.example";
/// Nothing hangs on this key: it signs receipts of messages that nobody gets.
const PRIVATE_KEY: [u8; 32] = [0x51; 32];
const KNOWN: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "personalizations",
            "from",
            "reply_to",
            "reply_to_list",
            "subject",
            "content",
            "attachments",
            "template_id",
            "headers",
            "categories",
            "custom_args",
            "send_at",
            "batch_id",
            "asm",
            "ip_pool_name",
            "mail_settings",
            "tracking_settings",
        ],
    ),
    (
        "/personalizations/0",
        &[
            "from",
            "to",
            "cc",
            "bcc",
            "subject",
            "headers",
            "substitutions",
            "dynamic_template_data",
            "custom_args",
            "send_at",
        ],
    ),
    ("/personalizations/0/to/0", &["email", "name"]),
    ("/from", &["email", "name"]),
    ("/content/0", &["type", "value"]),
    ("/tracking_settings", &["click_tracking", "open_tracking", "subscription_tracking", "ganalytics"]),
];

#[derive(Debug)]
pub(crate) struct Sendgrid {
    key: Option<EcdsaKeyPair>,
}

impl Sendgrid {
    pub(crate) fn new() -> Self {
        Self { key: key() }
    }
}

fn key() -> Option<EcdsaKeyPair> {
    let public = PrivateKey::from_private_key(&ECDH_P256, &PRIVATE_KEY).ok()?.compute_public_key().ok()?;
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, &PRIVATE_KEY, public.as_ref()).ok()
}

fn refused(status: u16, message: &str, field: Option<&str>) -> Answer {
    let mut error = json!({"message": message});
    if let Some(field) = field {
        error["field"] = field.into();
    }
    Answer::json(status, &json!({"errors": [error]}))
}

fn unauthorised() -> Answer {
    refused(401, "The provided authorization grant is invalid, expired, or revoked", None)
}

impl Vendor for Sendgrid {
    fn name(&self) -> &'static str {
        "sendgrid"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        let public = self.key.as_ref().and_then(|key| key.public_key().as_der().ok());
        vec![
            ("base_url", url.to_owned()),
            ("api_key", KEY.to_owned()),
            ("from", format!("Simulated <{FROM}>")),
            ("webhook_public_key", public.map(|der| base64(der.as_ref())).unwrap_or_default()),
        ]
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if !asked.has_bearer(KEY) {
            return Err(unauthorised());
        }
        match (asked.method, asked.path) {
            ("POST", "/v3/mail/send") => message(asked).map(Read::Message),
            ("GET", "/v3/scopes") => Ok(Read::Other(Answer::json(200, &json!({"scopes": ["mail.send"]})))),
            ("GET", "/v3/user/credits") => {
                let remain = if asked.is_broke() { 0 } else { 100 };
                let body = json!({"remain": remain, "total": 100, "overage": 0, "used": 100 - remain,
                                  "last_reset": "2026-11-01", "next_reset": "2026-12-01", "reset_frequency": "monthly"});
                Ok(Read::Other(Answer::json(200, &body)))
            }
            _ => Err(refused(404, "not found", None)),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        Answer::empty(202).with("x-message-id", &message.id)
    }

    fn refuse(&self, refusal: Refusal, asked: &Asked<'_>) -> Option<Answer> {
        let reset = (asked.now.as_ms().div_euclid(1000) + 1).to_string();
        Some(match refusal {
            Refusal::Credentials => unauthorised(),
            Refusal::Balance => refused(401, "Maximum credits exceeded", None),
            Refusal::Ip => refused(403, "Your IP address is not on the access list", None),
            Refusal::Sender => {
                let words = "The from address does not match a verified Sender Identity. Mail cannot be sent until \
                             this error is resolved.";
                refused(403, words, Some("from"))
            }
            Refusal::Rejected => {
                refused(400, "Does not contain a valid address.", Some("personalizations.0.to.0.email"))
            }
            Refusal::Throttled => refused(429, "too many requests", None).with("x-ratelimit-reset", &reset),
            Refusal::Unavailable => refused(500, "internal server error", None),
        })
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        let seconds = now.as_ms().div_euclid(1000);
        let mut event = json!({
            "email": message.to,
            "timestamp": seconds,
            "smtp-id": format!("<{}@simulated.example>", message.id),
            "sg_event_id": hex_id(22),
            "sg_message_id": format!("{}.recvd-simulated-1-1.0", message.id),
        });
        match news {
            News::Sent => event["event"] = "processed".into(),
            News::Delivered => event["event"] = "delivered".into(),
            News::Failed => {
                event["event"] = "bounce".into();
                event["type"] = "bounce".into();
                event["reason"] = "550 5.1.1 The email account does not exist".into();
            }
        }
        // Custom arguments stand among the fields.
        for (name, value) in message.echo.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        // It ends its body so, and signs that too.
        let body = format!("{}\r\n", json!([event]));
        let timestamp = seconds.to_string();
        let signed = format!("{timestamp}{body}");
        let signature = self.key.as_ref()?.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("x-twilio-email-event-webhook-signature", base64(signature.as_ref())),
            ("x-twilio-email-event-webhook-timestamp", timestamp),
        ];
        Some(Post { callback: None, headers, body })
    }
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let body = asked.json().ok_or_else(|| refused(400, "Bad Request", None))?;
    if let Some(name) = stranger(&body, KNOWN) {
        let field = name.rsplit('.').next().unwrap_or_default();
        return Err(refused(400, &format!("Additional property {field} is not allowed"), None));
    }
    let to = text(&body, "/personalizations/0/to/0/email");
    if !is_address(to) {
        return Err(refused(400, "Does not contain a valid address.", Some("personalizations.0.to.0.email")));
    }
    if text(&body, "/from/email") != FROM {
        let words = "The from address does not match a verified Sender Identity.";
        return Err(refused(403, words, Some("from")));
    }
    if text(&body, "/subject").is_empty() {
        return Err(refused(400, "The subject is required.", Some("subject")));
    }
    let contents: Vec<_> = body["content"].as_array().into_iter().flatten().collect();
    let kinds: Vec<_> = contents.iter().map(|content| text(content, "/type")).collect();
    let is_empty = contents.iter().any(|content| text(content, "/value").is_empty());
    // Plain text comes first where there is some.
    if kinds.is_empty() || is_empty || kinds.iter().skip(1).any(|kind| *kind == "text/plain") {
        return Err(refused(
            400,
            "The content value must be a string at least one character in length.",
            Some("content"),
        ));
    }
    Ok(Message {
        id: hex_id(22),
        channel: "email",
        from: FROM.to_owned(),
        to: to.to_owned(),
        text: text(contents[0], "/value").to_owned(),
        echo: body["personalizations"][0].get("custom_args").cloned().unwrap_or(Value::Null),
        callback: None,
        at: asked.now,
    })
}
