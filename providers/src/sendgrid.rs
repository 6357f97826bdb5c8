//! Twilio SendGrid: e-mail by its v3 API.
//!
//! Sources: twilio.com/docs/sendgrid/api-reference (mail send, errors, rate limits, API key scopes, user credits),
//! …/for-developers/tracking-events/event and …/getting-started-event-webhook-security-features.
//!
//! Unsure: an address that IP access management refuses and a key without a scope are both told as "access forbidden",
//! so both count as the credentials; the words that name spent credits and the sender are those seen in public logs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::clock::Clock;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use common::otp::time::Timestamp;
use lettre::message::Mailbox;
use reqwest::Client;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::http::{self, Reply, Trouble};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::words::{anonymous, failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check, mail, signature};

#[cfg(test)]
mod tests;

const BASE_URL: &str = "https://api.sendgrid.com";
const SIGNATURE: &str = "x-twilio-email-event-webhook-signature";
const TIMESTAMP: &str = "x-twilio-email-event-webhook-timestamp";
const KEY_ADVICE: &str = "must be the verification key of the signed event webhook: an ECDSA public key in base64";

pub(crate) const KIND: Kind = Kind {
    name: "sendgrid",
    configure,
    environment: &[
        ("SENDGRID_API_KEY", "api_key"),
        ("SENDGRID_FROM_EMAIL", "from"),
        ("SENDGRID_FROM", "from"),
        ("SENDGRID_WEBHOOK_PUBLIC_KEY", "webhook_public_key"),
        ("SENDGRID_BASE_URL", "base_url"),
    ],
    switched_on_by: &[&["SENDGRID_API_KEY", "SENDGRID_FROM"]],
    facts: Facts {
        title: "SendGrid",
        channels: &[Channel::Email],
        receipts: "to the event webhook",
        signature: "ECDSA over time and body",
        check: "scopes, credits",
        needs: "",
        certainty: "certain but for words",
    },
};

pub struct Sendgrid {
    name: String,
    http: Client,
    clock: Clock,
    base_url: String,
    api_key: SecretString,
    from: Mailbox,
    /// Receipts are signed with its other half.
    webhook_key: Option<ParsedPublicKey>,
}

impl fmt::Debug for Sendgrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sendgrid({} from {} as {})", self.base_url, self.from.email, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let api_key = settings.secret("api_key");
    if api_key.is_none() {
        settings.problem("api_key", "set it (SENDGRID_API_KEY) to a key with the scope mail.send");
    }
    let from = mail::sender(&mut settings, "SENDGRID_FROM");
    let webhook_key = settings.text("webhook_public_key").map(|text| public_key(&text));
    if matches!(webhook_key, Some(None)) {
        settings.problem("webhook_public_key", KEY_ADVICE);
    }
    let base_url = settings.base_url("base_url", BASE_URL);
    let problems = settings.finish();
    match (api_key, from) {
        (Some(api_key), Some(from)) if problems.is_empty() => {
            let (http, clock, webhook_key) = (tools.http.clone(), tools.clock.clone(), webhook_key.flatten());
            Ok(Arc::new(Sendgrid { name, http, clock, base_url, api_key, from, webhook_key }))
        }
        _ => Err(problems),
    }
}

/// As SendGrid shows it, with or without the lines of PEM around it.
fn public_key(text: &str) -> Option<ParsedPublicKey> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let der = BASE64_STANDARD.decode(lines.collect::<String>()).ok()?;
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, der).ok()
}

impl Sendgrid {
    /// Nothing in it is tracked: a code needs no counted opens, and rewritten links look like theft.
    fn body(&self, message: &Message, to: &str) -> Value {
        let html = message.content.html.as_deref().map(|html| json!({"type": "text/html", "value": html}));
        let content: Vec<_> =
            [json!({"type": "text/plain", "value": message.content.text})].into_iter().chain(html).collect();
        let mut from = json!({"email": self.from.email.to_string()});
        if let Some(name) = &self.from.name {
            from["name"] = name.as_str().into();
        }
        json!({
            "personalizations": [{"to": [{"email": to}], "custom_args": {"otpd_attempt": message.attempt.to_string()}}],
            "from": from,
            "subject": mail::subject(message),
            "content": content,
            "headers": {mail::AUTO_SUBMITTED.0: mail::AUTO_SUBMITTED.1},
            "tracking_settings": {
                "click_tracking": {"enable": false, "enable_text": false},
                "open_tracking": {"enable": false},
                "subscription_tracking": {"enable": false},
                "ganalytics": {"enable": false},
            },
        })
    }

    async fn get(&self, resource: &str) -> Result<Reply, Trouble> {
        let request = self.http.get(format!("{}/v3/{resource}", self.base_url));
        http::exchange(request.bearer_auth(self.api_key.expose_secret())).await
    }

    fn has_signed(&self, request: &ReceiptRequest<'_>) -> Option<bool> {
        let key = self.webhook_key.as_ref()?;
        let (timestamp, signature) = (request.header(TIMESTAMP)?, request.header(SIGNATURE)?);
        let signature = BASE64_STANDARD.decode(signature).ok()?;
        let signed = [timestamp.as_bytes(), request.body].concat();
        let fits = key.verify_sig(&signed, &signature).is_ok();
        Some(fits && signature::is_recent(timestamp, self.clock.now()))
    }
}

