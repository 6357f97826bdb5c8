//! Amazon SES: e-mail by its v2 API, with receipts by SNS.
//!
//! Sources: docs.aws.amazon.com/ses/latest/APIReference-V2 (SendEmail, GetAccount, common errors) and
//! …/ses/latest/dg/event-publishing-retrieving-sns-contents.html; the service's published model.
//!
//! Keys are those of the settings alone: no profile and no instance is asked for any. Opens and clicks are tracked where
//! the configuration set says so. Unsure: the words by which a refused address and a used-up day are told.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::clock::Clock;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use lettre::message::Mailbox;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::http::{self, Reply};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::sigv4::{self, Signer, Unsigned};
use crate::sns::Topic;
use crate::words::{anonymous, failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check, mail};

#[cfg(test)]
mod tests;

const ATTEMPT: &str = "otpd_attempt";
const JSON: &str = "application/json";
/// Bytes of a name that fit into one encoded word (RFC 2047).
const LONGEST_WORD: usize = 42;
const REGION_ADVICE: &str = "set it (AWS_REGION) to the region of SES, as eu-west-1";
const TOPIC_ADVICE: &str = "must be the ARN of an SNS topic: arn:aws:sns:eu-west-1:123456789012:name";

pub(crate) const KIND: Kind = Kind {
    name: "ses",
    configure,
    environment: &[
        ("AWS_ACCESS_KEY_ID", "access_key_id"),
        ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
        ("AWS_SESSION_TOKEN", "session_token"),
        ("AWS_DEFAULT_REGION", "region"),
        ("AWS_REGION", "region"),
        ("SES_FROM", "from"),
        ("SES_CONFIGURATION_SET", "configuration_set"),
        ("SES_TOPIC_ARN", "topic_arn"),
    ],
    switched_on_by: &[&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "SES_FROM"]],
    facts: Facts {
        title: "Amazon SES",
        channels: &[Channel::Email],
        receipts: "to an SNS topic",
        signature: "SNS's certificate",
        check: "account, what is left of the day",
        needs: "",
        certainty: "certain but for words",
    },
};

pub struct Ses {
    name: String,
    http: Client,
    clock: Clock,
    /// `…/v2/email`, to which the resource is added.
    base: Url,
    signer: Signer,
    from: Mailbox,
    configuration_set: Option<String>,
    /// Where the configuration set publishes what becomes of messages.
    topic: Option<Topic>,
    receipt_secret: Option<SecretString>,
}

impl fmt::Debug for Ses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ses({:?} from {} as {})", self.signer, self.from.email, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let access_key_id = settings.text("access_key_id");
    let secret_access_key = settings.secret("secret_access_key");
    if access_key_id.is_none() || secret_access_key.is_none() {
        let advice = "set it and secret_access_key (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) to a key that may send";
        settings.problem("access_key_id", advice);
    }
    let session_token = settings.secret("session_token");
    let region = settings.text("region").filter(|region| is_region(region));
    if region.is_none() {
        settings.problem("region", REGION_ADVICE);
    }
    let from = mail::sender(&mut settings, "SES_FROM");
    let configuration_set = settings.text("configuration_set");
    let topic = settings.text("topic_arn").map(|arn| Topic::new(&arn, tools.http.clone(), tools.tasks.clone()));
    if matches!(topic, Some(None)) {
        settings.problem("topic_arn", TOPIC_ADVICE);
    }
    let sns_url = settings.text("sns_url").map(|url| http::endpoint(&url, false));
    if sns_url == Some(None) {
        settings.problem("sns_url", "must be an https:// URL, or http:// on this machine");
    }
    let receipt_secret = settings.receipt_secret();
    let region = region.unwrap_or_default();
    let base = format!("{}/v2/email/", settings.base_url("base_url", &host(&region)));
    let problems = settings.finish();
    match (access_key_id, secret_access_key, from, Url::parse(&base)) {
        (Some(access_key_id), Some(secret_access_key), Some(from), Ok(base)) if problems.is_empty() => {
            let signer = Signer { access_key_id, secret_access_key, session_token, region, service: "ses" };
            let topic = topic.flatten().map(|topic| sns_url.flatten().into_iter().fold(topic, Topic::at));
            let (http, clock) = (tools.http.clone(), tools.clock.clone());
            Ok(Arc::new(Ses { name, http, clock, base, signer, from, configuration_set, topic, receipt_secret }))
        }
        _ => Err(problems),
    }
}

