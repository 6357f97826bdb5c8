//! Vonage Messages API: SMS and WhatsApp, with the account's key and secret. Its JWTs for applications are not used.
//!
//! Sources: developer.vonage.com/en/api/messages, …/en/api-errors/messages and /en/api-errors,
//! …/en/messages/concepts/messages-status-callbacks, …/en/getting-started/concepts/webhooks (signed webhooks).
//!
//! Unsure: the least `ttl` that Vonage takes; what the legacy SMS API asks for, 20 s, is kept to here. The balance is at
//! another host than the messages, so `account_url` is a setting beside `base_url`. Whether receipts that are sent again
//! are signed anew is not said; one that is older than five minutes is refused.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use common::clock::Clock;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::ids::AttemptId;
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use common::otp::time::Timestamp;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::facts::Facts;
use crate::http::{self, Reply, number};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::signature::{encode_hex, fits, is_recent};
use crate::words::{failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check};

#[cfg(test)]
mod tests;

const BASE_URL: &str = "https://api.nexmo.com";
const ACCOUNT_URL: &str = "https://rest.nexmo.com";
const VALIDITY_S: std::ops::RangeInclusive<u64> = 20..=604_800;
const SENDER_ADVICE: &str = "set from (VONAGE_FROM) for SMS, whatsapp_from (VONAGE_WHATSAPP_FROM) for WhatsApp";

pub(crate) const KIND: Kind = Kind {
    name: "vonage",
    configure,
    environment: &[
        ("NEXMO_API_KEY", "api_key"),
        ("NEXMO_API_SECRET", "api_secret"),
        ("VONAGE_BRAND_NAME", "from"),
        ("VONAGE_API_KEY", "api_key"),
        ("VONAGE_API_SECRET", "api_secret"),
        ("VONAGE_SIGNATURE_SECRET", "signature_secret"),
        ("VONAGE_FROM", "from"),
        ("VONAGE_WHATSAPP_FROM", "whatsapp_from"),
    ],
    switched_on_by: &[&["VONAGE_API_KEY", "VONAGE_API_SECRET"]],
    facts: Facts {
        title: "Vonage",
        channels: &[Channel::Sms, Channel::Whatsapp],
        receipts: "each message names its address",
        signature: "JWT over the body",
        check: "balance",
        needs: "`VONAGE_FROM` or `VONAGE_WHATSAPP_FROM`",
        certainty: "certain but for the least validity",
    },
};

pub struct Vonage {
    name: String,
    http: Client,
    clock: Clock,
    base_url: String,
    account_url: String,
    api_key: String,
    api_secret: SecretString,
    /// Receipts are signed with it; without it none are asked for.
    signature_secret: Option<SecretString>,
    channels: Vec<Channel>,
    from: Option<String>,
    whatsapp_from: Option<String>,
    /// The approved authentication template, which takes the code in its body and in its button.
    whatsapp_template: Option<String>,
    whatsapp_language: String,
}

impl fmt::Debug for Vonage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vonage({} at {} as {})", self.api_key, self.base_url, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let api_key = settings.text("api_key");
    if api_key.is_none() {
        settings.problem("api_key", "set it (VONAGE_API_KEY) to the account's API key");
    }
    let api_secret = settings.secret("api_secret");
    if api_secret.is_none() {
        settings.problem("api_secret", "set it (VONAGE_API_SECRET) to the account's API secret");
    }
    let signature_secret = settings.secret("signature_secret");
    let mut sender = |field| settings.text(field).map(|from| from.trim_start_matches('+').to_owned());
    let (from, whatsapp_from) = (sender("from"), sender("whatsapp_from"));
    let sms = from.is_some().then_some(Channel::Sms);
    let channels: Vec<_> = sms.into_iter().chain(whatsapp_from.is_some().then_some(Channel::Whatsapp)).collect();
    if channels.is_empty() {
        settings.problem("from", SENDER_ADVICE);
    }
    let whatsapp_template = settings.text("whatsapp_template");
    let whatsapp_language = settings.text("whatsapp_language").unwrap_or_else(|| "en".to_owned());
    let base_url = settings.base_url("base_url", BASE_URL);
    let account_url = settings.base_url("account_url", ACCOUNT_URL);
    let problems = settings.finish();
    match (api_key, api_secret) {
        (Some(api_key), Some(api_secret)) if problems.is_empty() => Ok(Arc::new(Vonage {
            name,
            http: tools.http.clone(),
            clock: tools.clock.clone(),
            base_url,
            account_url,
            api_key,
            api_secret,
            signature_secret,
            channels,
            from,
            whatsapp_from,
            whatsapp_template,
            whatsapp_language,
        })),
        _ => Err(problems),
    }
}

