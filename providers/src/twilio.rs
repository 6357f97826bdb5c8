//! Twilio Programmable Messaging: SMS and WhatsApp.
//!
//! Sources: twilio.com/docs/messaging/api/message-resource, twilio.com/docs/api/errors,
//! twilio.com/docs/usage/webhooks/webhooks-security.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use reqwest::Client;
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

const BASE_URL: &str = "https://api.twilio.com";
const LONGEST_VALIDITY_S: u64 = 36_000;
const SENDER_ADVICE: &str = "set from (TWILIO_FROM) or messaging_service_sid (TWILIO_MESSAGING_SERVICE_SID) for SMS, \
                             whatsapp_from (TWILIO_WHATSAPP_FROM) for WhatsApp";

pub(crate) const KIND: Kind = Kind {
    name: "twilio",
    configure,
    environment: &[
        ("TWILIO_ACCOUNT_SID", "account_sid"),
        ("TWILIO_AUTH_TOKEN", "auth_token"),
        ("TWILIO_FROM_NUMBER", "from"),
        ("TWILIO_PHONE_NUMBER", "from"),
        ("TWILIO_FROM", "from"),
        ("TWILIO_MESSAGING_SERVICE_SID", "messaging_service_sid"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp_from"),
    ],
    switched_on_by: &[&["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"]],
    facts: Facts {
        title: "Twilio",
        channels: &[Channel::Sms, Channel::Whatsapp],
        receipts: "each message names its address",
        signature: "HMAC-SHA1 over URL and form",
        check: "account, balance",
        needs: "`TWILIO_FROM`, `TWILIO_MESSAGING_SERVICE_SID` or `TWILIO_WHATSAPP_FROM`",
        certainty: "certain",
    },
};

pub struct Twilio {
    name: String,
    http: Client,
    /// `…/2010-04-01/Accounts/AC…`, to which the resource is added.
    account: String,
    account_sid: String,
    /// The primary token: Twilio signs receipts with no other.
    auth_token: SecretString,
    channels: Vec<Channel>,
    from: Option<String>,
    messaging_service_sid: Option<String>,
    whatsapp_from: Option<String>,
    template: Option<Template>,
    redact: bool,
}

/// An approved WhatsApp template: outside a conversation WhatsApp takes nothing else.
struct Template {
    content_sid: String,
    /// `{code}` and `{minutes}` in the values are filled in.
    variables: BTreeMap<String, String>,
}

impl fmt::Debug for Twilio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Twilio({} as {})", self.account, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let account_sid = settings.text("account_sid").filter(|sid| is_sid(sid, "AC"));
    if account_sid.is_none() {
        settings.problem("account_sid", "set it (TWILIO_ACCOUNT_SID) to the account's SID, which begins with AC");
    }
    let auth_token = settings.secret("auth_token");
    if auth_token.is_none() {
        settings.problem("auth_token", "set it (TWILIO_AUTH_TOKEN) to the account's primary auth token");
    }
    let from = settings.text("from");
    let messaging_service_sid = settings.text("messaging_service_sid");
    let whatsapp_from = settings.text("whatsapp_from").map(|from| with_whatsapp(&from).into_owned());
    let sms = (from.is_some() || messaging_service_sid.is_some()).then_some(Channel::Sms);
    let channels: Vec<_> = sms.into_iter().chain(whatsapp_from.is_some().then_some(Channel::Whatsapp)).collect();
    if channels.is_empty() {
        settings.problem("from", SENDER_ADVICE);
    }
    let template = template(&mut settings);
    let redact = settings.flag("redact");
    let base = settings.base_url("base_url", BASE_URL);
    let problems = settings.finish();
    match (account_sid, auth_token) {
        (Some(account_sid), Some(auth_token)) if problems.is_empty() => Ok(Arc::new(Twilio {
            name,
            http: tools.http.clone(),
            account: format!("{base}/2010-04-01/Accounts/{account_sid}"),
            account_sid,
            auth_token,
            channels,
            from,
            messaging_service_sid,
            whatsapp_from,
            template,
            redact,
        })),
        _ => Err(problems),
    }
}

fn template(settings: &mut Settings<'_>) -> Option<Template> {
    let content_sid = settings.text("whatsapp_content_sid");
    if content_sid.as_ref().is_some_and(|sid| !is_sid(sid, "HX")) {
        settings.problem("whatsapp_content_sid", "must be a content template's SID, which begins with HX");
    }
    let variables = settings.texts("whatsapp_content_variables");
    let variables = variables.unwrap_or_else(|| BTreeMap::from([("1".to_owned(), "{code}".to_owned())]));
    content_sid.map(|content_sid| Template { content_sid, variables })
}

