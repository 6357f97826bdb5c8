//! Telnyx: SMS by the Messaging API, version 2.
//!
//! Sources: developers.telnyx.com/api-reference/messages, …/docs/messaging/messages/error-codes,
//! …/development/api-fundamentals/api-errors, github.com/team-telnyx/telnyx-node (src/lib/webhooks.ts).

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::crypto::base64;
use crate::wire::{Answer, Asked, is_e164, is_url, stranger, text, uuid};

const KEY: &str = "KEY51515151SIMULATED";
const FROM: &str = "+15005550006";
/// Nothing hangs on this key: it signs receipts of messages that nobody gets.
const SEED: [u8; 32] = [0x51; 32];
const KNOWN: &[(&str, &[&str])] = &[(
    "",
    &[
        "from",
        "to",
        "text",
        "messaging_profile_id",
        "webhook_url",
        "webhook_failover_url",
        "use_profile_webhooks",
        "type",
        "encoding",
        "subject",
        "media_urls",
        "auto_detect",
        "send_at",
    ],
)];

#[derive(Debug)]
pub(crate) struct Telnyx {
    key: Option<Ed25519KeyPair>,
}

impl Telnyx {
    pub(crate) fn new() -> Self {
        Self { key: Ed25519KeyPair::from_seed_unchecked(&SEED).ok() }
    }
}

fn refused(status: u16, code: &str, title: &str, detail: &str, pointer: &str) -> Answer {
    let mut error = json!({"code": code, "title": title, "detail": detail,
                           "meta": {"url": format!("https://developers.telnyx.com/docs/overview/errors/{code}")}});
    if !pointer.is_empty() {
        error["source"] = json!({"pointer": pointer});
    }
    Answer::json(status, &json!({"errors": [error]}))
}

fn unauthorised() -> Answer {
    refused(401, "10009", "Authentication failed", "Could not understand the provided credentials.", "")
}

impl Vendor for Telnyx {
    fn name(&self) -> &'static str {
        "telnyx"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        let key = self.key.as_ref().map(|key| base64(key.public_key().as_ref())).unwrap_or_default();
        vec![("base_url", url.to_owned()), ("api_key", KEY.to_owned()), ("from", FROM.to_owned()), ("public_key", key)]
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if !asked.has_bearer(KEY) {
            return Err(unauthorised());
        }
        match (asked.method, asked.path) {
            ("POST", "/v2/messages") => message(asked).map(Read::Message),
            ("GET", "/v2/balance") => {
                let balance = if asked.is_broke() { "0.00" } else { "300.00" };
                let data = json!({"record_type": "balance", "balance": balance, "credit_limit": "0.00",
                                  "available_credit": balance, "currency": "USD", "pending": "0.00"});
                Ok(Read::Other(Answer::json(200, &json!({"data": data}))))
            }
            _ => Err(refused(404, "10005", "Resource not found", "The requested resource could not be found.", "")),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        Answer::json(200, &json!({"data": record(message, "queued", message.at)}))
    }

    fn refuse(&self, refusal: Refusal, _: &Asked<'_>) -> Option<Answer> {
        Some(match refusal {
            Refusal::Credentials => unauthorised(),
            Refusal::Balance => refused(403, "20100", "Insufficient Funds", "You do not have sufficient funds.", ""),
            Refusal::Sender => {
                refused(400, "40013", "Invalid messaging source number", "The source number is invalid.", "/from")
            }
            Refusal::Rejected => {
                refused(400, "40012", "Invalid messaging destination number", "The number is invalid.", "/to")
            }
            Refusal::Throttled => refused(429, "10011", "Too many requests", "You have exceeded the rate limit.", ""),
            Refusal::Unavailable => refused(503, "10007", "Unexpected error", "An unexpected error occurred.", ""),
            Refusal::Ip => return None,
        })
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        let callback = message.callback.clone()?;
        let (event, status) = match news {
            News::Sent => ("message.sent", "sent"),
            News::Delivered => ("message.finalized", "delivered"),
            News::Failed => ("message.finalized", "delivery_failed"),
        };
        let mut payload = record(message, status, now);
        if news == News::Failed {
            payload["errors"] = json!([{"code": "40008", "title": "Undeliverable", "detail": "Not delivered"}]);
        }
        let data = json!({"event_type": event, "id": uuid(), "occurred_at": now.rfc3339(), "payload": payload,
                          "record_type": "event"});
        let body = json!({"data": data, "meta": {"attempt": 1, "delivered_to": callback}}).to_string();
        let timestamp = now.as_ms().div_euclid(1000).to_string();
        let signature = self.key.as_ref()?.sign(format!("{timestamp}|{body}").as_bytes());
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("telnyx-timestamp", timestamp),
            ("telnyx-signature-ed25519", base64(signature.as_ref())),
        ];
        Some(Post { callback: Some(callback), headers, body })
    }
}

/// A message, as answers and events show it.
fn record(message: &Message, status: &str, now: Timestamp) -> Value {
    let is_over = matches!(status, "delivered" | "delivery_failed");
    json!({
        "record_type": "message",
        "direction": "outbound",
        "id": message.id,
        "type": "SMS",
        "from": {"phone_number": message.from, "carrier": "TELNYX LLC", "line_type": "VoIP"},
        "to": [{"phone_number": message.to, "status": status, "carrier": "SIMULATED", "line_type": "Wireless"}],
        "text": message.text,
        "media": [],
        "webhook_url": message.callback,
        "encoding": "GSM-7",
        "parts": 1,
        "tags": [],
        "cost": null,
        "received_at": message.at.rfc3339(),
        "sent_at": (status != "queued").then(|| message.at.rfc3339()),
        "completed_at": is_over.then(|| now.rfc3339()),
        "errors": [],
    })
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let invalid = |detail: &str, pointer: &str| refused(422, "10015", "Bad Request", detail, pointer);
    let body = asked.json().ok_or_else(|| invalid("The request body is no JSON object.", ""))?;
    if let Some(name) = stranger(&body, KNOWN) {
        return Err(invalid("Unknown parameter.", &format!("/{name}")));
    }
    let (to, from, words) = (text(&body, "/to"), text(&body, "/from"), text(&body, "/text"));
    if from != FROM {
        let detail = "The source number is invalid.";
        return Err(refused(400, "40013", "Invalid messaging source number", detail, "/from"));
    }
    if !is_e164(to) {
        let detail = "The phone number is not valid: it must be in +E.164 format.";
        return Err(refused(400, "10002", "Invalid phone number", detail, "/to"));
    }
    if words.is_empty() {
        return Err(invalid("The text is missing.", "/text"));
    }
    let callback = body["webhook_url"].as_str();
    if callback.is_some_and(|url| !is_url(url)) || body.get("type").is_some_and(|kind| kind != "SMS") {
        return Err(invalid("A parameter is invalid.", ""));
    }
    Ok(Message {
        id: uuid(),
        channel: "sms",
        from: from.to_owned(),
        to: to.to_owned(),
        text: words.to_owned(),
        echo: Value::Null,
        callback: callback.map(str::to_owned),
        at: asked.now,
    })
}
