//! Mailgun: e-mail by its API, and webhooks whose signature stands in their body.
//!
//! Sources: the published OpenAPI document, documentation.mailgun.com/docs/mailgun (responses, webhooks and their
//! security), github.com/mailgun/mailgun-go.

use common::otp::time::Timestamp;
use serde_json::{Map, Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::crypto::{hex, hmac_sha256};
use crate::wire::{Answer, Asked, hex_id, is_address, strange_field};

const KEY: &str = "simulated-api-key";
const DOMAIN: &str = "mg.simulated.example";
const FROM: &str = "otp@mg.simulated.example";
const SIGNING_KEY: &str = "simulated-signing-key";
const FIELDS: [&str; 17] = [
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "text",
    "html",
    "amp-html",
    "attachment",
    "inline",
    "template",
    "t:",
    "o:",
    "h:",
    "v:",
    "recipient-variables",
    "recipient_variables",
];
const OPTIONS: [&str; 12] = [
    "o:tag",
    "o:dkim",
    "o:deliverytime",
    "o:deliver-within",
    "o:testmode",
    "o:tracking",
    "o:tracking-clicks",
    "o:tracking-opens",
    "o:require-tls",
    "o:skip-verification",
    "o:sending-ip",
    "o:suppress-headers",
];

#[derive(Debug)]
pub(crate) struct Mailgun;

fn refused(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"message": message}))
}

fn forbidden() -> Answer {
    Answer::text(401, "Forbidden")
}

impl Vendor for Mailgun {
    fn name(&self) -> &'static str {
        "mailgun"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", url.to_owned()),
            ("api_key", KEY.to_owned()),
            ("domain", DOMAIN.to_owned()),
            ("from", format!("Simulated <{FROM}>")),
            ("webhook_secret", SIGNING_KEY.to_owned()),
        ]
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if !asked.has_basic("api", KEY) {
            return Err(forbidden());
        }
        let parts: Vec<_> = asked.path.split('/').collect();
        match (asked.method, parts.as_slice()) {
            ("POST", ["", "v3", DOMAIN, "messages"]) => message(asked).map(Read::Message),
            ("POST", ["", "v3", domain, "messages"]) => Err(refused(404, &format!("Domain not found: {domain}"))),
            ("GET", ["", "v4", "domains", DOMAIN]) => {
                let state = if asked.standing == Some(Refusal::Sender) { "unverified" } else { "active" };
                let domain = json!({"name": DOMAIN, "state": state, "type": "custom"});
                Ok(Read::Other(Answer::json(200, &json!({"domain": domain}))))
            }
            ("GET", ["", "v4", "domains", _]) => Err(refused(404, "Domain not found")),
            _ => Err(Answer::text(404, "404 page not found")),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        Answer::json(200, &json!({"id": format!("<{}>", message.id), "message": "Queued. Thank you."}))
    }

    fn refuse(&self, refusal: Refusal, _: &Asked<'_>) -> Option<Answer> {
        Some(match refusal {
            Refusal::Credentials => forbidden(),
            Refusal::Balance => refused(402, "Payment required: the account is disabled"),
            Refusal::Ip => refused(403, "Your IP address is not on the allowlist"),
            Refusal::Sender => refused(403, &format!("Domain {DOMAIN} is not allowed to send: domain is unverified")),
            Refusal::Rejected => refused(400, "to parameter is not a valid address. please check documentation"),
            Refusal::Throttled => {
                let words = "account-requests-per-sec limit exceeded, try again after 1 seconds";
                refused(429, &format!("Domain {DOMAIN} is not allowed to send: {words}"))
            }
            Refusal::Unavailable => refused(500, "Internal Server Error"),
        })
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        let timestamp = now.as_ms().div_euclid(1000).to_string();
        let token = [hex_id(32), hex_id(18)].concat();
        let tag = hex(&hmac_sha256(SIGNING_KEY.as_bytes(), format!("{timestamp}{token}").as_bytes()));
        let mut event = json!({
            "id": hex_id(22),
            "timestamp": now.as_ms().div_euclid(1000),
            "recipient": message.to,
            "message": {"headers": {"message-id": message.id, "from": message.from, "to": message.to}},
            "user-variables": message.echo,
            "delivery-status": {},
        });
        match news {
            News::Sent => event["event"] = "accepted".into(),
            News::Delivered => {
                event["event"] = "delivered".into();
                event["delivery-status"] = json!({"code": 250, "message": "OK"});
            }
            News::Failed => {
                event["event"] = "failed".into();
                event["severity"] = "permanent".into();
                event["reason"] = "bounce".into();
                event["delivery-status"] = json!({"code": 550, "message": "5.1.1 The account does not exist"});
            }
        }
        let signature = json!({"timestamp": timestamp, "token": token, "signature": tag});
        let body = json!({"signature": signature, "event-data": event}).to_string();
        Some(Post { callback: None, headers: vec![("content-type", "application/json".to_owned())], body })
    }
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let fields = asked.multipart().or_else(|| asked.form()).ok_or_else(|| refused(400, "The body is no form"))?;
    let is_strange_option = |name: &&String| name.starts_with("o:") && !OPTIONS.contains(&name.as_str());
    let strange = strange_field(&fields, &FIELDS).or_else(|| Some(fields.keys().find(is_strange_option)?.as_str()));
    if let Some(name) = strange {
        return Err(refused(400, &format!("{name} is not a parameter")));
    }
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let from = field("from");
    let address = from.rsplit_once('<').map_or(from, |(_, address)| address.trim_end_matches('>'));
    if !is_address(address) {
        return Err(refused(400, "from parameter is missing"));
    }
    if !address.ends_with(&format!("@{DOMAIN}")) {
        return Err(refused(400, "from parameter is not of a verified domain"));
    }
    if !is_address(field("to")) {
        return Err(refused(400, "to parameter is not a valid address. please check documentation"));
    }
    if field("text").is_empty() && field("html").is_empty() {
        return Err(refused(400, "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"));
    }
    if field("subject").is_empty() {
        return Err(refused(400, "subject parameter is missing"));
    }
    let variables = fields.iter().filter_map(|(name, value)| Some((name.strip_prefix("v:")?, value)));
    let variables: Map<_, _> = variables.map(|(name, value)| (name.to_owned(), Value::from(value.as_str()))).collect();
    Ok(Message {
        id: format!("{}.{}@{DOMAIN}", asked.now.as_ms(), hex_id(16)),
        channel: "email",
        from: from.to_owned(),
        to: field("to").to_owned(),
        text: field("text").to_owned(),
        echo: variables.into(),
        callback: None,
        at: asked.now,
    })
}