/// A message of either channel. Numbers have no plus.
#[derive(Serialize)]
struct Outgoing<'a> {
    channel: Channel,
    message_type: &'static str,
    to: &'a str,
    from: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// What WhatsApp itself takes: only so does a template's button get its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    custom: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    client_ref: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_version: Option<&'static str>,
}

impl Vonage {
    fn outgoing<'a>(&'a self, message: &'a Message) -> Outgoing<'a> {
        let is_sms = message.channel == Channel::Sms;
        let from = if is_sms { &self.from } else { &self.whatsapp_from };
        let template = self.whatsapp_template.as_deref().filter(|_| !is_sms);
        let webhook_url = message.callback.as_deref().filter(|_| self.has_receipts());
        let validity = message.remaining.as_secs().clamp(*VALIDITY_S.start(), *VALIDITY_S.end());
        Outgoing {
            channel: message.channel,
            message_type: if template.is_some() { "custom" } else { "text" },
            to: message.target.delivered().trim_start_matches('+'),
            from: from.as_deref().unwrap_or_default(),
            text: template.is_none().then_some(message.content.text.as_str()),
            custom: template.map(|name| self.authentication(name, message.code.reveal())),
            ttl: is_sms.then_some(validity),
            client_ref: reference(message.attempt),
            webhook_url,
            webhook_version: webhook_url.map(|_| "v1"),
        }
    }

    fn authentication(&self, template: &str, code: &str) -> Value {
        let parameters = json!([{"type": "text", "text": code}]);
        json!({
            "type": "template",
            "template": {
                "name": template,
                "language": {"policy": "deterministic", "code": self.whatsapp_language},
                "components": [
                    {"type": "body", "parameters": parameters},
                    {"type": "button", "sub_type": "url", "index": "0", "parameters": parameters},
                ],
            },
        })
    }
}

#[async_trait]
impl Provider for Vonage {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        if !self.channels.contains(&message.channel) {
            return Err(failure(message, Cause::Misconfigured(Misconfiguration::Sender), SENDER_ADVICE));
        }
        let request = self.http.post(format!("{}/v1/messages", self.base_url));
        let request = request.basic_auth(&self.api_key, Some(self.api_secret.expose_secret()));
        let reply = http::exchange(request.json(&self.outgoing(message))).await;
        let reply = reply.map_err(|trouble| trouble.failure(message))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let request = self.http.get(format!("{}/account/get-balance", self.account_url));
        let request = request.basic_auth(&self.api_key, Some(self.api_secret.expose_secret()));
        let Ok(reply) = http::exchange(request).await else { return check::away() };
        match serde_json::from_slice::<Balance>(&reply.body) {
            Ok(Balance { value, auto_reload }) if reply.is_success() => {
                check::welcome(Some((Some(value), format!("{value} EUR"))), auto_reload)
            }
            _ => check::refused(&cause(&reply, ""), &reply.words()),
        }
    }

    fn has_receipts(&self) -> bool {
        self.signature_secret.is_some()
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        let secret = self.signature_secret.as_ref().ok_or(BadReceipt::NotSupported)?;
        let token = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        if token.and_then(|token| signed(secret, token, request.body, self.clock.now())).is_none() {
            return Err(BadReceipt::Forged);
        }
        let status: Status = serde_json::from_slice(request.body).map_err(|_| BadReceipt::Malformed)?;
        let message_id = message_id(&status.message_uuid).ok_or(BadReceipt::Malformed)?;
        let attempt = status.client_ref.and_then(|reference| reference.parse().ok()).or_else(|| request.attempt());
        let Some(status_now) = receipt_status(&status.status) else { return Ok(Vec::new()) };
        let code = status.error.as_ref().and_then(|error| number(&error.title)).filter(|code| *code < 10_000);
        let detail = code.map(|code| code.to_string());
        Ok(vec![ReceiptEvent { message_id, attempt, status: status_now, detail }])
    }
}

