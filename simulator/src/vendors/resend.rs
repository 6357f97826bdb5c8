//! Resend: e-mail by its API, and webhooks that Svix signs.
//!
//! Sources: the published OpenAPI document, resend.com/docs/api-reference (emails, errors, rate limit),
//! …/dashboard/webhooks; the signature is that of Standard Webhooks.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::otp::time::Timestamp;
use serde_json::{Map, Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::crypto::{base64, hmac_sha256};
use crate::wire::{Answer, Asked, hex_id, is_address, stranger, text, uuid};

const KEY: &str = "re_simulated_key";
const DOMAIN: &str = "simulated.example";
const FROM: &str = "otp@simulated.example";
const SECRET: &str = "whsec_UVFRUVFRUVFRUVFRUVFRUVFRUVFRUVFR";
const LONGEST_KEY: usize = 256;
const KNOWN: &[(&str, &[&str])] = &[(
    "",
    &[
        "from",
        "to",
        "subject",
        "bcc",
        "cc",
        "reply_to",
        "html",
        "text",
        "template",
        "headers",
        "scheduled_at",
        "attachments",
        "tags",
        "topic_id",
    ],
)];

#[derive(Debug)]
pub(crate) struct Resend;

fn refused(status: u16, name: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"statusCode": status, "name": name, "message": message}))
}

fn unauthorised() -> Answer {
    refused(403, "invalid_api_key", "API key is invalid")
}

impl Vendor for Resend {
    fn name(&self) -> &'static str {
        "resend"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", url.to_owned()),
            ("api_key", KEY.to_owned()),
            ("from", format!("Simulated <{FROM}>")),
            ("webhook_secret", SECRET.to_owned()),
        ]
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if asked.header("user-agent").is_empty() {
            return Err(Answer::text(403, "error code: 1010"));
        }
        if asked.header("authorization").is_empty() {
            return Err(refused(401, "missing_api_key", "Missing API key in the authorization header"));
        }
        if !asked.has_bearer(KEY) {
            return Err(unauthorised());
        }
        match (asked.method, asked.path) {
            ("POST", "/emails") => message(asked).map(Read::Message),
            ("GET", "/domains") => {
                let status = if asked.standing == Some(Refusal::Sender) { "failed" } else { "verified" };
                let domain = json!({"id": uuid(), "name": DOMAIN, "status": status, "region": "eu-west-1"});
                let body = json!({"object": "list", "has_more": false, "data": [domain]});
                Ok(Read::Other(Answer::json(200, &body)))
            }
            _ => Err(refused(404, "not_found", "The requested endpoint does not exist")),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        Answer::json(200, &json!({"id": message.id}))
    }

    fn refuse(&self, refusal: Refusal, _: &Asked<'_>) -> Option<Answer> {
        Some(match refusal {
            Refusal::Credentials => unauthorised(),
            Refusal::Balance => refused(429, "monthly_quota_exceeded", "You have reached your monthly email quota."),
            Refusal::Sender => refused(403, "validation_error", "The simulated.example domain is not verified."),
            Refusal::Rejected => refused(422, "validation_error", "Invalid `to` field."),
            Refusal::Throttled => refused(429, "rate_limit_exceeded", "Too many requests.").with("retry-after", "1"),
            Refusal::Unavailable => refused(500, "internal_server_error", "An unexpected error occurred."),
            Refusal::Ip => return None,
        })
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        let kind = match news {
            News::Sent => "email.sent",
            News::Delivered => "email.delivered",
            News::Failed => "email.bounced",
        };
        let mut data = json!({
            "email_id": message.id,
            "created_at": message.at.rfc3339(),
            "from": message.from,
            "to": [message.to],
            "subject": "",
            "tags": message.echo,
        });
        if news == News::Failed {
            data["bounce"] = json!({"type": "Permanent", "subType": "General",
                                    "message": "The recipient's email address does not exist.",
                                    "diagnosticCode": ["smtp; 550 5.1.1 user unknown"]});
        }
        let body = json!({"type": kind, "created_at": now.rfc3339(), "data": data}).to_string();
        let (id, timestamp) = (format!("msg_{}", hex_id(27)), now.as_ms().div_euclid(1000).to_string());
        let secret = BASE64_STANDARD.decode(SECRET.trim_start_matches("whsec_")).ok()?;
        let signature = base64(&hmac_sha256(&secret, format!("{id}.{timestamp}.{body}").as_bytes()));
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("svix-id", id),
            ("svix-timestamp", timestamp),
            ("svix-signature", format!("v1,{signature}")),
        ];
        Some(Post { callback: None, headers, body })
    }
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let invalid = |message: &str| refused(422, "validation_error", message);
    let body = asked.json().ok_or_else(|| refused(400, "validation_error", "The body is no JSON object"))?;
    if let Some(name) = stranger(&body, KNOWN) {
        return Err(invalid(&format!("Unrecognized key: \"{name}\"")));
    }
    for name in ["from", "to", "subject"] {
        if body.get(name).is_none() {
            return Err(refused(422, "missing_required_field", &format!("Missing `{name}` field.")));
        }
    }
    let key = asked.header("idempotency-key");
    if key.len() > LONGEST_KEY {
        let words = "The key must be between 1-256 chars.";
        return Err(refused(400, "invalid_idempotency_key", words));
    }
    let (from, to) = (text(&body, "/from"), body["to"].as_str().unwrap_or_else(|| text(&body, "/to/0")));
    let address = from.rsplit_once('<').map_or(from, |(_, address)| address.trim_end_matches('>'));
    if !is_address(address) {
        return Err(refused(422, "invalid_from_address", "Invalid `from` field."));
    }
    if address != FROM {
        return Err(refused(403, "validation_error", &format!("The domain of {address} is not verified.")));
    }
    if !is_address(to) {
        return Err(invalid("Invalid `to` field. The email address needs to follow the `email@example.com` format."));
    }
    if text(&body, "/text").is_empty() && text(&body, "/html").is_empty() {
        return Err(refused(422, "missing_required_field", "Missing `html` or `text` field."));
    }
    let tags = tags(&body["tags"])
        .ok_or_else(|| invalid("Tags should only contain ASCII letters, numbers, underscores, or dashes."))?;
    Ok(Message {
        id: uuid(),
        channel: "email",
        from: from.to_owned(),
        to: to.to_owned(),
        text: text(&body, "/text").to_owned(),
        echo: tags,
        callback: None,
        at: asked.now,
    })
}

/// They come as a list of names and values, and go back as a table.
fn tags(listed: &Value) -> Option<Value> {
    let is_plain = |text: &&str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let mut tags = Map::new();
    for tag in listed.as_array().into_iter().flatten() {
        let part = |name: &str| tag[name].as_str().filter(is_plain);
        tags.insert(part("name")?.to_owned(), part("value")?.into());
    }
    Some(tags.into())
}
