//! Telnyx: SMS by the Messaging API, version 2.
//!
//! Sources: developers.telnyx.com/api-reference/messages, …/docs/messaging/messages/error-codes,
//! …/development/api-fundamentals/api-errors, github.com/team-telnyx/telnyx-node (src/lib/webhooks.ts).
//!
//! A message takes no validity: one that waits for a phone may come after its code has died. What is kept of its text is a
//! setting of the messaging profile.
//!
//! Unsure: the codes from 40100 on and those of missing funds (20100 to 20199); they are taken as published elsewhere.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::clock::Clock;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use common::otp::time::Timestamp;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::facts::Facts;
use crate::http::{self, Reply, number};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::signature::is_recent;
use crate::words::{failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check};

#[cfg(test)]
mod tests;

const BASE_URL: &str = "https://api.telnyx.com";
const PUBLIC_KEY_ADVICE: &str = "must be the account's public key as the portal shows it: 32 bytes in base64";
const SENDER_ADVICE: &str = "set from (TELNYX_FROM) to a number, short code or name, or messaging_profile_id \
                             (TELNYX_MESSAGING_PROFILE_ID) to a profile with numbers; a name needs both";
const KEY_LENGTH: usize = 32;

pub(crate) const KIND: Kind = Kind {
    name: "telnyx",
    configure,
    environment: &[
        ("TELNYX_API_KEY", "api_key"),
        ("TELNYX_PHONE_NUMBER", "from"),
        ("TELNYX_FROM", "from"),
        ("TELNYX_MESSAGING_PROFILE_ID", "messaging_profile_id"),
        ("TELNYX_PUBLIC_KEY", "public_key"),
    ],
    switched_on_by: &[&["TELNYX_API_KEY"]],
    facts: Facts {
        title: "Telnyx",
        channels: &[Channel::Sms],
        receipts: "each message names its address",
        signature: "Ed25519 over time and body",
        check: "credit",
        needs: "`TELNYX_FROM` or `TELNYX_MESSAGING_PROFILE_ID`",
        certainty: "certain but for some codes",
    },
};

pub struct Telnyx {
    name: String,
    http: Client,
    clock: Clock,
    base_url: String,
    api_key: SecretString,
    from: Option<String>,
    messaging_profile_id: Option<String>,
    /// Receipts are signed by its other half; without it none are asked for.
    public_key: Option<[u8; KEY_LENGTH]>,
}

impl fmt::Debug for Telnyx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Telnyx({} as {})", self.base_url, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let api_key = settings.secret("api_key");
    if api_key.is_none() {
        settings.problem("api_key", "set it (TELNYX_API_KEY) to an API key, which begins with KEY");
    }
    let (from, messaging_profile_id) = (settings.text("from"), settings.text("messaging_profile_id"));
    let is_name = from.as_ref().is_some_and(|from| from.contains(char::is_alphabetic));
    if messaging_profile_id.is_none() && (from.is_none() || is_name) {
        settings.problem("from", SENDER_ADVICE);
    }
    let public_key = settings.text("public_key").map(|key| BASE64_STANDARD.decode(key).ok()?.try_into().ok());
    if public_key == Some(None) {
        settings.problem("public_key", PUBLIC_KEY_ADVICE);
    }
    let public_key = public_key.flatten();
    let base_url = settings.base_url("base_url", BASE_URL);
    let problems = settings.finish();
    match api_key {
        Some(api_key) if problems.is_empty() => {
            let (http, clock) = (tools.http.clone(), tools.clock.clone());
            Ok(Arc::new(Telnyx { name, http, clock, base_url, api_key, from, messaging_profile_id, public_key }))
        }
        _ => Err(problems),
    }
}

#[derive(Serialize)]
struct Outgoing<'a> {
    to: &'a str,
    text: &'a str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messaging_profile_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_profile_webhooks: Option<bool>,
}

#[async_trait]
impl Provider for Telnyx {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Sms]
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let webhook_url = message.callback.as_deref().filter(|_| self.has_receipts());
        let outgoing = Outgoing {
            to: message.target.delivered(),
            text: &message.content.text,
            r#type: "SMS",
            from: self.from.as_deref(),
            messaging_profile_id: self.messaging_profile_id.as_deref(),
            webhook_url,
            // Only our own address knows the attempt.
            use_profile_webhooks: webhook_url.map(|_| false),
        };
        let request = self.http.post(format!("{}/v2/messages", self.base_url));
        let request = request.bearer_auth(self.api_key.expose_secret()).json(&outgoing);
        let reply = http::exchange(request).await.map_err(|trouble| trouble.failure(message))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let request = self.http.get(format!("{}/v2/balance", self.base_url));
        let Ok(reply) = http::exchange(request.bearer_auth(self.api_key.expose_secret())).await else {
            return check::away();
        };
        match serde_json::from_slice::<Balance>(&reply.body) {
            Ok(Balance { data: Money { available_credit, currency } }) if reply.is_success() => {
                let shown = format!("{available_credit} {currency}").trim_end().to_owned();
                check::welcome(Some((available_credit.parse().ok(), shown)), false)
            }
            _ => {
                let wire: Wire = serde_json::from_slice(&reply.body).unwrap_or_default();
                check::refused(&cause(&reply, wire.errors.first()), &reply.words())
            }
        }
    }

    fn has_receipts(&self) -> bool {
        self.public_key.is_some()
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        let key = self.public_key.as_ref().ok_or(BadReceipt::NotSupported)?;
        let header = |name| request.header(name).ok_or(BadReceipt::Forged);
        let (timestamp, signature) = (header("telnyx-timestamp")?, header("telnyx-signature-ed25519")?);
        if signed(key, timestamp, signature, request.body, self.clock.now()).is_none() {
            return Err(BadReceipt::Forged);
        }
        let Event { data } = serde_json::from_slice(request.body).map_err(|_| BadReceipt::Malformed)?;
        if !matches!(data.event_type.as_str(), "message.sent" | "message.finalized") {
            return Ok(Vec::new());
        }
        let sent = data.payload.unwrap_or_default();
        let message_id = sent.id.as_deref().and_then(message_id).ok_or(BadReceipt::Malformed)?;
        let status = sent.to.first().ok_or(BadReceipt::Malformed)?.status.as_str();
        let Some(status) = receipt_status(status) else { return Ok(Vec::new()) };
        let code = sent.errors.first().and_then(|error| number(&error.code)).filter(|code| *code < 100_000);
        let detail = code.map(|code| code.to_string());
        Ok(vec![ReceiptEvent { message_id, attempt: request.attempt(), status, detail }])
    }
}