/// It becomes a part of URLs.
fn is_sid(text: &str, prefix: &str) -> bool {
    text.starts_with(prefix) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn with_whatsapp(address: &str) -> Cow<'_, str> {
    if address.starts_with("whatsapp:") { address.into() } else { format!("whatsapp:{address}").into() }
}

impl Twilio {
    fn fields<'a>(&'a self, message: &'a Message) -> Vec<(&'static str, Cow<'a, str>)> {
        let mut fields = if message.channel == Channel::Whatsapp {
            self.whatsapp_fields(message)
        } else {
            let senders = [("From", &self.from), ("MessagingServiceSid", &self.messaging_service_sid)];
            let senders = senders.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?.into())));
            let message = [("To", message.target.delivered().into()), ("Body", message.content.text.as_str().into())];
            message.into_iter().chain(senders).collect()
        };
        let validity = message.remaining.as_secs().clamp(1, LONGEST_VALIDITY_S);
        fields.push(("ValidityPeriod", validity.to_string().into()));
        if self.redact {
            fields.extend([("ContentRetention", "discard".into()), ("AddressRetention", "obfuscate".into())]);
        }
        if let Some(callback) = &message.callback {
            fields.push(("StatusCallback", callback.into()));
        }
        fields
    }

    fn whatsapp_fields<'a>(&'a self, message: &'a Message) -> Vec<(&'static str, Cow<'a, str>)> {
        let mut fields = vec![
            ("To", with_whatsapp(message.target.delivered())),
            ("From", self.whatsapp_from.as_deref().unwrap_or_default().into()),
        ];
        if let Some(template) = &self.template {
            let minutes = message.remaining.as_secs().div_ceil(60).to_string();
            let fill = |text: &String| text.replace("{code}", message.code.reveal()).replace("{minutes}", &minutes);
            let variables: BTreeMap<_, _> = template.variables.iter().map(|(name, text)| (name, fill(text))).collect();
            fields.push(("ContentSid", template.content_sid.as_str().into()));
            fields.push(("ContentVariables", serde_json::json!(variables).to_string().into()));
        } else {
            fields.push(("Body", message.content.text.as_str().into()));
        }
        fields
    }

    async fn get(&self, resource: &str) -> Result<Reply, http::Trouble> {
        let request = self.http.get(format!("{}{resource}", self.account));
        http::exchange(request.basic_auth(&self.account_sid, Some(self.auth_token.expose_secret()))).await
    }

    /// The signature of a request to us: over the URL and its form's sorted names and values. Twilio may have used the
    /// URL with or without its port.
    fn has_signed(&self, url: &str, form: &BTreeMap<String, BTreeSet<String>>, signature: &str) -> bool {
        let Ok(tag) = BASE64_STANDARD.decode(signature) else { return false };
        let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.auth_token.expose_secret().as_bytes());
        let fields: String =
            form.iter().flat_map(|(name, values)| values.iter().map(move |value| format!("{name}{value}"))).collect();
        // Compares in constant time.
        with_and_without_port(url)
            .iter()
            .any(|url| hmac::verify(&key, format!("{url}{fields}").as_bytes(), &tag).is_ok())
    }
}

#[async_trait]
impl Provider for Twilio {
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
        let request = self.http.post(format!("{}/Messages.json", self.account));
        let request = request.basic_auth(&self.account_sid, Some(self.auth_token.expose_secret()));
        let reply = http::exchange(request.form(&self.fields(message))).await;
        let reply = reply.map_err(|trouble| trouble.failure(message))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let Ok(account) = self.get(".json").await else { return check::away() };
        if let Some(check) = bad_account(&account) {
            return check;
        }
        let balance = self.get("/Balance.json").await.ok().and_then(|reply| balance(&reply.body));
        check::welcome(balance.map(|(amount, shown)| (Some(amount), shown)), false)
    }

    fn has_receipts(&self) -> bool {
        true
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        let mut form: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(request.body) {
            form.entry(name.into_owned()).or_default().insert(value.into_owned());
        }
        let signature = request.header("x-twilio-signature").ok_or(BadReceipt::Forged)?;
        if !self.has_signed(request.url, &form, signature) {
            return Err(BadReceipt::Forged);
        }
        let field = |name: &str| form.get(name)?.first().map(String::as_str);
        let id = field("MessageSid").or_else(|| field("SmsSid")).and_then(message_id);
        let status = field("MessageStatus").or_else(|| field("SmsStatus"));
        let (Some(message_id), Some(status)) = (id, status) else { return Err(BadReceipt::Malformed) };
        let Some(status) = receipt_status(status) else { return Ok(Vec::new()) };
        let code = field("ErrorCode").and_then(|code| code.parse::<u32>().ok()).filter(|code| *code != 0);
        Ok(vec![ReceiptEvent {
            message_id,
            attempt: request.attempt(),
            status,
            detail: code.map(|code| code.to_string()),
        }])
    }
}

