//! Postmark: e-mail by its API.
//!
//! Sources: postmarkapp.com/developer/api (overview with its error codes, email, server) and …/developer/webhooks.
//!
//! Webhooks are not signed, so receipts come to an address with a secret. Unsure: whether `DeliveryType` is told of
//! every server; where it is, a sandbox server counts as one that refuses what it may send.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use lettre::message::Mailbox;
use reqwest::header::ACCEPT;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::http::{self, Reply};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::words::{anonymous, failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check, mail};

#[cfg(test)]
mod tests;

const BASE_URL: &str = "https://api.postmarkapp.com";
const STREAM: &str = "outbound";

pub(crate) const KIND: Kind = Kind {
    name: "postmark",
    configure,
    environment: &[
        ("POSTMARK_API_TOKEN", "server_token"),
        ("POSTMARK_SERVER_TOKEN", "server_token"),
        ("POSTMARK_FROM_EMAIL", "from"),
        ("POSTMARK_FROM", "from"),
        ("POSTMARK_MESSAGE_STREAM", "message_stream"),
    ],
    switched_on_by: &[&["POSTMARK_SERVER_TOKEN", "POSTMARK_FROM"]],
    facts: Facts {
        title: "Postmark",
        channels: &[Channel::Email],
        receipts: "to the stream's webhook",
        signature: "none: a secret in the address",
        check: "server",
        needs: "",
        certainty: "certain but for words",
    },
};

pub struct Postmark {
    name: String,
    http: Client,
    base_url: String,
    server_token: SecretString,
    from: Mailbox,
    message_stream: String,
    receipt_secret: Option<SecretString>,
}

impl fmt::Debug for Postmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postmark({} from {} as {})", self.base_url, self.from.email, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let server_token = settings.secret("server_token");
    if server_token.is_none() {
        settings.problem("server_token", "set it (POSTMARK_SERVER_TOKEN) to the server's API token");
    }
    let from = mail::sender(&mut settings, "POSTMARK_FROM");
    let message_stream = settings.text("message_stream").unwrap_or_else(|| STREAM.to_owned());
    let receipt_secret = settings.receipt_secret();
    let base_url = settings.base_url("base_url", BASE_URL);
    let problems = settings.finish();
    match (server_token, from) {
        (Some(server_token), Some(from)) if problems.is_empty() => {
            let http = tools.http.clone();
            Ok(Arc::new(Postmark { name, http, base_url, server_token, from, message_stream, receipt_secret }))
        }
        _ => Err(problems),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Outgoing<'a> {
    from: String,
    to: &'a str,
    subject: String,
    text_body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    html_body: Option<&'a str>,
    message_stream: &'a str,
    track_opens: bool,
    track_links: &'static str,
    headers: Value,
    metadata: Value,
}

impl Postmark {
    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("X-Postmark-Server-Token", self.server_token.expose_secret()).header(ACCEPT, "application/json")
    }
}

#[async_trait]
impl Provider for Postmark {
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
            to: &to,
            subject: mail::subject(message),
            text_body: &message.content.text,
            html_body: message.content.html.as_deref(),
            message_stream: &self.message_stream,
            track_opens: false,
            track_links: "None",
            headers: json!([{"Name": mail::AUTO_SUBMITTED.0, "Value": mail::AUTO_SUBMITTED.1}]),
            metadata: json!({"otpd_attempt": message.attempt.to_string()}),
        };
        let request = self.signed(self.http.post(format!("{}/email", self.base_url))).json(&body);
        let reply = http::exchange(request).await.map_err(|trouble| trouble.failure(message))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let request = self.signed(self.http.get(format!("{}/server", self.base_url)));
        let Ok(reply) = http::exchange(request).await else { return check::away() };
        match serde_json::from_slice::<Server>(&reply.body) {
            Ok(server) if reply.is_success() => {
                let is_sandbox = server.delivery_type.as_deref() == Some("Sandbox");
                let problem = is_sandbox.then(|| "the server is a sandbox: it delivers nothing".to_owned());
                check::welcome_from(server.delivery_type.map(|kind| format!("{kind} server")), problem)
            }
            _ => {
                let (cause, words) = refusal(&reply);
                check::refused(&cause, &words)
            }
        }
    }

    fn has_receipts(&self) -> bool {
        self.receipt_secret.is_some()
    }

    fn receipt_secret(&self) -> Option<&SecretString> {
        self.receipt_secret.as_ref()
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        request.check_secret(self.receipt_secret())?;
        let event: Event = serde_json::from_slice(request.body).map_err(|_| BadReceipt::Malformed)?;
        event.receipt().map(|receipt| receipt.into_iter().collect())
    }
}