/// It becomes a part of host names.
fn is_region(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn host(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://email.{region}.{domain}")
}

/// The sender with its name as mail headers take it; SES passes it on as it is.
fn encoded(from: &Mailbox) -> String {
    let Some(name) = from.name.as_ref().filter(|name| !name.is_ascii()) else { return from.to_string() };
    let mut words = vec![String::new()];
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= LONGEST_WORD => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let words: Vec<_> = words.iter().map(|word| format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(word))).collect();
    format!("{} <{}>", words.join(" "), from.email)
}

impl Ses {
    fn body(&self, message: &Message, to: &str) -> Value {
        let text = |data: &str| json!({"Data": data, "Charset": "UTF-8"});
        let mut body = json!({"Text": text(&message.content.text)});
        if let Some(html) = &message.content.html {
            body["Html"] = text(html);
        }
        let headers = json!([{"Name": mail::AUTO_SUBMITTED.0, "Value": mail::AUTO_SUBMITTED.1}]);
        let simple = json!({"Subject": text(&mail::subject(message)), "Body": body, "Headers": headers});
        let mut request = json!({
            "FromEmailAddress": encoded(&self.from),
            "Destination": {"ToAddresses": [to]},
            "Content": {"Simple": simple},
            "EmailTags": [{"Name": ATTEMPT, "Value": mail::tag(message.attempt)}],
        });
        if let Some(set) = &self.configuration_set {
            request["ConfigurationSetName"] = set.as_str().into();
        }
        request
    }

    fn request(&self, method: Method, resource: &str, body: Vec<u8>) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{resource}", self.base.path()));
        let content_type = if body.is_empty() { "" } else { JSON };
        let unsigned = Unsigned { method: method.as_str(), url: &url, content_type, body: &body };
        let signed = self.signer.sign(unsigned, self.clock.now());
        let mut request = self.http.request(method, url).header(sigv4::DATE, signed.date);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        if let Some(token) = &self.signer.session_token {
            request = request.header(sigv4::SESSION_TOKEN, token.expose_secret());
        }
        request.header(AUTHORIZATION, signed.authorization).body(body)
    }
}