/// The attempt in the 40 characters that an error of the specification speaks of, although its field says 100.
fn reference(attempt: AttemptId) -> String {
    let dispatch = attempt.dispatch;
    format!("{}:{}:{}", dispatch.verification.as_uuid().simple(), dispatch.n, attempt.n)
}

/// The fields of a message taken and of a problem (RFC 7807).
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    message_uuid: Option<String>,
    r#type: Option<String>,
    title: Option<String>,
    detail: Option<String>,
}

impl Wire {
    /// The problem's code, or its name: it stands behind the `#` of its type.
    fn code(&self) -> &str {
        self.r#type.as_deref().and_then(|url| url.rsplit_once('#')).map_or("", |(_, code)| code)
    }
}

#[derive(Deserialize)]
struct Balance {
    value: f64,
    #[serde(rename = "autoReload", default)]
    auto_reload: bool,
}

#[derive(Deserialize)]
struct Status {
    message_uuid: String,
    status: String,
    client_ref: Option<String>,
    error: Option<StatusError>,
}

#[derive(Deserialize)]
struct StatusError {
    /// The code, as text or as a number.
    #[serde(default)]
    title: Value,
}

fn read(reply: &Reply) -> Result<Handed, (Cause, String)> {
    let wire = serde_json::from_slice::<Wire>(&reply.body).ok();
    if reply.is_success() && !reply.whole && wire.is_none() {
        // It was taken, only its id was lost on the way.
        return Ok(Handed::default());
    }
    let Some(wire) = wire else { return Err((cause(reply, ""), reply.words())) };
    match wire.message_uuid.as_deref().and_then(message_id) {
        Some(id) if reply.is_success() => Ok(Handed { message_id: Some(id), delivered: false }),
        _ => {
            let said = [Some(wire.code()), wire.title.as_deref(), wire.detail.as_deref()].into_iter().flatten();
            let words = said.fold(reply.status.to_string(), |words, said| format!("{words}: {said}"));
            Err((cause(reply, wire.code()), words))
        }
    }
}

/// All that is known of the errors of the Messages API. Code 1040 blames the message or the number, so another provider
/// may try; 110 is how the specification writes 1430.
fn cause(reply: &Reply, code: &str) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    match (reply.status, code) {
        (402, _) | (_, "1070" | "low-balance" | "out-of-credit") => Cause::Misconfigured(Balance),
        (500.., _) => Cause::Unavailable,
        (429, _) | (_, "1000" | "throttled") => Cause::Throttled { retry_after: reply.retry_after },
        (_, "1030" | "1040" | "1100" | "1180" | "1220" | "1230" | "1260" | "1330" | "1331") => Cause::Unavailable,
        (_, "110" | "1050" | "1170" | "1190" | "1200" | "1240" | "1241" | "1250" | "1270" | "1280" | "1290")
        | (_, "1300" | "1310" | "1430") => Cause::Rejected,
        (_, "1022" | "1120" | "1140" | "1160" | "1210" | "1340" | "1420") => Cause::Misconfigured(Sender),
        (401 | 403, _)
        | (_, "1060" | "1080" | "account-suspended" | "forbidden" | "unauthorized" | "unprovisioned") => {
            Cause::Misconfigured(Credentials)
        }
        _ => Cause::Misconfigured(Endpoint),
    }
}

fn receipt_status(status: &str) -> Option<ReceiptStatus> {
    match status {
        "submitted" => Some(ReceiptStatus::Sent),
        "delivered" | "read" => Some(ReceiptStatus::Delivered),
        "rejected" | "undeliverable" => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iat: u32,
    payload_hash: String,
}

/// Checks a JWT: by this secret, of this body, from now. HS256 is the one algorithm, whatever the token would like.
fn signed(secret: &SecretString, token: &str, body: &[u8], now: Timestamp) -> Option<()> {
    let (text, signature) = token.rsplit_once('.')?;
    let (header, claims) = text.split_once('.')?;
    if !fits(secret, text.as_bytes(), &BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?) {
        return None;
    }
    let is_hs256 = part::<Header>(header)?.alg == "HS256";
    let Claims { iat, payload_hash } = part(claims)?;
    let hash = encode_hex(digest::digest(&digest::SHA256, body).as_ref());
    let is_of_body = bool::from(hash.as_bytes().ct_eq(payload_hash.to_ascii_lowercase().as_bytes()));
    (is_hs256 && is_of_body && is_recent(&iat.to_string(), now)).then_some(())
}

fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}
