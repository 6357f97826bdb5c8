//! Play Mobile, also smsxabar: SMS to Uzbekistan by its broker's HTTP interface.
//!
//! Sources: wiki.playmobile.uz (HTTP integration), github.com/absolutionsuz/playmobile-client,
//! github.com/mrmuminov/yii2-playmobile-uz, github.com/professor93/laravel-playmobile-client.
//!
//! Much of it is unsure, since there is no public specification. Host, path and originator come with the contract and are
//! settings. The broker names no message: ours is the name, at most 40 ASCII characters. Errors are read in both of the
//! spellings that are seen. It answers only to addresses on its list, elsewhere with silence or a refused connection, which
//! cannot be told from an outage. Receipts go to one address that Play Mobile enters; they are not signed, so it has a
//! secret, or credentials that were agreed upon, or both. No call for the balance is known: the check offers no messages
//! and looks whether it is the offer or the caller that is refused.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::ids::AttemptId;
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::facts::Facts;
use crate::http::{self, Reply, number};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::words::{anonymous, failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check};

#[cfg(test)]
mod tests;

const BASE_URL: &str = "https://send.smsxabar.uz";
const PATH: &str = "/broker-api/send";
/// What contracts are seen with.
const ORIGINATOR: &str = "3700";
const COUNTRY: &str = "+998";
const PRIORITIES: [&str; 4] = ["low", "normal", "high", "realtime"];

pub(crate) const KIND: Kind = Kind {
    name: "playmobile",
    configure,
    environment: &[
        ("PLAYMOBILE_BASE_URL", "base_url"),
        ("PLAYMOBILE_USERNAME", "username"),
        ("PLAYMOBILE_PASSWORD", "password"),
        ("PLAYMOBILE_ORIGINATOR", "originator"),
    ],
    switched_on_by: &[&["PLAYMOBILE_USERNAME", "PLAYMOBILE_PASSWORD"]],
    facts: Facts {
        title: "Play Mobile",
        channels: &[Channel::Sms],
        receipts: "to one address, which Play Mobile enters",
        signature: "none: a secret in the address, or a login",
        check: "login, by an offer of nothing",
        needs: "",
        certainty: "unsure: no public specification",
    },
};

pub struct PlayMobile {
    name: String,
    http: Client,
    endpoint: String,
    username: String,
    password: SecretString,
    originator: String,
    priority: Option<String>,
    receipt_secret: Option<SecretString>,
    /// The whole `Authorization` of receipts, where credentials were agreed upon.
    receipt_authorization: Option<SecretString>,
}

impl fmt::Debug for PlayMobile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlayMobile({} at {} as {})", self.username, self.endpoint, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let username = settings.text("username");
    if username.is_none() {
        settings.problem("username", "set it (PLAYMOBILE_USERNAME) to the login of the contract");
    }
    let password = settings.secret("password");
    if password.is_none() {
        settings.problem("password", "set it (PLAYMOBILE_PASSWORD) to that login's password");
    }
    let originator = settings.text("originator").unwrap_or_else(|| ORIGINATOR.to_owned());
    let priority = settings.text("priority");
    if priority.as_ref().is_some_and(|priority| !PRIORITIES.contains(&priority.as_str())) {
        settings.problem("priority", format_args!("must be one of {}", PRIORITIES.join(", ")));
    }
    let base_url = settings.base_url("base_url", BASE_URL);
    let path = settings.text("path").unwrap_or_else(|| PATH.to_owned());
    if !path.starts_with('/') {
        settings.problem("path", "must be a path, which begins with /");
    }
    let receipt_secret = settings.receipt_secret();
    let receipt_authorization = receipt_authorization(&mut settings);
    let problems = settings.finish();
    match (username, password) {
        (Some(username), Some(password)) if problems.is_empty() => Ok(Arc::new(PlayMobile {
            name,
            http: tools.http.clone(),
            endpoint: format!("{base_url}{path}"),
            username,
            password,
            originator,
            priority,
            receipt_secret,
            receipt_authorization,
        })),
        _ => Err(problems),
    }
}

fn receipt_authorization(settings: &mut Settings<'_>) -> Option<SecretString> {
    let (username, password) = (settings.text("receipt_username"), settings.secret("receipt_password"));
    if username.is_some() != password.is_some() {
        settings.problem("receipt_password", "set it and receipt_username, or neither");
    }
    let pair = format!("{}:{}", username?, password?.expose_secret());
    Some(format!("Basic {}", BASE64_STANDARD.encode(pair)).into())
}

impl PlayMobile {
    fn post(&self, body: &Value) -> RequestBuilder {
        let request = self.http.post(&self.endpoint).header(CONTENT_TYPE, "application/json; charset=UTF-8");
        request.basic_auth(&self.username, Some(self.password.expose_secret())).json(body)
    }

    fn outgoing(&self, message: &Message) -> Value {
        let mut outgoing = json!({"messages": [{
            "recipient": message.target.delivered().trim_start_matches('+'),
            "message-id": reference(message.attempt),
            "sms": {
                "originator": self.originator,
                "ttl": message.remaining.as_secs().max(1).to_string(),
                "content": {"text": message.content.text},
            },
        }]});
        if let Some(priority) = &self.priority {
            outgoing["priority"] = priority.as_str().into();
        }
        outgoing
    }