#[async_trait]
impl Provider for Ses {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Email]
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let to = mail::recipient(message)?;
        let body = self.body(message, &to).to_string().into_bytes();
        let answered = http::exchange_with_headers(self.request(Method::POST, "outbound-emails", body)).await;
        let (reply, headers) = answered.map_err(|trouble| trouble.failure(message))?;
        read(&reply, &headers).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let asked = http::exchange_with_headers(self.request(Method::GET, "account", Vec::new())).await;
        let Ok((reply, headers)) = asked else { return check::away() };
        match serde_json::from_slice::<Account>(&reply.body) {
            Ok(account) if reply.is_success() => account.check(),
            _ => {
                let (cause, words) = refusal(&reply, &headers);
                check::refused(&cause, &words)
            }
        }
    }

    fn has_receipts(&self) -> bool {
        self.topic.is_some()
    }

    fn receipt_secret(&self) -> Option<&SecretString> {
        self.receipt_secret.as_ref()
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        let topic = self.topic.as_ref().ok_or(BadReceipt::NotSupported)?;
        if self.receipt_secret.is_some() {
            request.check_secret(self.receipt_secret())?;
        }
        let Some(published) = topic.read(request.body, self.clock.now())? else { return Ok(Vec::new()) };
        // SES greets a new topic with a sentence.
        let Ok(event) = serde_json::from_str::<Event>(&published) else { return Ok(Vec::new()) };
        Ok(event.receipt().into_iter().collect())
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    #[serde(rename = "MessageId")]
    message_id: Option<String>,
    #[serde(alias = "Message")]
    message: String,
    #[serde(rename = "__type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Account {
    sending_enabled: bool,
    #[serde(default)]
    production_access_enabled: bool,
    #[serde(default)]
    enforcement_status: String,
    #[serde(default)]
    send_quota: Quota,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Quota {
    max24_hour_send: f64,
    sent_last24_hours: f64,
}

impl Account {
    fn check(&self) -> Check {
        use Misconfiguration::{Balance, Credentials, Sender};
        let Quota { max24_hour_send: most, sent_last24_hours: sent } = self.send_quota;
        let is_used_up = most > 0.0 && sent >= most;
        let problem = match self {
            Self { enforcement_status, .. } if enforcement_status == "SHUTDOWN" => {
                Some((Credentials, "Amazon has shut the account's sending down"))
            }
            Self { sending_enabled: false, .. } => Some((Sender, "sending is paused")),
            Self { production_access_enabled: false, .. } => {
                Some((Sender, "the account is in the sandbox: it mails verified addresses alone"))
            }
            _ if is_used_up => Some((Balance, "what may be sent in 24 hours is used up")),
            _ => None,
        };
        let problem = problem.map(|(what, words)| (what, words.to_owned()));
        let left = (most > 0.0).then(|| format!("{} of {most} left in 24 h", (most - sent).max(0.0)));
        let sender = if self.production_access_enabled { "production" } else { "sandbox" };
        Check { balance: left, problem, ..check::welcome_from(Some(sender.to_owned()), None) }
    }
}

/// An event of a configuration set, or a notification of an identity.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(alias = "notificationType")]
    event_type: String,
    mail: Mailed,
    bounce: Option<Bounce>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mailed {
    message_id: String,
    #[serde(default)]
    tags: Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Bounce {
    bounce_type: String,
    bounce_sub_type: String,
    bounced_recipients: Vec<Value>,
}

impl Event {
    fn receipt(self) -> Option<ReceiptEvent> {
        let status = receipt_status(&self.event_type)?;
        let attempt = self.mail.tags.get(ATTEMPT).and_then(|values| values.get(0)?.as_str()).and_then(mail::attempt_of);
        let detail = self.bounce.map(|bounce| {
            let said = bounce.bounced_recipients.first().and_then(|first| first.get("diagnosticCode")?.as_str());
            anonymous(&format!("{} {}: {}", bounce.bounce_type, bounce.bounce_sub_type, said.unwrap_or_default()))
        });
        Some(ReceiptEvent { message_id: message_id(&self.mail.message_id)?, attempt, status, detail })
    }
}

fn read(reply: &Reply, headers: &HeaderMap) -> Result<Handed, (Cause, String)> {
    let wire = serde_json::from_slice::<Wire>(&reply.body).ok();
    if reply.is_success() && !reply.whole && wire.is_none() {
        // It was taken, only its id was lost on the way.
        return Ok(Handed::default());
    }
    match wire.and_then(|wire| wire.message_id).as_deref().and_then(message_id) {
        Some(id) if reply.is_success() => Ok(Handed { message_id: Some(id), delivered: false }),
        _ => Err(refusal(reply, headers)),
    }
}

/// The error's name stands in a header, before a colon, or in the body, behind a hash.
fn refusal(reply: &Reply, headers: &HeaderMap) -> (Cause, String) {
    let wire: Wire = serde_json::from_slice(&reply.body).unwrap_or_default();
    let named = headers.get("x-amzn-errortype").and_then(|name| name.to_str().ok()).unwrap_or(&wire.kind);
    let name = named.split(':').next().unwrap_or_default();
    let name = name.rsplit('#').next().unwrap_or_default();
    let words =
        if wire.message.is_empty() { reply.words() } else { format!("{} {name}: {}", reply.status, wire.message) };
    (cause(reply, name.trim_end_matches("Exception"), &wire.message.to_ascii_lowercase()), words)
}

/// All that is known of the errors of SES and of Amazon's door before it, their names without `Exception`.
fn cause(reply: &Reply, name: &str, said: &str) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    match (reply.status, name) {
        (_, "AccountSuspended" | "AccessDenied" | "ExpiredToken" | "IncompleteSignature" | "InvalidClientTokenId")
        | (
            _,
            "InvalidSignature" | "MissingAuthenticationToken" | "NotAuthorized" | "OptInRequired" | "RequestExpired",
        )
        | (_, "SignatureDoesNotMatch" | "UnrecognizedClient") => Cause::Misconfigured(Credentials),
        (_, "TooManyRequests" | "LimitExceeded") if said.contains("quota") => Cause::Misconfigured(Balance),
        (_, "TooManyRequests" | "LimitExceeded" | "Throttling") | (429, _) => {
            Cause::Throttled { retry_after: reply.retry_after }
        }
        (_, "InternalFailure" | "InternalServiceError" | "ServiceUnavailable") | (500.., _) => Cause::Unavailable,
        (_, "MailFromDomainNotVerified" | "MessageRejected" | "NotFound" | "SendingPaused") => {
            Cause::Misconfigured(Sender)
        }
        (_, "BadRequest") if is_about_the_recipient(said) => Cause::Rejected,
        (401 | 403, _) => Cause::Misconfigured(Credentials),
        _ => Cause::Misconfigured(Endpoint),
    }
}

fn is_about_the_recipient(said: &str) -> bool {
    let known =
        ["illegal address", "missing final", "local address", "domain contains", "domain starts", "domain ends"];
    known.iter().any(|words| said.contains(words))
}

/// What was opened, or marked as unwanted, has arrived.
fn receipt_status(event: &str) -> Option<ReceiptStatus> {
    match event {
        "Send" | "DeliveryDelay" => Some(ReceiptStatus::Sent),
        "Delivery" | "Open" | "Click" | "Complaint" => Some(ReceiptStatus::Delivered),
        "Bounce" | "Reject" | "Rendering Failure" | "RenderingFailure" => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}