#[async_trait]
impl Provider for Sendgrid {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Email]
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let to = mail::recipient(message)?;
        let request = self.http.post(format!("{}/v3/mail/send", self.base_url));
        let request = request.bearer_auth(self.api_key.expose_secret()).json(&self.body(message, &to));
        let answered = http::exchange_with_headers(request).await;
        let (mut reply, headers) = answered.map_err(|trouble| trouble.failure(message))?;
        reply.retry_after = reply.retry_after.or_else(|| until_reset(&headers, self.clock.now()));
        read(&reply, &headers).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let Ok(scopes) = self.get("scopes").await else { return check::away() };
        let Ok(Scopes { scopes: granted }) = serde_json::from_slice(&scopes.body) else {
            let (cause, words) = refusal(&scopes);
            return check::refused(&cause, &words);
        };
        if !granted.iter().any(|scope| scope == "mail.send") {
            let cause = Cause::Misconfigured(Misconfiguration::Credentials);
            return check::refused(&cause, "the key lacks the scope mail.send");
        }
        let credits = self.get("user/credits").await.ok();
        let credits = credits.and_then(|reply| serde_json::from_slice::<Credits>(&reply.body).ok());
        let has_overage = credits.as_ref().is_some_and(|credits| credits.overage > 0.0);
        check::welcome(credits.map(|left| (Some(left.remain), format!("{} credits", left.remain))), has_overage)
    }

    fn has_receipts(&self) -> bool {
        self.webhook_key.is_some()
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        if self.webhook_key.is_none() {
            return Err(BadReceipt::NotSupported);
        }
        if self.has_signed(request) != Some(true) {
            return Err(BadReceipt::Forged);
        }
        let events: Vec<Value> = serde_json::from_slice(request.body).map_err(|_| BadReceipt::Malformed)?;
        Ok(events.into_iter().filter_map(event).collect())
    }
}

#[derive(Deserialize, Default)]
struct Errors {
    #[serde(default)]
    errors: Vec<Said>,
}

#[derive(Deserialize, Default)]
struct Said {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    field: Option<String>,
}

#[derive(Deserialize)]
struct Scopes {
    scopes: Vec<String>,
}

#[derive(Deserialize)]
struct Credits {
    remain: f64,
    #[serde(default)]
    overage: f64,
}

/// One event. What the message carried as `custom_args` stands among its fields.
#[derive(Deserialize)]
struct Event {
    event: String,
    sg_message_id: String,
    otpd_attempt: Option<String>,
    reason: Option<String>,
}

/// The id stands in a header, the body is empty.
fn read(reply: &Reply, headers: &HeaderMap) -> Result<Handed, (Cause, String)> {
    let id = headers.get("x-message-id").and_then(|id| id.to_str().ok()).and_then(message_id);
    if reply.status == 202 || (reply.is_success() && id.is_some()) {
        return Ok(Handed { message_id: id, delivered: false });
    }
    Err(refusal(reply))
}

fn refusal(reply: &Reply) -> (Cause, String) {
    let errors: Errors = serde_json::from_slice(&reply.body).unwrap_or_default();
    let Some(first) = errors.errors.first() else { return (cause(reply, "", ""), reply.words()) };
    let (field, said) = (first.field.as_deref().unwrap_or_default(), first.message.as_deref().unwrap_or_default());
    (cause(reply, field, &said.to_ascii_lowercase()), format!("{}: {field}: {said}", reply.status))
}

/// All that is known of SendGrid's errors. They have no codes: the field tells who is meant, the words the rest.
fn cause(reply: &Reply, field: &str, said: &str) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, IpBlocked, Sender};
    match reply.status {
        401 | 403 if said.contains("credits exceeded") => Cause::Misconfigured(Balance),
        401 | 403 if said.contains("ip address") => Cause::Misconfigured(IpBlocked),
        400 | 403 if field.starts_with("from") || said.contains("sender identity") => Cause::Misconfigured(Sender),
        403 if said.contains("too many") => Cause::Throttled { retry_after: reply.retry_after },
        401 | 403 => Cause::Misconfigured(Credentials),
        400 if field.contains(".to") => Cause::Rejected,
        429 => Cause::Throttled { retry_after: reply.retry_after },
        500.. => Cause::Unavailable,
        _ => Cause::Misconfigured(Endpoint),
    }
}

/// When the minute of a rate limit ends, in Unix seconds.
fn until_reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let seconds: u32 = headers.get("x-ratelimit-reset")?.to_str().ok()?.trim().parse().ok()?;
    let wait = Timestamp::from_ms(i64::from(seconds) * 1000).since(now);
    Some(wait.clamp(Duration::from_secs(1), Duration::from_secs(60)))
}

fn event(value: Value) -> Option<ReceiptEvent> {
    let event: Event = serde_json::from_value(value).ok()?;
    let status = receipt_status(&event.event)?;
    // What SendGrid adds to the id that it gave us begins with a dot.
    let id = event.sg_message_id.split('.').next().and_then(message_id)?;
    let attempt = event.otpd_attempt.and_then(|attempt| attempt.parse().ok());
    let detail = event.reason.map(|reason| anonymous(&reason)).filter(|detail| !detail.is_empty());
    Some(ReceiptEvent { message_id: id, attempt, status, detail })
}

/// What was opened, or marked as unwanted, has arrived.
fn receipt_status(event: &str) -> Option<ReceiptStatus> {
    match event {
        "processed" | "deferred" => Some(ReceiptStatus::Sent),
        "delivered" | "open" | "click" | "spamreport" => Some(ReceiptStatus::Delivered),
        "bounce" | "blocked" | "dropped" => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}
