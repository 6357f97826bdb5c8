//! Africa's Talking: SMS, by the live host and by the sandbox's.
//!
//! Sources: developers.africastalking.com/docs/sms/sending/bulk, …/docs/sms/notifications,
//! github.com/AfricastalkingLtd/africastalking-node.js.
//!
//! It takes no validity: a message that waits for a phone may come after its code has died. Receipts are not signed and go
//! to one address set in the dashboard, so they come without our attempt id and are joined by message id.
//!
//! Unsure: what follows from 401 `RiskHold` and 407 `CouldNotRoute`; both are taken as a provider that cannot now, so that
//! another one tries. The limits of its rate are not published.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use reqwest::header::ACCEPT;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::facts::Facts;
use crate::http::{self, Reply, number};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::words::{failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check};

#[cfg(test)]
mod tests;

const BASE_URL: &str = "https://api.africastalking.com";
const SANDBOX_URL: &str = "https://api.sandbox.africastalking.com";
/// The user of every application in the sandbox.
const SANDBOX_USER: &str = "sandbox";

pub(crate) const KIND: Kind = Kind {
    name: "africastalking",
    configure,
    environment: &[
        ("AT_USERNAME", "username"),
        ("AT_API_KEY", "api_key"),
        ("AT_SENDER_ID", "from"),
        ("AFRICASTALKING_USERNAME", "username"),
        ("AFRICASTALKING_API_KEY", "api_key"),
        ("AFRICASTALKING_SENDER_ID", "from"),
    ],
    switched_on_by: &[&["AFRICASTALKING_USERNAME", "AFRICASTALKING_API_KEY"]],
    facts: Facts {
        title: "Africa's Talking",
        channels: &[Channel::Sms],
        receipts: "to one address, set in the dashboard",
        signature: "none: a secret in the address",
        check: "balance",
        needs: "",
        certainty: "certain but for two codes",
    },
};

pub struct Africastalking {
    name: String,
    http: Client,
    base_url: String,
    username: String,
    api_key: SecretString,
    /// A registered name or short code; without it the account's own.
    from: Option<String>,
    receipt_secret: Option<SecretString>,
}

impl fmt::Debug for Africastalking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Africastalking({} at {} as {})", self.username, self.base_url, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let username = settings.text("username");
    if username.is_none() {
        settings.problem("username", "set it (AFRICASTALKING_USERNAME) to the application's user, or to sandbox");
    }
    let api_key = settings.secret("api_key");
    if api_key.is_none() {
        settings.problem("api_key", "set it (AFRICASTALKING_API_KEY) to the API key of that application");
    }
    let from = settings.text("from");
    let receipt_secret = settings.receipt_secret();
    let is_sandbox = username.as_deref() == Some(SANDBOX_USER);
    let base_url = settings.base_url("base_url", if is_sandbox { SANDBOX_URL } else { BASE_URL });
    let problems = settings.finish();
    match (username, api_key) {
        (Some(username), Some(api_key)) if problems.is_empty() => {
            let http = tools.http.clone();
            Ok(Arc::new(Africastalking { name, http, base_url, username, api_key, from, receipt_secret }))
        }
        _ => Err(problems),
    }
}

impl Africastalking {
    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        // It answers in XML unless told otherwise.
        request.header("apiKey", self.api_key.expose_secret()).header(ACCEPT, "application/json")
    }

    fn fields<'a>(&'a self, message: &'a Message) -> Vec<(&'static str, &'a str)> {
        let fields = [
            ("username", self.username.as_str()),
            ("to", message.target.delivered()),
            ("message", message.content.text.as_str()),
            ("bulkSMSMode", "1"),
        ];
        fields.into_iter().chain(self.from.as_deref().map(|from| ("from", from))).collect()
    }
}

