//! Vonage Messages API: SMS and WhatsApp, with the account's key and secret.
//!
//! Sources: the published OpenAPI document (messages-olympus), developer.vonage.com/en/api-errors/messages,
//! …/en/messages/concepts/messages-status-callbacks, …/en/getting-started/concepts/webhooks (signed webhooks).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::crypto::{hmac_sha256, sha256};
use crate::wire::{Answer, Asked, hex_id, is_digits, is_url, stranger, text, uuid};

const KEY: &str = "51510000";
const SECRET: &str = "simulated-api-secret";
const SIGNATURE_SECRET: &str = "simulated-signature-secret";
const FROM: &str = "447700900001";
const WHATSAPP_FROM: &str = "447700900002";
const LONGEST_TEXT: usize = 1000;
const LONGEST_REFERENCE: usize = 40;
const TTL_S: std::ops::RangeInclusive<u64> = 20..=604_800;
const KNOWN: &[(&str, &[&str])] = &[(
    "",
    &[
        "channel",
        "message_type",
        "to",
        "from",
        "text",
        "custom",
        "template",
        "whatsapp",
        "sms",
        "ttl",
        "client_ref",
        "webhook_url",
        "webhook_version",
        "trusted_recipient",
    ],
)];

#[derive(Debug)]
pub(crate) struct Vonage;

fn problem(status: u16, code: &str, title: &str, detail: &str) -> Answer {
    let page = if code.bytes().all(|byte| byte.is_ascii_digit()) { "/messages" } else { "" };
    let kind = format!("https://developer.vonage.com/api-errors{page}#{code}");
    Answer::json(status, &json!({"type": kind, "title": title, "detail": detail, "instance": hex_id(32)}))
}

fn unauthorized() -> Answer {
    let detail = "Check that you're using the correct credentials, and that your account has this feature enabled";
    problem(401, "unauthorized", "You did not provide correct credentials.", detail)
}

impl Vendor for Vonage {
    fn name(&self) -> &'static str {
        "vonage"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", url.to_owned()),
            ("account_url", url.to_owned()),
            ("api_key", KEY.to_owned()),
            ("api_secret", SECRET.to_owned()),
            ("signature_secret", SIGNATURE_SECRET.to_owned()),
            ("from", FROM.to_owned()),
            ("whatsapp_from", WHATSAPP_FROM.to_owned()),
        ]
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if !asked.has_basic(KEY, SECRET) {
            return Err(unauthorized());
        }
        match (asked.method, asked.path) {
            ("POST", "/v1/messages") => message(asked).map(Read::Message),
            ("GET", "/account/get-balance") => {
                let value = if asked.is_broke() { 0.0 } else { 10.28 };
                Ok(Read::Other(Answer::json(200, &json!({"value": value, "autoReload": false}))))
            }
            _ => Err(problem(404, "not-found", "Not found", "There is no such resource")),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        Answer::json(202, &json!({"message_uuid": message.id}))
    }

    fn refuse(&self, refusal: Refusal, _: &Asked<'_>) -> Option<Answer> {
        let parameter = "The value of one or more parameters is invalid.";
        Some(match refusal {
            Refusal::Credentials => unauthorized(),
            Refusal::Balance => problem(402, "low-balance", "Low balance", "Your account balance is too low"),
            Refusal::Sender => problem(422, "1420", "Invalid sender", "The `from` parameter is invalid"),
            Refusal::Rejected => problem(422, "1430", "Invalid recipient", parameter),
            Refusal::Throttled => problem(429, "1000", "Rate Limit Hit", "Please wait, then retry your request"),
            Refusal::Unavailable => problem(500, "1030", "Internal error", "There was an error in the Platform."),
            Refusal::Ip => return None,
        })
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        let callback = message.callback.clone()?;
        let status = match news {
            News::Sent => "submitted",
            News::Delivered => "delivered",
            News::Failed => "undeliverable",
        };
        let mut body = json!({
            "message_uuid": message.id,
            "to": message.to,
            "from": message.from,
            "timestamp": now.rfc3339(),
            "status": status,
            "channel": message.channel,
            "client_ref": message.echo,
            "usage": {"currency": "EUR", "price": "0.0333"},
        });
        if news == News::Failed {
            // Absent for good, or not on WhatsApp.
            let code = if message.channel == "whatsapp" { "1300" } else { "1190" };
            let kind = format!("https://developer.vonage.com/api-errors/messages#{code}");
            body["error"] = json!({"type": kind, "title": code, "detail": "Not delivered", "instance": hex_id(32)});
        }
        let body = body.to_string();
        let authorization = format!("Bearer {}", token(&body, now));
        let headers = vec![("content-type", "application/json".to_owned()), ("authorization", authorization)];
        Some(Post { callback: Some(callback), headers, body })
    }
}

