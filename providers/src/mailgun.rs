//! Mailgun: e-mail by its API.
//!
//! Sources: documentation.mailgun.com/docs/mailgun (API reference of messages and domains, responses, webhooks and
//! their security); the published OpenAPI document; github.com/mailgun/mailgun-go.
//!
//! A webhook's signature covers a token and a time, not the body: what came with a token is remembered, so that the
//! token fits no other body, in this process. Unsure: the words that tell its refusals apart, and whether a webhook that
//! is sent again is signed anew; one that is older than five minutes is refused.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use common::clock::Clock;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use common::otp::time::Timestamp;
use lettre::message::Mailbox;
use reqwest::multipart::Form;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::facts::Facts;
use crate::http::{self, Reply};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::standard_webhooks::TOLERANCE;
use crate::words::{anonymous, failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check, mail, signature};

#[cfg(test)]
mod tests;

const BASE_URL: &str = "https://api.mailgun.net";
/// Mailgun takes no shorter time to deliver in.
const SHORTEST_VALIDITY_MIN: u64 = 5;
/// Tokens that are remembered at most.
const MOST_TOKENS: usize = 20_000;

pub(crate) const KIND: Kind = Kind {
    name: "mailgun",
    configure,
    environment: &[
        ("MAILGUN_API_KEY", "api_key"),
        ("MAILGUN_DOMAIN", "domain"),
        ("MAILGUN_FROM", "from"),
        ("MAILGUN_WEBHOOK_SIGNING_KEY", "webhook_secret"),
        ("MAILGUN_BASE_URL", "base_url"),
    ],
    switched_on_by: &[&["MAILGUN_API_KEY", "MAILGUN_DOMAIN"]],
    facts: Facts {
        title: "Mailgun",
        channels: &[Channel::Email],
        receipts: "to the domain's webhooks",
        signature: "HMAC-SHA256 over time and token",
        check: "domain",
        needs: "",
        certainty: "certain but for words",
    },
};

pub struct Mailgun {
    name: String,
    http: Client,
    clock: Clock,
    base_url: String,
    api_key: SecretString,
    domain: String,
    from: Mailbox,
    /// The account's webhook signing key; without it no receipts are taken.
    webhook_secret: Option<SecretString>,
    tokens: Mutex<Tokens>,
}

impl fmt::Debug for Mailgun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailgun({} at {} as {})", self.domain, self.base_url, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let api_key = settings.secret("api_key");
    if api_key.is_none() {
        settings.problem("api_key", "set it (MAILGUN_API_KEY) to an API key, or to a sending key of the domain");
    }
    let domain = settings.text("domain").filter(|domain| is_domain(domain));
    if domain.is_none() {
        settings.problem("domain", "set it (MAILGUN_DOMAIN) to the sending domain");
    }
    let default = domain.as_ref().and_then(|domain| format!("otp@{domain}").parse().ok());
    let from = settings.parsed("from", "must be an address such as: Shop <otp@example.com>").or(default);
    let webhook_secret = settings.secret("webhook_secret");
    let base_url = settings.base_url("base_url", BASE_URL);
    let problems = settings.finish();
    match (api_key, domain, from) {
        (Some(api_key), Some(domain), Some(from)) if problems.is_empty() => {
            let (http, clock, tokens) = (tools.http.clone(), tools.clock.clone(), Mutex::default());
            Ok(Arc::new(Mailgun { name, http, clock, base_url, api_key, domain, from, webhook_secret, tokens }))
        }
        _ => Err(problems),
    }
}