/// The fields of a message taken, and of refusals.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    data: Sent,
    errors: Vec<WireError>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Sent {
    id: Option<String>,
    to: Vec<Recipient>,
    errors: Vec<WireError>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Recipient {
    status: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireError {
    /// A number as text.
    code: Value,
    title: String,
    detail: String,
    source: Source,
}

/// Which field is wrong, as a JSON pointer.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Source {
    pointer: String,
}

#[derive(Deserialize)]
struct Balance {
    data: Money,
}

#[derive(Deserialize)]
struct Money {
    /// The balance and the credit limit together.
    available_credit: String,
    #[serde(default)]
    currency: String,
}

#[derive(Deserialize)]
struct Event {
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    event_type: String,
    payload: Option<Sent>,
}

fn read(reply: &Reply) -> Result<Handed, (Cause, String)> {
    let wire = serde_json::from_slice::<Wire>(&reply.body).ok();
    if reply.is_success() && !reply.whole && wire.is_none() {
        // It was taken, only its id was lost on the way.
        return Ok(Handed::default());
    }
    let Some(Wire { data, errors }) = wire else { return Err((cause(reply, None), reply.words())) };
    let has_failed = data.to.first().is_some_and(|to| receipt_status(&to.status) == Some(ReceiptStatus::Undelivered));
    match data.id.as_deref().and_then(message_id) {
        Some(id) if reply.is_success() && !has_failed => Ok(Handed { message_id: Some(id), delivered: false }),
        _ => {
            let error = errors.first().or_else(|| data.errors.first());
            let said = error.map(|error| format!(" {}: {}: {}", shown(&error.code), error.title, error.detail));
            Err((cause(reply, error), format!("{}{}", reply.status, said.unwrap_or_default())))
        }
    }
}

fn shown(code: &Value) -> String {
    number(code).map_or_else(String::new, |code| code.to_string())
}

/// All that is known of Telnyx's codes, those of requests and those of delivery.
fn cause(reply: &Reply, error: Option<&WireError>) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    let code = error.and_then(|error| number(&error.code));
    let is_about_sender = error.is_some_and(|error| error.source.pointer.starts_with("/from"));
    match (reply.status, code) {
        (402, _) | (_, Some(20100..=20199)) => Cause::Misconfigured(Balance),
        (_, Some(10002 | 10016)) if is_about_sender => Cause::Misconfigured(Sender),
        (_, Some(10002 | 10016 | 40001 | 40012 | 40300 | 40310)) => Cause::Rejected,
        (_, Some(10001 | 40003 | 40009 | 40010 | 40013 | 40015 | 40100 | 40305 | 40306 | 40333)) => {
            Cause::Misconfigured(Sender)
        }
        (429, _) | (_, Some(10011 | 40011 | 40318)) => Cause::Throttled { retry_after: reply.retry_after },
        (500.., _) | (_, Some(10007 | 10008 | 40002 | 40004 | 40005 | 40006 | 40008 | 40014)) => Cause::Unavailable,
        (401 | 403, _) | (_, Some(10009 | 10010)) => Cause::Misconfigured(Credentials),
        _ => Cause::Misconfigured(Endpoint),
    }
}

fn receipt_status(status: &str) -> Option<ReceiptStatus> {
    match status {
        "sending" | "sent" | "delivery_unconfirmed" => Some(ReceiptStatus::Sent),
        "delivered" => Some(ReceiptStatus::Delivered),
        "expired" | "sending_failed" | "delivery_failed" => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}

/// Checks a signature over the timestamp and the exact body, and that it is from now.
fn signed(key: &[u8; KEY_LENGTH], timestamp: &str, signature: &str, body: &[u8], now: Timestamp) -> Option<()> {
    let text = [timestamp.as_bytes(), b"|", body].concat();
    let signature = BASE64_STANDARD.decode(signature).ok()?;
    UnparsedPublicKey::new(&ED25519, key).verify(&text, &signature).ok()?;
    is_recent(timestamp, now).then_some(())
}