/// The fields of all of Twilio's replies: a message, an error in its old and in its new shape (RFC 9457), an account.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    sid: Option<String>,
    status: Value,
    error_code: Value,
    error_message: Option<String>,
    code: Value,
    message: Option<String>,
    title: Option<String>,
    detail: Option<String>,
}

impl Wire {
    fn words(&self, status: u16, code: Option<u64>) -> String {
        let said = [&self.message, &self.title, &self.detail, &self.error_message].into_iter().flatten();
        let said = said.map(String::as_str).collect::<Vec<_>>().join(": ");
        let code = code.map_or_else(String::new, |code| format!(" {code}"));
        format!("{status}{code}: {said}")
    }
}

fn read(reply: &Reply) -> Result<Handed, (Cause, String)> {
    let wire = serde_json::from_slice::<Wire>(&reply.body).ok();
    if reply.is_success() && !reply.whole && wire.is_none() {
        // It was taken, only its id was lost on the way.
        return Ok(Handed::default());
    }
    let Some(wire) = wire else { return Err((cause(reply, None), reply.words())) };
    let code = number(&wire.code).or_else(|| number(&wire.error_code));
    match wire.sid.as_deref().and_then(message_id) {
        Some(id) if reply.is_success() && code.is_none() => Ok(Handed { message_id: Some(id), delivered: false }),
        _ => Err((cause(reply, code), wire.words(reply.status, code))),
    }
}

/// All that is known of Twilio's errors. The code tells more than the status; an unknown one is no fault of the
/// recipient's.
fn cause(reply: &Reply, code: Option<u64>) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    match (reply.status, code) {
        (_, Some(10001 | 20005 | 30002)) => Cause::Misconfigured(Balance),
        (_, Some(20003 | 20403 | 70051)) | (401, _) => Cause::Misconfigured(Credentials),
        (429, _) | (_, Some(20429 | 21611 | 30001)) => Cause::Throttled { retry_after: reply.retry_after },
        (500.., _) | (_, Some(30003 | 30008)) => Cause::Unavailable,
        (_, Some(21211 | 21217 | 21610 | 21612 | 21614 | 21635 | 30004 | 30005 | 30006)) => Cause::Rejected,
        (_, Some(21212 | 21408 | 21601 | 21603 | 21606 | 21608 | 30007 | 30032 | 30034 | 63007)) => {
            Cause::Misconfigured(Sender)
        }
        (403, None) => Cause::Misconfigured(Credentials),
        _ => Cause::Misconfigured(Endpoint),
    }
}

fn receipt_status(status: &str) -> Option<ReceiptStatus> {
    match status {
        "sending" | "sent" => Some(ReceiptStatus::Sent),
        "delivered" | "read" => Some(ReceiptStatus::Delivered),
        "undelivered" | "failed" | "canceled" => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}

/// What is wrong with the account, if anything is.
fn bad_account(reply: &Reply) -> Option<Check> {
    let wire: Wire = serde_json::from_slice(&reply.body).unwrap_or_default();
    Some(match wire.status.as_str() {
        Some("active") if reply.is_success() => return None,
        Some(status @ ("suspended" | "closed")) if reply.is_success() => {
            let cause = Cause::Misconfigured(Misconfiguration::Credentials);
            check::refused(&cause, &format!("the account is {status}"))
        }
        _ => {
            let code = number(&wire.code);
            check::refused(&cause(reply, code), &wire.words(reply.status, code))
        }
    })
}

/// The amount, and how it is shown. Subaccounts have none.
fn balance(body: &[u8]) -> Option<(f64, String)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let amount = body.get("balance")?.as_str()?;
    let currency = body.get("currency").and_then(Value::as_str).unwrap_or_default();
    Some((amount.parse().ok()?, format!("{amount} {currency}").trim_end().to_owned()))
}

/// The URL without a port, and with its own or its scheme's.
fn with_and_without_port(url: &str) -> [String; 2] {
    let Some((scheme, rest)) = url.split_once("://") else { return [url.to_owned(), url.to_owned()] };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let port = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let default = if scheme.eq_ignore_ascii_case("http") { "80" } else { "443" };
    let (host, port) = port.unwrap_or((authority, default));
    [format!("{scheme}://{host}{path}"), format!("{scheme}://{host}:{port}{path}")]
}