/// It becomes a part of URLs.
fn is_domain(text: &str) -> bool {
    text.contains('.') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

impl Mailgun {
    fn form(&self, message: &Message, to: String) -> Form {
        let content = &message.content;
        let form = Form::new()
            .text("from", self.from.to_string())
            .text("to", to)
            .text("subject", mail::subject(message))
            .text("text", content.text.clone());
        let form = content.html.iter().fold(form, |form, html| form.text("html", html.clone()));
        let minutes = message.remaining.as_secs() / 60;
        let within = (minutes >= SHORTEST_VALIDITY_MIN).then(|| format!("{minutes}m"));
        let form = within.into_iter().fold(form, |form, within| form.text("o:deliver-within", within));
        form.text("o:tracking", "no")
            .text(format!("h:{}", mail::AUTO_SUBMITTED.0), mail::AUTO_SUBMITTED.1)
            .text("v:otpd_attempt", message.attempt.to_string())
    }

    fn messages(&self) -> RequestBuilder {
        self.signed(self.http.post(format!("{}/v3/{}/messages", self.base_url, self.domain)))
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth("api", Some(self.api_key.expose_secret()))
    }

    /// A sending key may ask nothing about its domain, but it may post: an empty message is refused for being empty.
    async fn is_a_sending_key(&self) -> bool {
        let asked = http::exchange(self.messages().multipart(Form::new().text("o:testmode", "yes"))).await;
        asked.is_ok_and(|reply| reply.status == 400)
    }

    fn check_signature(&self, secret: &SecretString, body: &[u8], signed: &Signed) -> Result<(), BadReceipt> {
        let tag = signature::decode_hex(&signed.signature).ok_or(BadReceipt::Forged)?;
        let fits = signature::fits(secret, format!("{}{}", signed.timestamp, signed.token).as_bytes(), &tag);
        let now = self.clock.now();
        if !fits || !signature::is_recent(&signed.timestamp, now) {
            return Err(BadReceipt::Forged);
        }
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.take(&signed.token, body, now) { Ok(()) } else { Err(BadReceipt::Forged) }
    }
}

#[async_trait]
impl Provider for Mailgun {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Email]
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let to = mail::recipient(message)?;
        let reply = http::exchange(self.messages().multipart(self.form(message, to))).await;
        let reply = reply.map_err(|trouble| trouble.failure(message))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let request = self.signed(self.http.get(format!("{}/v4/domains/{}", self.base_url, self.domain)));
        let Ok(reply) = http::exchange(request).await else { return check::away() };
        let found: Found = serde_json::from_slice(&reply.body).unwrap_or_default();
        match found.domain.filter(|_| reply.is_success()) {
            Some(Domain { state }) => {
                let problem = (state != "active").then(|| format!("the domain {} is {state}", self.domain));
                check::welcome_from(Some(format!("{} {state}", self.domain)), problem)
            }
            None if matches!(reply.status, 401 | 403) && self.is_a_sending_key().await => check::welcome(None, false),
            None => {
                let (cause, words) = refusal(&reply);
                check::refused(&cause, &words)
            }
        }
    }

    fn has_receipts(&self) -> bool {
        self.webhook_secret.is_some()
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        let secret = self.webhook_secret.as_ref().ok_or(BadReceipt::NotSupported)?;
        let hook: Hook = serde_json::from_slice(request.body).map_err(|_| BadReceipt::Malformed)?;
        // One that is not signed at all is forged, too.
        let signed = serde_json::from_value(hook.signature).map_err(|_| BadReceipt::Forged)?;
        self.check_signature(secret, request.body, &signed)?;
        let event: Event = serde_json::from_value(hook.event).map_err(|_| BadReceipt::Malformed)?;
        event.receipt().map(|receipt| receipt.into_iter().collect())
    }
}

/// The tokens of the last while, each with a digest of what it came with.
#[derive(Default)]
struct Tokens(VecDeque<(Timestamp, String, [u8; 32])>);

impl Tokens {
    /// Whether the token is new, or came with this same body: an answer that was lost is asked for again.
    fn take(&mut self, token: &str, body: &[u8], now: Timestamp) -> bool {
        let is_over = |(at, ..): &(Timestamp, String, [u8; 32])| now.since(*at) > TOLERANCE * 2;
        while self.0.front().is_some_and(is_over) || self.0.len() >= MOST_TOKENS {
            self.0.pop_front();
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, body).as_ref());
        if let Some((.., before)) = self.0.iter().find(|(_, known, _)| known == token) {
            return *before == hash;
        }
        self.0.push_back((now, token.to_owned(), hash));
        true
    }
}

/// The fields of a message taken and of an error. Some errors are text alone.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    id: Option<String>,
    message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Found {
    domain: Option<Domain>,
}