/// The fields of a message taken and of an error.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    error_code: u32,
    #[serde(default)]
    message: String,
    #[serde(rename = "MessageID")]
    message_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Server {
    #[serde(rename = "ID")]
    _id: u64,
    delivery_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    record_type: String,
    #[serde(rename = "MessageID")]
    message_id: Option<String>,
    #[serde(default)]
    metadata: Value,
    /// The kind of a bounce.
    r#type: Option<String>,
    #[serde(default)]
    description: String,
}

impl Event {
    /// `None` where it says nothing of a message's fate: other events come by the same webhook.
    fn receipt(self) -> Result<Option<ReceiptEvent>, BadReceipt> {
        let Some(status) = receipt_status(&self.record_type, self.r#type.as_deref()) else { return Ok(None) };
        let id = self.message_id.as_deref().and_then(message_id).ok_or(BadReceipt::Malformed)?;
        let attempt = self.metadata.get("otpd_attempt").and_then(Value::as_str);
        let detail = self.r#type.map(|kind| anonymous(&format!("{kind}: {}", self.description)));
        Ok(Some(ReceiptEvent {
            message_id: id,
            attempt: attempt.and_then(|attempt| attempt.parse().ok()),
            status,
            detail: detail.filter(|_| status == ReceiptStatus::Undelivered),
        }))
    }
}

fn read(reply: &Reply) -> Result<Handed, (Cause, String)> {
    let wire = serde_json::from_slice::<Wire>(&reply.body).ok();
    if reply.is_success() && !reply.whole && wire.is_none() {
        // It was taken, only its id was lost on the way.
        return Ok(Handed::default());
    }
    let taken = wire.filter(|wire| reply.is_success() && wire.error_code == 0);
    match taken.and_then(|wire| wire.message_id).as_deref().and_then(message_id) {
        Some(id) => Ok(Handed { message_id: Some(id), delivered: false }),
        None => Err(refusal(reply)),
    }
}

fn refusal(reply: &Reply) -> (Cause, String) {
    match serde_json::from_slice::<Wire>(&reply.body) {
        Ok(wire) => {
            let words = format!("{} {}: {}", reply.status, wire.error_code, wire.message);
            (cause(reply, Some(wire.error_code), &wire.message.to_ascii_lowercase()), words)
        }
        Err(_) => (cause(reply, None, ""), reply.words()),
    }
}

/// All that is known of Postmark's errors. A 403 that is no JSON comes from the edge of its network, which keeps
/// addresses out.
fn cause(reply: &Reply, code: Option<u32>, said: &str) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, IpBlocked, Sender};
    match (reply.status, code) {
        (_, Some(10 | 413)) | (401, _) => Cause::Misconfigured(Credentials),
        (_, Some(405)) => Cause::Misconfigured(Balance),
        (403, None) => Cause::Misconfigured(IpBlocked),
        (_, Some(429)) | (429, _) => Cause::Throttled { retry_after: reply.retry_after },
        (_, Some(100)) | (500.., _) => Cause::Unavailable,
        (_, Some(400 | 401 | 412)) => Cause::Misconfigured(Sender),
        (_, Some(406)) => Cause::Rejected,
        (_, Some(300)) if said.contains("'from'") => Cause::Misconfigured(Sender),
        (_, Some(300)) if said.contains("'to'") => Cause::Rejected,
        _ => Cause::Misconfigured(Endpoint),
    }
}

/// What was opened, answered by a machine, or marked as unwanted, has arrived.
fn receipt_status(record: &str, bounce: Option<&str>) -> Option<ReceiptStatus> {
    match (record, bounce) {
        ("Delivery" | "Open" | "Click" | "SpamComplaint", _) | ("Bounce", Some("AutoResponder")) => {
            Some(ReceiptStatus::Delivered)
        }
        ("Bounce", Some("Transient")) => Some(ReceiptStatus::Sent),
        ("Bounce", _) => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}
