//! Resend: e-mail by its API.
//!
//! Sources: resend.com/docs/api-reference (emails, domains, errors, rate limit), …/dashboard/emails/idempotency-keys,
//! …/dashboard/webhooks/event-types and …/verify-webhooks-requests; the published OpenAPI document.
//!
//! Opens and clicks are tracked by domain and not by message: leave both off in the domain's settings. Unsure: which
//! words a refused recipient is told with; seen is "Invalid `to` field".

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use common::clock::Clock;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::ids::AttemptId;
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use lettre::message::Mailbox;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::http::{self, Reply};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::standard_webhooks::{self, Secret, Signed};
use crate::words::{anonymous, failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check, mail};

#[cfg(test)]
mod tests;

const BASE_URL: &str = "https://api.resend.com";
const ATTEMPT: &str = "otpd_attempt";
/// From there anybody may send, to their own address.
const ONBOARDING_DOMAIN: &str = "resend.dev";

pub(crate) const KIND: Kind = Kind {
    name: "resend",
    configure,
    environment: &[
        ("RESEND_API_KEY", "api_key"),
        ("RESEND_FROM_EMAIL", "from"),
        ("RESEND_FROM", "from"),
        ("RESEND_WEBHOOK_SECRET", "webhook_secret"),
        ("RESEND_BASE_URL", "base_url"),
    ],
    switched_on_by: &[&["RESEND_API_KEY", "RESEND_FROM"]],
    facts: Facts {
        title: "Resend",
        channels: &[Channel::Email],
        receipts: "to a webhook",
        signature: "Standard Webhooks",
        check: "key, domain",
        needs: "",
        certainty: "certain but for words",
    },
};

pub struct Resend {
    name: String,
    http: Client,
    clock: Clock,
    base_url: String,
    api_key: SecretString,
    from: Mailbox,
    /// Of the webhook that receipts come by; two while it is changed.
    webhook_secrets: Vec<Secret>,
}

impl fmt::Debug for Resend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resend({} from {} as {})", self.base_url, self.from.email, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let api_key = settings.secret("api_key");
    if api_key.is_none() {
        settings.problem("api_key", "set it (RESEND_API_KEY) to a key that may send");
    }
    let from = mail::sender(&mut settings, "RESEND_FROM");
    let mut webhook_secrets = Vec::new();
    for secret in settings.list("webhook_secret") {
        match Secret::parse(&SecretString::from(secret)) {
            Ok(secret) => webhook_secrets.push(secret),
            Err(_) => {
                settings.problem("webhook_secret", "must be the webhook's signing secret, which begins with whsec_")
            }
        }
    }
    let base_url = settings.base_url("base_url", BASE_URL);
    let problems = settings.finish();
    match (api_key, from) {
        (Some(api_key), Some(from)) if problems.is_empty() => {
            let (http, clock) = (tools.http.clone(), tools.clock.clone());
            Ok(Arc::new(Resend { name, http, clock, base_url, api_key, from, webhook_secrets }))
        }
        _ => Err(problems),
    }
}

#[derive(Serialize)]
struct Outgoing<'a> {
    from: String,
    to: [&'a str; 1],
    subject: String,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<&'a str>,
    headers: Value,
    tags: Value,
}

#[async_trait]
impl Provider for Resend {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Email]
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let to = mail::recipient(message)?;
        let body = Outgoing {
            from: self.from.to_string(),
            to: [&to],
            subject: mail::subject(message),
            text: &message.content.text,
            html: message.content.html.as_deref(),
            headers: json!({mail::AUTO_SUBMITTED.0: mail::AUTO_SUBMITTED.1}),
            tags: json!([{"name": ATTEMPT, "value": mail::tag(message.attempt)}]),
        };
        let request = self.http.post(format!("{}/emails", self.base_url)).bearer_auth(self.api_key.expose_secret());
        let request = request.header("Idempotency-Key", message.attempt.to_string()).json(&body);
        let reply = http::exchange(request).await.map_err(|trouble| trouble.failure(message))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))
    }

    /// A key that may only send says so, which proves that it is good.
    async fn check(&self) -> Check {
        let request = self.http.get(format!("{}/domains", self.base_url));
        let Ok(reply) = http::exchange(request.bearer_auth(self.api_key.expose_secret())).await else {
            return check::away();
        };
        let wire: Wire = serde_json::from_slice(&reply.body).unwrap_or_default();
        match wire.data {
            _ if wire.name == "restricted_api_key" => check::welcome(None, false),
            Some(domains) if reply.is_success() => {
                let ours = self.from.email.domain();
                let found = domains.iter().find(|domain| domain.name.eq_ignore_ascii_case(ours));
                let sender = found.map(|domain| format!("{ours} {}", domain.status));
                check::welcome_from(sender, self.unverified(found, wire.has_more))
            }
            _ => {
                let (cause, words) = refusal(&reply);
                check::refused(&cause, &words)
            }
        }
    }

    fn has_receipts(&self) -> bool {
        !self.webhook_secrets.is_empty()
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        if self.webhook_secrets.is_empty() {
            return Err(BadReceipt::NotSupported);
        }
        let header = |name| request.header(name).ok_or(BadReceipt::Forged);
        let signed = Signed {
            id: header("svix-id")?,
            timestamp: header("svix-timestamp")?,
            signature: header("svix-signature")?,
        };
        standard_webhooks::verify(&self.webhook_secrets, signed, request.body, self.clock.now())
            .map_err(|_| BadReceipt::Forged)?;
        let event: Event = serde_json::from_slice(request.body).map_err(|_| BadReceipt::Malformed)?;
        event.receipt().map(|receipt| receipt.into_iter().collect())
    }
}

