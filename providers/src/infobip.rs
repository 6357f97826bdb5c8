//! Infobip: SMS (API version 3) and WhatsApp.
//!
//! Sources: infobip.com/docs/api/channels/sms, …/channels/whatsapp, infobip.com/docs/essentials/response-status-and-error-codes,
//! github.com/infobip/infobip-api-java-client.
//!
//! Receipts are not signed; their address has a secret. A message's `validityPeriod` is the code's remaining life; WhatsApp
//! takes none. What is kept of a message is a matter of the account.
//!
//! Unsure: the path of the balance, which is a setting; the numbers of statuses, so that their names decide; how a refused
//! address is worded: 403 is taken as one where its words speak of an IP, as a key without the scope otherwise.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::http::{self, Reply};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::words::{anonymous, failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check};

#[cfg(test)]
mod tests;

const BASE_ADVICE: &str = "set it (INFOBIP_BASE_URL) to the account's own, such as https://abc123.api.infobip.com";
const BALANCE_PATH: &str = "/account/1/balance";
const LONGEST_VALIDITY_S: u64 = 48 * 3600;
const SENDER_ADVICE: &str = "set from (INFOBIP_FROM) for SMS, whatsapp_from (INFOBIP_WHATSAPP_FROM) for WhatsApp";

pub(crate) const KIND: Kind = Kind {
    name: "infobip",
    configure,
    environment: &[
        ("INFOBIP_BASE_URL", "base_url"),
        ("INFOBIP_API_KEY", "api_key"),
        ("INFOBIP_FROM", "from"),
        ("INFOBIP_WHATSAPP_FROM", "whatsapp_from"),
    ],
    switched_on_by: &[&["INFOBIP_BASE_URL", "INFOBIP_API_KEY"]],
    facts: Facts {
        title: "Infobip",
        channels: &[Channel::Sms, Channel::Whatsapp],
        receipts: "each message names its address",
        signature: "none: a secret in the address",
        check: "balance",
        needs: "`INFOBIP_FROM` or `INFOBIP_WHATSAPP_FROM`",
        certainty: "certain but for the balance's path",
    },
};

pub struct Infobip {
    name: String,
    http: Client,
    base_url: String,
    api_key: SecretString,
    channels: Vec<Channel>,
    from: Option<String>,
    whatsapp_from: Option<String>,
    /// The approved authentication template, which takes the code in its body and in its button.
    whatsapp_template: Option<String>,
    whatsapp_language: String,
    balance_path: String,
    receipt_secret: Option<SecretString>,
}

impl fmt::Debug for Infobip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Infobip({} as {})", self.base_url, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let base_url = base_url(&mut settings);
    let api_key = settings.secret("api_key");
    if api_key.is_none() {
        settings.problem("api_key", "set it (INFOBIP_API_KEY) to an API key with the scopes for sending");
    }
    let mut sender = |field| settings.text(field).map(|from| from.trim_start_matches('+').to_owned());
    let (from, whatsapp_from) = (sender("from"), sender("whatsapp_from"));
    let sms = from.is_some().then_some(Channel::Sms);
    let channels: Vec<_> = sms.into_iter().chain(whatsapp_from.is_some().then_some(Channel::Whatsapp)).collect();
    if channels.is_empty() {
        settings.problem("from", SENDER_ADVICE);
    }
    let whatsapp_template = settings.text("whatsapp_template");
    let whatsapp_language = settings.text("whatsapp_language").unwrap_or_else(|| "en".to_owned());
    let balance_path = settings.text("balance_path").unwrap_or_else(|| BALANCE_PATH.to_owned());
    if !balance_path.starts_with('/') {
        settings.problem("balance_path", "must be a path, which begins with /");
    }
    let receipt_secret = settings.receipt_secret();
    let problems = settings.finish();
    match (base_url, api_key) {
        (Some(base_url), Some(api_key)) if problems.is_empty() => Ok(Arc::new(Infobip {
            name,
            http: tools.http.clone(),
            base_url,
            api_key,
            channels,
            from,
            whatsapp_from,
            whatsapp_template,
            whatsapp_language,
            balance_path,
            receipt_secret,
        })),
        _ => Err(problems),
    }
}

/// Infobip shows it without `https://`, so that is how it is often set.
fn base_url(settings: &mut Settings<'_>) -> Option<String> {
    let base =
        settings.text("base_url").map(|base| if base.contains("://") { base } else { format!("https://{base}") });
    let base = base.filter(|base| http::endpoint(base, false).is_some());
    if base.is_none() {
        settings.problem("base_url", BASE_ADVICE);
    }
    base.map(|base| base.trim_end_matches('/').to_owned())
}

