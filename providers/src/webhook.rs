//! Any sender of the operator's own: a signed POST to its URL (Standard Webhooks). docs/providers.md has the contract.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use common::clock::Clock;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::ids::AttemptId;
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::http::{self, Reply};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::standard_webhooks::{self, Secret, Signed};
use crate::words::{anonymous, failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest};

#[cfg(test)]
mod tests;

pub(crate) const KIND: Kind = Kind {
    name: "webhook",
    configure,
    environment: &[],
    switched_on_by: &[],
    facts: Facts {
        title: "a sender of your own",
        channels: &Channel::ALL,
        receipts: "each message names its address",
        signature: "Standard Webhooks",
        check: "whether anything answers",
        needs: "`url`, `secrets`, `channels`",
        certainty: "certain",
    },
};

pub struct Webhook {
    name: String,
    http: Client,
    url: Url,
    secrets: Vec<Secret>,
    channels: Vec<Channel>,
    clock: Clock,
}

/// The URL's path may hold a token.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({} at {})", self.name, self.url.host_str().unwrap_or_default())
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let allow_http = settings.flag("allow_http");
    let url = settings.text("url").and_then(|url| http::endpoint(&url, allow_http));
    if url.is_none() {
        settings.problem("url", "set it to an https:// URL without credentials; http:// needs allow_http = true");
    }
    let mut secrets = Vec::new();
    for secret in settings.list("secrets") {
        match Secret::parse(&SecretString::from(secret)) {
            Ok(secret) => secrets.push(secret),
            Err(error) => settings.problem("secrets", format_args!("each {error}")),
        }
    }
    let channels = settings.channels("channels");
    let mut problems = settings.finish();
    if secrets.is_empty() && !problems.iter().any(|problem| problem.contains(".secrets: ")) {
        problems.push(format!("providers.{name}.secrets: list at least one; it {}", standard_webhooks::NotASecret));
    }
    match url {
        Some(url) if problems.is_empty() => {
            let (http, clock) = (tools.http.clone(), tools.clock.clone());
            Ok(Arc::new(Webhook { name, http, url, secrets, channels, clock }))
        }
        _ => Err(problems),
    }
}

/// What is posted. `id` is the same on every attempt, so that the other side can tell a repetition.
#[derive(Serialize)]
struct Posted<'a> {
    id: &'a str,
    r#type: &'static str,
    timestamp: String,
    attempt: String,
    project: String,
    channel: Channel,
    target: &'a str,
    code: &'a str,
    locale: &'a str,
    text: &'a str,
    subject: Option<&'a str>,
    html: Option<&'a str>,
    /// Whole seconds that the code still lives.
    expires_in: u64,
    callback: Option<&'a str>,
}

/// What may be answered with 2xx.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Taken {
    message_id: Option<String>,
    status: Option<String>,
}

/// What may be answered with 4xx.
#[derive(Deserialize)]
struct Refused {
    error: RefusedError,
}

#[derive(Deserialize)]
struct RefusedError {
    class: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

/// What a receipt says.
#[derive(Deserialize)]
struct Receipt {
    message_id: String,
    status: String,
    attempt: Option<String>,
    detail: Option<String>,
}

#[async_trait]
impl Provider for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let (id, now) = (message.attempt.dispatch.to_string(), self.clock.now());
        let body = body(message, &id, now.rfc3339());
        let body = body.map_err(|_| failure(message, Cause::Unavailable, "the message cannot be written as JSON"))?;
        let timestamp = now.as_ms().div_euclid(1000);
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(standard_webhooks::SIGNATURE, standard_webhooks::sign(&self.secrets, &id, timestamp, &body))
            .header(standard_webhooks::TIMESTAMP, timestamp)
            .header(standard_webhooks::ID, id)
            .body(body);
        let reply = http::exchange(request).await.map_err(|trouble| trouble.failure(message))?;
        read(&reply, message.attempt).map_err(|(cause, words)| failure(message, cause, &words))
    }

    /// Only that something answers: what it would say to a message cannot be known without one.
    async fn check(&self) -> Check {
        let reply = http::exchange(self.http.head(self.url.clone())).await;
        Check { reachable: Some(reply.is_ok()), ..Check::default() }
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        let header = |name| request.header(name).ok_or(BadReceipt::Forged);
        let signed = Signed {
            id: header(standard_webhooks::ID)?,
            timestamp: header(standard_webhooks::TIMESTAMP)?,
            signature: header(standard_webhooks::SIGNATURE)?,
        };
        standard_webhooks::verify(&self.secrets, signed, request.body, self.clock.now())
            .map_err(|_| BadReceipt::Forged)?;
        event(request.body).ok_or(BadReceipt::Malformed).map(|event| vec![event])
    }
}