/// The JWT that a webhook carries: HS256 over the account's signature secret, with a hash of the body.
fn token(body: &str, now: Timestamp) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let claims = json!({
        "iss": "Vonage",
        "iat": now.as_ms().div_euclid(1000),
        "jti": uuid(),
        "api_key": KEY,
        "payload_hash": sha256(body.as_bytes()),
    });
    let text = format!("{}.{}", encode(br#"{"alg":"HS256","typ":"JWT"}"#), encode(claims.to_string().as_bytes()));
    let signature = encode(&hmac_sha256(SIGNATURE_SECRET.as_bytes(), text.as_bytes()));
    format!("{text}.{signature}")
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let words = "Unexpected character: was expecting a JSON object";
    let body = asked.json();
    let body =
        body.ok_or_else(|| problem(422, "invalid-json", "The request body did not contain valid JSON", words))?;
    let invalid = |code: &str, detail: &str| problem(422, code, "Invalid params", detail);
    if let Some(name) = stranger(&body, KNOWN) {
        return Err(invalid("1020", &format!("`{name}` is no parameter")));
    }
    for name in ["channel", "message_type", "to", "from"] {
        if text(&body, &format!("/{name}")).is_empty() {
            return Err(invalid("1010", &format!("`{name}` is missing")));
        }
    }
    let channel = match text(&body, "/channel") {
        "sms" => "sms",
        "whatsapp" => "whatsapp",
        _ => return Err(problem(422, "1400", "Unsupported channel", "The specified channel is not supported.")),
    };
    check_parameters(&body, channel)?;
    let words = content(&body, channel).ok_or_else(|| invalid("1020", "there is nothing to say"))?;
    Ok(Message {
        id: uuid(),
        channel,
        from: text(&body, "/from").to_owned(),
        to: text(&body, "/to").to_owned(),
        text: words,
        echo: body["client_ref"].clone(),
        callback: body["webhook_url"].as_str().map(str::to_owned),
        at: asked.now,
    })
}

fn check_parameters(body: &Value, channel: &str) -> Result<(), Answer> {
    let parameter = "The value of one or more parameters is invalid.";
    if !is_digits(text(body, "/to")) {
        return Err(problem(422, "1430", "Invalid recipient", "The `to` parameter is invalid for the given channel."));
    }
    if text(body, "/from") != if channel == "sms" { FROM } else { WHATSAPP_FROM } {
        return Err(problem(422, "1420", "Invalid sender", "The `from` parameter is invalid for the given channel."));
    }
    if body.get("ttl").is_some_and(|ttl| !ttl.as_u64().is_some_and(|ttl| TTL_S.contains(&ttl))) {
        return Err(problem(422, "1130", "Invalid TTL", parameter));
    }
    if text(body, "/client_ref").len() > LONGEST_REFERENCE {
        let detail = "The client reference can be a string of up to 40 characters.";
        return Err(problem(422, "1450", "Invalid client reference", detail));
    }
    let is_bad_url = body.get("webhook_url").is_some_and(|url| !url.as_str().is_some_and(is_url));
    let is_bad_version = body.get("webhook_version").is_some_and(|version| version != "v1" && version != "v0.1");
    if is_bad_url || is_bad_version {
        return Err(problem(422, "1020", "Invalid params", parameter));
    }
    Ok(())
}

/// The words, or what a template is filled with.
fn content(body: &Value, channel: &str) -> Option<String> {
    let words = match text(body, "/message_type") {
        "text" => text(body, "/text"),
        "custom" if channel == "whatsapp" && text(body, "/custom/type") == "template" => {
            let component = |n: usize| text(body, &format!("/custom/template/components/{n}/parameters/0/text"));
            // An authentication template has the code in its body and in its button.
            Some(component(0)).filter(|code| *code == component(1))?
        }
        _ => return None,
    };
    (!words.is_empty() && words.chars().count() <= LONGEST_TEXT).then(|| words.to_owned())
}