impl Infobip {
    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        request.header(AUTHORIZATION, format!("App {}", self.api_key.expose_secret()))
    }

    /// Where the message is posted, and as what.
    fn outgoing(&self, message: &Message) -> (&'static str, Value) {
        let to = message.target.delivered().trim_start_matches('+');
        let attempt = message.attempt.to_string();
        let callback = message.callback.as_deref().filter(|_| self.has_receipts());
        if message.channel == Channel::Sms {
            return ("/sms/3/messages", json!({"messages": [self.sms(message, to, &attempt, callback)]}));
        }
        let mut outgoing = json!({"from": self.whatsapp_from, "to": to, "callbackData": attempt});
        if let Some(url) = callback {
            outgoing["notifyUrl"] = url.into();
        }
        let Some(template) = &self.whatsapp_template else {
            outgoing["content"] = json!({"text": message.content.text});
            return ("/whatsapp/1/message/text", outgoing);
        };
        let code = message.code.reveal();
        outgoing["content"] = json!({
            "templateName": template,
            "templateData": {"body": {"placeholders": [code]}, "buttons": [{"type": "URL", "parameter": code}]},
            "language": self.whatsapp_language,
        });
        ("/whatsapp/1/message/template", json!({"messages": [outgoing]}))
    }

    fn sms(&self, message: &Message, to: &str, attempt: &str, callback: Option<&str>) -> Value {
        let validity = message.remaining.as_secs().clamp(1, LONGEST_VALIDITY_S);
        let mut outgoing = json!({
            "sender": self.from,
            "destinations": [{"to": to}],
            "content": {"text": message.content.text},
            "options": {"validityPeriod": {"amount": validity, "timeUnit": "SECONDS"}},
            "webhooks": {"contentType": "application/json", "callbackData": attempt},
        });
        if let Some(url) = callback {
            // The first report proves that it was taken, even if the answer to this request is lost.
            outgoing["webhooks"]["delivery"] = json!({"url": url, "intermediateReport": true});
        }
        outgoing
    }
}