fn body(message: &Message, id: &str, timestamp: String) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Posted {
        id,
        r#type: "otp.send",
        timestamp,
        attempt: message.attempt.to_string(),
        project: message.project.to_string(),
        channel: message.channel,
        target: message.target.delivered(),
        code: message.code.reveal(),
        locale: &message.locale,
        text: &message.content.text,
        subject: message.content.subject.as_deref(),
        html: message.content.html.as_deref(),
        expires_in: message.remaining.as_secs(),
        callback: message.callback.as_deref(),
    })
}

/// A message that the other side does not name goes by its attempt.
fn read(reply: &Reply, attempt: AttemptId) -> Result<Handed, (Cause, String)> {
    if !reply.is_success() {
        return Err(refusal(reply));
    }
    let taken: Taken = serde_json::from_slice(&reply.body).unwrap_or_default();
    if matches!(taken.status.as_deref(), Some("undelivered" | "failed" | "rejected")) {
        return Err((Cause::Unavailable, reply.words()));
    }
    let id = taken.message_id.as_deref().and_then(message_id).unwrap_or_else(|| attempt.to_string());
    Ok(Handed { message_id: Some(id), delivered: taken.status.as_deref() == Some("delivered") })
}

fn refusal(reply: &Reply) -> (Cause, String) {
    let Ok(Refused { error }) = serde_json::from_slice(&reply.body) else {
        return (cause(reply, None), reply.words());
    };
    let words = [error.code.as_deref(), error.message.as_deref()].into_iter().flatten();
    let words = words.fold(reply.status.to_string(), |words, word| format!("{words}: {word}"));
    (cause(reply, error.class.as_deref()), words)
}

/// A class that is named tells more than the status.
fn cause(reply: &Reply, class: Option<&str>) -> Cause {
    match (reply.status, class) {
        (429, _) => Cause::Throttled { retry_after: reply.retry_after },
        (500.., _) | (400.., Some("transient")) => Cause::Unavailable,
        (400.., Some("recipient")) => Cause::Rejected,
        (400.., Some("provider")) => Cause::Misconfigured(Misconfiguration::Endpoint),
        (401 | 403, _) => Cause::Misconfigured(Misconfiguration::Credentials),
        _ => Cause::Misconfigured(Misconfiguration::Endpoint),
    }
}

fn event(body: &[u8]) -> Option<ReceiptEvent> {
    let receipt: Receipt = serde_json::from_slice(body).ok()?;
    let status = match receipt.status.as_str() {
        "sent" => ReceiptStatus::Sent,
        "delivered" => ReceiptStatus::Delivered,
        "undelivered" => ReceiptStatus::Undelivered,
        _ => return None,
    };
    let attempt = receipt.attempt.map(|attempt| attempt.parse().ok());
    if attempt == Some(None) {
        return None;
    }
    let detail = receipt.detail.map(|detail| anonymous(&detail)).filter(|detail| !detail.is_empty());
    Some(ReceiptEvent { message_id: message_id(&receipt.message_id)?, attempt: attempt.flatten(), status, detail })
}