#[async_trait]
impl Provider for Africastalking {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Sms]
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let request = self.http.post(format!("{}/version1/messaging", self.base_url));
        let reply = http::exchange(self.authorised(request).form(&self.fields(message))).await;
        let reply = reply.map_err(|trouble| trouble.failure(message))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let request = self.http.get(format!("{}/version1/user", self.base_url));
        let request = self.authorised(request).query(&[("username", &self.username)]);
        let Ok(reply) = http::exchange(request).await else { return check::away() };
        match serde_json::from_slice::<User>(&reply.body) {
            Ok(User { data: UserData { balance } }) if reply.is_success() => {
                let amount = balance.rsplit(' ').next().and_then(|amount| amount.parse().ok());
                // The sandbox costs nothing.
                check::welcome(Some((amount, balance)), self.username == SANDBOX_USER)
            }
            _ => check::refused(&cause(&reply, None, ""), &reply.words()),
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
        let form: BTreeMap<Cow<'_, str>, Cow<'_, str>> = form_urlencoded::parse(request.body).collect();
        let id = form.get("id").and_then(|id| message_id(id));
        let (Some(message_id), Some(status)) = (id, form.get("status")) else { return Err(BadReceipt::Malformed) };
        let Some(status) = receipt_status(status) else { return Ok(Vec::new()) };
        let is_name = |reason: &&Cow<'_, str>| reason.bytes().all(|byte| byte.is_ascii_alphabetic());
        let detail = form.get("failureReason").filter(is_name).map(|reason| crate::excerpt(reason));
        let detail = detail.filter(|reason| !reason.is_empty() && reason != "None");
        Ok(vec![ReceiptEvent { message_id, attempt: request.attempt(), status, detail }])
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "SMSMessageData")]
    data: AnswerData,
}

#[derive(Deserialize)]
struct AnswerData {
    /// A sentence, or the name of what is wrong with all recipients.
    #[serde(rename = "Message", default)]
    message: String,
    #[serde(rename = "Recipients", default)]
    recipients: Vec<Recipient>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    #[serde(default)]
    status_code: Value,
    #[serde(default)]
    status: String,
    message_id: Option<String>,
}

#[derive(Deserialize)]
struct User {
    #[serde(rename = "UserData")]
    data: UserData,
}

#[derive(Deserialize)]
struct UserData {
    /// `KES 1785.50`
    balance: String,
}

fn read(reply: &Reply) -> Result<Handed, (Cause, String)> {
    let answer = serde_json::from_slice::<Answer>(&reply.body).ok();
    if reply.is_success() && !reply.whole && answer.is_none() {
        // Whether it was taken stands in what was lost.
        return Err((Cause::Ambiguous, "the answer broke off".to_owned()));
    }
    let Some(Answer { data }) = answer else { return Err((cause(reply, None, ""), reply.words())) };
    let Some(recipient) = data.recipients.first() else {
        return Err((cause(reply, None, &data.message), format!("{}: {}", reply.status, data.message)));
    };
    let code = number(&recipient.status_code);
    if reply.is_success() && matches!(code, Some(100..=102)) {
        let id = recipient.message_id.as_deref().and_then(message_id);
        return Ok(Handed { message_id: id, delivered: false });
    }
    let shown = code.map_or_else(String::new, |code| format!(" {code}"));
    Err((cause(reply, code, &recipient.status), format!("{}{shown}: {}", reply.status, recipient.status)))
}

/// All that is known of its codes, and of the names that stand alone where every recipient is refused. They tell all:
/// the HTTP status of an empty account is 201.
fn cause(reply: &Reply, code: Option<u64>, name: &str) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    match (reply.status, code, name) {
        (_, Some(402), _) | (_, None, "InvalidSenderId") => Cause::Misconfigured(Sender),
        (_, Some(405), _) | (_, None, "InsufficientBalance") => Cause::Misconfigured(Balance),
        (_, Some(403 | 404 | 406 | 409), _)
        | (_, None, "InvalidPhoneNumber" | "UnsupportedNumberType" | "UserInBlacklist" | "DoNotDisturbRejection") => {
            Cause::Rejected
        }
        (_, Some(401 | 407 | 500..=502), _)
        | (_, None, "RiskHold" | "CouldNotRoute" | "InternalServerError" | "GatewayError" | "RejectedByGateway") => {
            Cause::Unavailable
        }
        (429, ..) => Cause::Throttled { retry_after: reply.retry_after },
        (500.., ..) => Cause::Unavailable,
        (401 | 403, ..) => Cause::Misconfigured(Credentials),
        _ => Cause::Misconfigured(Endpoint),
    }
}

fn receipt_status(status: &str) -> Option<ReceiptStatus> {
    match status {
        "Sent" | "Submitted" | "Buffered" => Some(ReceiptStatus::Sent),
        "Success" => Some(ReceiptStatus::Delivered),
        "Rejected" | "Failed" | "AbsentSubscriber" | "Expired" => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}