impl Resend {
    /// What is wrong with the domain that messages come from, if it can be seen.
    fn unverified(&self, found: Option<&Domain>, are_there_more: bool) -> Option<String> {
        let ours = self.from.email.domain();
        match found {
            Some(domain) if domain.status == "verified" => None,
            Some(domain) => Some(format!("the domain {ours} is {}", domain.status)),
            None if are_there_more || ours == ONBOARDING_DOMAIN => None,
            None => Some(format!("the account has no domain {ours}")),
        }
    }
}

/// The fields of all of Resend's replies: a message, an error, a list of domains.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    id: Option<String>,
    name: String,
    message: String,
    data: Option<Vec<Domain>>,
    has_more: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Domain {
    name: String,
    status: String,
}

#[derive(Deserialize)]
struct Event {
    r#type: String,
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    email_id: Option<String>,
    #[serde(default)]
    tags: Value,
    bounce: Option<Value>,
    suppressed: Option<Value>,
    failed: Option<Value>,
}

impl Event {
    /// `None` where it says nothing of a message's fate: other events come by the same webhook.
    fn receipt(self) -> Result<Option<ReceiptEvent>, BadReceipt> {
        let Some(status) = receipt_status(&self.r#type) else { return Ok(None) };
        let id = self.data.email_id.as_deref().and_then(message_id).ok_or(BadReceipt::Malformed)?;
        let why = [self.data.bounce, self.data.suppressed, self.data.failed].into_iter().flatten().next();
        let said = why.as_ref().and_then(|why| why.get("message").or_else(|| why.get("reason"))?.as_str());
        Ok(Some(ReceiptEvent {
            message_id: id,
            attempt: attempt(&self.data.tags),
            status,
            detail: said.map(anonymous).filter(|detail| !detail.is_empty()),
        }))
    }
}

/// Tags go out as a list of names and values, and come back as a table.
fn attempt(tags: &Value) -> Option<AttemptId> {
    let listed = || tags.as_array()?.iter().find(|tag| tag["name"] == ATTEMPT)?.get("value");
    tags.get(ATTEMPT).or_else(listed)?.as_str().and_then(mail::attempt_of)
}

fn read(reply: &Reply) -> Result<Handed, (Cause, String)> {
    let wire = serde_json::from_slice::<Wire>(&reply.body).ok();
    if reply.is_success() && !reply.whole && wire.is_none() {
        // It was taken, only its id was lost on the way.
        return Ok(Handed::default());
    }
    match wire.and_then(|wire| wire.id).as_deref().and_then(message_id) {
        Some(id) if reply.is_success() => Ok(Handed { message_id: Some(id), delivered: false }),
        _ => Err(refusal(reply)),
    }
}

fn refusal(reply: &Reply) -> (Cause, String) {
    match serde_json::from_slice::<Wire>(&reply.body) {
        Ok(wire) if !wire.name.is_empty() => {
            (cause(reply, &wire.name, &wire.message), format!("{}: {}: {}", reply.status, wire.name, wire.message))
        }
        _ => (cause(reply, "", ""), reply.words()),
    }
}

/// All that is known of Resend's errors. A key that is known already is one of this same attempt, so the message may
/// have been taken.
fn cause(reply: &Reply, name: &str, said: &str) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    match (reply.status, name) {
        (_, "missing_api_key" | "invalid_api_key" | "restricted_api_key") => Cause::Misconfigured(Credentials),
        (_, "daily_quota_exceeded" | "monthly_quota_exceeded") => Cause::Misconfigured(Balance),
        (_, "rate_limit_exceeded") | (429, _) => Cause::Throttled { retry_after: reply.retry_after },
        (_, "invalid_idempotent_request" | "concurrent_idempotent_requests") => Cause::Ambiguous,
        (500.., _) => Cause::Unavailable,
        (_, "invalid_from_address" | "security_error") | (403, "validation_error") => Cause::Misconfigured(Sender),
        (_, "validation_error") if said.contains("`to`") => Cause::Rejected,
        (_, "validation_error") if said.contains("`from`") => Cause::Misconfigured(Sender),
        (401 | 403, _) => Cause::Misconfigured(Credentials),
        _ => Cause::Misconfigured(Endpoint),
    }
}

/// What was opened, or marked as unwanted, has arrived.
fn receipt_status(event: &str) -> Option<ReceiptStatus> {
    match event {
        "email.sent" | "email.delivery_delayed" => Some(ReceiptStatus::Sent),
        "email.delivered" | "email.opened" | "email.clicked" | "email.complained" => Some(ReceiptStatus::Delivered),
        "email.bounced" | "email.failed" | "email.suppressed" => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}