#[async_trait]
impl Provider for Infobip {
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
        let (path, body) = self.outgoing(message);
        let request = self.authorised(self.http.post(format!("{}{path}", self.base_url))).json(&body);
        let reply = http::exchange(request).await.map_err(|trouble| trouble.failure(message))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let request = self.http.get(format!("{}{}", self.base_url, self.balance_path));
        let Ok(reply) = http::exchange(self.authorised(request)).await else { return check::away() };
        match serde_json::from_slice::<Money>(&reply.body) {
            Ok(Money { balance, currency }) if reply.is_success() => {
                check::welcome(Some((Some(balance), format!("{balance} {currency}").trim_end().to_owned())), false)
            }
            _ => {
                let wire: Wire = serde_json::from_slice(&reply.body).unwrap_or_default();
                let (name, said) = wire.error();
                check::refused(&cause(&reply, name, said), &reply.words())
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
        let Reports { results } = serde_json::from_slice(request.body).map_err(|_| BadReceipt::Malformed)?;
        if !results.is_empty() && results.iter().all(|report| report.message_id.is_empty()) {
            return Err(BadReceipt::Malformed);
        }
        let is_alone = results.len() == 1;
        let attempt = request.attempt().filter(|_| is_alone);
        let events = results.into_iter().filter_map(|report| report.event());
        Ok(events.map(|event| ReceiptEvent { attempt: event.attempt.or(attempt), ..event }).collect())
    }
}

/// The fields of all answers: of a list of messages, of a single one, of errors in their old and in their new shape.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    messages: Vec<Taken>,
    message_id: Option<String>,
    status: Option<Status>,
    error_code: Option<String>,
    description: Option<String>,
    request_error: Option<RequestError>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Taken {
    message_id: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    group_name: String,
    name: String,
    description: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestError {
    service_exception: ServiceException,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ServiceException {
    message_id: String,
    text: String,
}

#[derive(Deserialize)]
struct Money {
    balance: f64,
    #[serde(default)]
    currency: String,
}

impl Wire {
    /// An error's name and its words, in either shape.
    fn error(&self) -> (&str, &str) {
        match &self.request_error {
            Some(RequestError { service_exception: error }) => (&error.message_id, &error.text),
            None => (self.error_code.as_deref().unwrap_or_default(), self.description.as_deref().unwrap_or_default()),
        }
    }

    fn taken(&mut self) -> Taken {
        match self.messages.pop() {
            Some(taken) => taken,
            None => Taken { message_id: self.message_id.take(), status: self.status.take() },
        }
    }
}

fn read(reply: &Reply) -> Result<Handed, (Cause, String)> {
    let wire = serde_json::from_slice::<Wire>(&reply.body).ok();
    if reply.is_success() && !reply.whole && wire.is_none() {
        // Whether it was taken stands in what was lost.
        return Err((Cause::Ambiguous, "the answer broke off".to_owned()));
    }
    let Some(mut wire) = wire else { return Err((cause(reply, "", ""), reply.words())) };
    let Taken { message_id: id, status } = wire.taken();
    let Some(Status { group_name, name, description }) = status else {
        let (name, said) = wire.error();
        return Err((cause(reply, name, said), format!("{} {name}: {said}", reply.status)));
    };
    if reply.is_success() && matches!(group_name.as_str(), "PENDING" | "ACCEPTED" | "DELIVERED") {
        let message_id = id.as_deref().and_then(message_id);
        return Ok(Handed { message_id, delivered: group_name == "DELIVERED" });
    }
    Err((cause(reply, &name, &description), format!("{} {name}: {description}", reply.status)))
}

/// All that is known of the names of statuses and errors. A network or a route that this account has not may be had of
/// another provider.
fn cause(reply: &Reply, name: &str, said: &str) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, IpBlocked, Sender};
    match (reply.status, name) {
        (_, "REJECTED_NOT_ENOUGH_CREDITS" | "REJECTED_PREPAID_PACKAGE_EXPIRED") => Cause::Misconfigured(Balance),
        (_, "REJECTED_SOURCE" | "REJECTED_SENDER" | "REJECTED_DESTINATION_NOT_REGISTERED") => {
            Cause::Misconfigured(Sender)
        }
        (_, "REJECTED_DESTINATION" | "REJECTED_DESTINATION_BLOCKLISTED" | "REJECTED_INVALID_DESTINATION")
        | (_, "REJECTED_DND" | "REJECTED_PREFIX_MISSING" | "MISSING_TO") => Cause::Rejected,
        (429, _) | (_, "REJECTED_FLOODING_FILTER" | "TOO_MANY_REQUESTS") => {
            Cause::Throttled { retry_after: reply.retry_after }
        }
        (500.., _) | (_, "REJECTED_SYSTEM_ERROR" | "REJECTED_NETWORK" | "REJECTED_ROUTE_NOT_AVAILABLE") => {
            Cause::Unavailable
        }
        (_, name) if name.starts_with("UNDELIVERABLE_") || name.starts_with("EXPIRED_") => Cause::Unavailable,
        (403, _) if speaks_of_ip(said) => Cause::Misconfigured(IpBlocked),
        (401 | 403, _) => Cause::Misconfigured(Credentials),
        _ => Cause::Misconfigured(Endpoint),
    }
}

fn speaks_of_ip(said: &str) -> bool {
    said.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.eq_ignore_ascii_case("ip"))
}

/// What is posted to our address: delivery reports of both channels, seen reports of WhatsApp.
#[derive(Deserialize)]
struct Reports {
    results: Vec<Report>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Report {
    message_id: String,
    callback_data: Option<String>,
    status: Option<Status>,
    error: Option<ReportError>,
    seen_at: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReportError {
    name: String,
}

impl Report {
    /// One that says nothing to us is left out, so that the others of its batch count.
    fn event(self) -> Option<ReceiptEvent> {
        let status = self.status.unwrap_or_default();
        let what = match status.group_name.as_str() {
            "ACCEPTED" | "PENDING" => ReceiptStatus::Sent,
            "DELIVERED" => ReceiptStatus::Delivered,
            "UNDELIVERABLE" | "EXPIRED" | "REJECTED" => ReceiptStatus::Undelivered,
            _ if self.seen_at.is_some() => ReceiptStatus::Delivered,
            _ => return None,
        };
        let error = self.error.map(|error| error.name).filter(|name| !name.is_empty() && name != "NO_ERROR");
        let detail = error.unwrap_or(status.name);
        let is_failure = what == ReceiptStatus::Undelivered && !detail.is_empty();
        Some(ReceiptEvent {
            message_id: message_id(&self.message_id)?,
            attempt: self.callback_data.and_then(|data| data.parse().ok()),
            status: what,
            detail: is_failure.then(|| anonymous(&detail)),
        })
    }
}