    /// Whether a receipt came by all that was agreed upon.
    fn admit(&self, request: &ReceiptRequest<'_>) -> Result<(), BadReceipt> {
        if let Some(expected) = &self.receipt_authorization {
            let given = request.header("authorization").ok_or(BadReceipt::Forged)?;
            if !bool::from(given.as_bytes().ct_eq(expected.expose_secret().as_bytes())) {
                return Err(BadReceipt::Forged);
            }
            if self.receipt_secret.is_none() {
                return Ok(());
            }
        }
        request.check_secret(self.receipt_secret.as_ref())
    }
}

#[async_trait]
impl Provider for PlayMobile {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Sms]
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        if !message.target.delivered().starts_with(COUNTRY) {
            return Err(failure(message, Cause::Unavailable, "it carries messages to Uzbekistan alone"));
        }
        let reply = http::exchange(self.post(&self.outgoing(message))).await;
        let reply = reply.map_err(|trouble| trouble.failure(message))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))?;
        Ok(Handed { message_id: Some(reference(message.attempt)), delivered: false })
    }

    async fn check(&self) -> Check {
        let Ok(reply) = http::exchange(self.post(&json!({"messages": []}))).await else { return check::away() };
        match read(&reply) {
            Err((cause, words)) if problem(&reply).is_none_or(|problem| matches!(problem.code(), Some(100 | 102))) => {
                check::refused(&cause, &words)
            }
            // It was the offer that was refused.
            _ => check::welcome(None, false),
        }
    }

    fn has_receipts(&self) -> bool {
        self.receipt_secret.is_some() || self.receipt_authorization.is_some()
    }

    fn receipt_secret(&self) -> Option<&SecretString> {
        self.receipt_secret.as_ref()
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        self.admit(request)?;
        let posted: Posted = serde_json::from_slice(request.body).map_err(|_| BadReceipt::Malformed)?;
        let statuses = match posted {
            Posted::Messages { messages } => messages,
            Posted::List(messages) => messages,
            Posted::One(message) => vec![message],
        };
        Ok(statuses.into_iter().filter_map(Status::event).collect())
    }
}

/// Our name of an attempt that the broker takes: 32 hexadecimal digits and two numbers.
fn reference(attempt: AttemptId) -> String {
    let dispatch = attempt.dispatch;
    format!("{}-{}-{}", dispatch.verification.as_uuid().simple(), dispatch.n, attempt.n)
}

fn attempt(reference: &str) -> Option<AttemptId> {
    reference.replace('-', ":").parse().ok()
}

/// An error, in both spellings.
#[derive(Deserialize)]
struct Problem {
    #[serde(alias = "error-code")]
    error_code: Value,
    #[serde(alias = "error-description", alias = "error_description", default)]
    description: String,
}

impl Problem {
    fn code(&self) -> Option<u64> {
        number(&self.error_code)
    }
}

fn problem(reply: &Reply) -> Option<Problem> {
    serde_json::from_slice::<Problem>(&reply.body).ok().filter(|problem| problem.code().is_some())
}

/// It says `Request is received`, as plain text; a page of HTML is somebody else.
fn read(reply: &Reply) -> Result<(), (Cause, String)> {
    if let Some(problem) = problem(reply) {
        let code = problem.code();
        let shown = code.unwrap_or_default();
        return Err((cause(reply, code), format!("{} {shown}: {}", reply.status, problem.description)));
    }
    let is_page = reply.body.trim_ascii_start().starts_with(b"<");
    if reply.is_success() && !is_page { Ok(()) } else { Err((cause(reply, None), reply.words())) }
}

/// All that is known of its codes. 102 is a locked account, 401 and 402 an originator that is missing or not the
/// contract's, 404 to 406 a text that it does not take, which is how an unapproved template would look.
fn cause(reply: &Reply, code: Option<u64>) -> Cause {
    use Misconfiguration::{Credentials, Endpoint, IpBlocked, Sender};
    match (reply.status, code) {
        (_, Some(100)) => Cause::Unavailable,
        (_, Some(102)) => Cause::Misconfigured(Credentials),
        (_, Some(401 | 402 | 404..=406)) => Cause::Misconfigured(Sender),
        (_, Some(_)) => Cause::Misconfigured(Endpoint),
        (401, None) => Cause::Misconfigured(Credentials),
        (403, None) => Cause::Misconfigured(IpBlocked),
        (429, None) => Cause::Throttled { retry_after: reply.retry_after },
        (500.., None) => Cause::Unavailable,
        _ => Cause::Misconfigured(Endpoint),
    }
}

/// What is posted to our address: a list under a name as documented; bare ones and single ones are seen too.
#[derive(Deserialize)]
#[serde(untagged)]
enum Posted {
    Messages { messages: Vec<Status> },
    List(Vec<Status>),
    One(Status),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    message_id: String,
    status: String,
    description: Option<String>,
}

impl Status {
    fn event(self) -> Option<ReceiptEvent> {
        let status = receipt_status(&self.status)?;
        let detail = self.description.map(|words| anonymous(&words)).filter(|words| !words.is_empty());
        let detail = detail.filter(|_| status == ReceiptStatus::Undelivered);
        let message_id = message_id(&self.message_id)?;
        Some(ReceiptEvent { attempt: attempt(&message_id), message_id, status, detail })
    }
}

fn receipt_status(status: &str) -> Option<ReceiptStatus> {
    match status.to_ascii_lowercase().as_str() {
        "transmitted" => Some(ReceiptStatus::Sent),
        "delivered" => Some(ReceiptStatus::Delivered),
        "notdelivered" | "expired" | "rejected" | "failed" => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}