#[derive(Deserialize)]
struct Domain {
    state: String,
}

#[derive(Deserialize)]
struct Hook {
    #[serde(default)]
    signature: Value,
    #[serde(rename = "event-data", default)]
    event: Value,
}

#[derive(Deserialize)]
struct Signed {
    timestamp: String,
    token: String,
    signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event {
    event: String,
    severity: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    delivery_status: Value,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    user_variables: Value,
}

impl Event {
    /// `None` where it says nothing of a message's fate.
    fn receipt(self) -> Result<Option<ReceiptEvent>, BadReceipt> {
        let Some(status) = receipt_status(&self.event, self.severity.as_deref()) else { return Ok(None) };
        let id = self.message.pointer("/headers/message-id").and_then(Value::as_str).and_then(without_brackets);
        let attempt = self.user_variables.get("otpd_attempt").and_then(Value::as_str);
        let said = self.delivery_status.get("message").and_then(Value::as_str).filter(|said| !said.is_empty());
        let words = [self.reason.as_deref(), said].into_iter().flatten().collect::<Vec<_>>().join(": ");
        Ok(Some(ReceiptEvent {
            message_id: id.ok_or(BadReceipt::Malformed)?,
            attempt: attempt.and_then(|attempt| attempt.parse().ok()),
            status,
            detail: Some(anonymous(&words)).filter(|words| !words.is_empty()),
        }))
    }
}

/// The reply has them around the id, the webhooks have not.
fn without_brackets(id: &str) -> Option<String> {
    message_id(id.trim_start_matches('<').trim_end_matches('>'))
}

fn read(reply: &Reply) -> Result<Handed, (Cause, String)> {
    let wire = serde_json::from_slice::<Wire>(&reply.body).ok();
    if reply.is_success() && !reply.whole && wire.is_none() {
        // It was taken, only its id was lost on the way.
        return Ok(Handed::default());
    }
    match wire.and_then(|wire| wire.id).as_deref().and_then(without_brackets) {
        Some(id) if reply.is_success() => Ok(Handed { message_id: Some(id), delivered: false }),
        _ => Err(refusal(reply)),
    }
}

fn refusal(reply: &Reply) -> (Cause, String) {
    let wire: Wire = serde_json::from_slice(&reply.body).unwrap_or_default();
    let words = if wire.message.is_empty() { reply.words() } else { format!("{}: {}", reply.status, wire.message) };
    (cause(reply, &wire.message.to_ascii_lowercase()), words)
}

/// All that is known of Mailgun's errors. They have no codes, so their words must do.
fn cause(reply: &Reply, said: &str) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, IpBlocked, Sender};
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match reply.status {
        500.. => Cause::Unavailable,
        429 => Cause::Throttled { retry_after: reply.retry_after.or_else(|| said_wait(said)) },
        402 => Cause::Misconfigured(Balance),
        400.. if says(&["limit exceeded", "limit reached"]) => Cause::Throttled { retry_after: said_wait(said) },
        401 | 403 if says(&["ip address", "whitelist", "allowlist"]) => Cause::Misconfigured(IpBlocked),
        400 | 403 if says(&["authorized recipients", "sandbox", "test purposes", "verif", "from parameter"]) => {
            Cause::Misconfigured(Sender)
        }
        401 | 403 => Cause::Misconfigured(Credentials),
        400 if says(&["to parameter", "not a valid address"]) => Cause::Rejected,
        _ => Cause::Misconfigured(Endpoint),
    }
}

/// `…, try again after 120 seconds`.
fn said_wait(said: &str) -> Option<Duration> {
    let (_, rest) = said.split_once("try again after ")?;
    let seconds: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_secs(seconds.clamp(1, 3600)))
}

/// What was opened, or marked as unwanted, has arrived.
fn receipt_status(event: &str, severity: Option<&str>) -> Option<ReceiptStatus> {
    match (event, severity) {
        ("accepted", _) | ("failed", Some("temporary")) => Some(ReceiptStatus::Sent),
        ("delivered" | "opened" | "clicked" | "complained", _) => Some(ReceiptStatus::Delivered),
        ("failed" | "rejected", _) => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}
