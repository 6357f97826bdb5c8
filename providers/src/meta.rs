//! Meta's WhatsApp Cloud API: codes by an approved authentication template.
//!
//! Sources: developers.facebook.com/documentation/business-messaging/whatsapp (authentication templates, error codes,
//! messages and phone number references, webhooks); the published OpenAPI document, v23.0.
//!
//! Unsure: how long Meta sends a webhook again that was not taken. Its signature holds no time, so nothing is refused for
//! its age; what is said twice changes nothing. That receipts return `biz_opaque_callback_data` is not in the OpenAPI
//! document; without it they are joined by message id.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::facts::Facts;
use crate::http::{self, Reply, Trouble};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::signature::{self, decode_hex};
use crate::words::{anonymous, failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check};

#[cfg(test)]
mod tests;

const BASE_URL: &str = "https://graph.facebook.com";
const VERSION: &str = "v23.0";
const LANGUAGE: &str = "en_US";
/// Longest challenge that is echoed; Meta's are short numbers.
const LONGEST_CHALLENGE: usize = 128;

pub(crate) const KIND: Kind = Kind {
    name: "meta",
    configure,
    environment: &[
        ("WHATSAPP_TOKEN", "access_token"),
        ("WHATSAPP_ACCESS_TOKEN", "access_token"),
        ("WHATSAPP_PHONE_NUMBER_ID", "phone_number_id"),
        ("WHATSAPP_TEMPLATE", "template"),
        ("WHATSAPP_TEMPLATE_LANGUAGE", "language"),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", "business_account_id"),
        ("WHATSAPP_APP_SECRET", "app_secret"),
        ("WHATSAPP_VERIFY_TOKEN", "verify_token"),
    ],
    switched_on_by: &[&["WHATSAPP_ACCESS_TOKEN", "WHATSAPP_PHONE_NUMBER_ID", "WHATSAPP_TEMPLATE"]],
    facts: Facts {
        title: "Meta's WhatsApp Cloud API",
        channels: &[Channel::Whatsapp],
        receipts: "to the app's webhook",
        signature: "HMAC-SHA256 over the body",
        check: "number, template",
        needs: "",
        certainty: "certain but for one code",
    },
};

pub struct Meta {
    name: String,
    http: Client,
    /// `…/v23.0`, to which the object is added.
    base: String,
    access_token: SecretString,
    phone_number_id: String,
    business_account_id: Option<String>,
    template: String,
    language: String,
    /// The template's languages by our locales, where they differ from `language`.
    languages: BTreeMap<String, String>,
    /// Receipts are signed with it; without it none are taken.
    app_secret: Option<SecretString>,
    /// What Meta proves itself with when the webhook is set up.
    verify_token: Option<SecretString>,
}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meta({} at {} as {})", self.phone_number_id, self.base, self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let access_token = settings.secret("access_token");
    if access_token.is_none() {
        settings.problem("access_token", "set it (WHATSAPP_ACCESS_TOKEN) to a system user's token");
    }
    let phone_number_id = settings.text("phone_number_id").filter(|id| is_id(id));
    if phone_number_id.is_none() {
        settings.problem("phone_number_id", "set it (WHATSAPP_PHONE_NUMBER_ID) to the id of the number, in digits");
    }
    let template = settings.text("template");
    if template.is_none() {
        settings.problem("template", "set it (WHATSAPP_TEMPLATE) to the name of an approved authentication template");
    }
    let business_account_id = settings.text("business_account_id");
    if business_account_id.as_ref().is_some_and(|id| !is_id(id)) {
        settings.problem("business_account_id", "must be the WhatsApp Business account's id");
    }
    let language = settings.text("language").unwrap_or_else(|| LANGUAGE.to_owned());
    let languages = settings.texts("languages").unwrap_or_default();
    let (app_secret, verify_token) = (settings.secret("app_secret"), settings.secret("verify_token"));
    let version = settings.text("version").unwrap_or_else(|| VERSION.to_owned());
    if !version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') {
        settings.problem("version", "must be a version of the Graph API such as v23.0");
    }
    let base = format!("{}/{version}", settings.base_url("base_url", BASE_URL));
    let problems = settings.finish();
    match (access_token, phone_number_id, template) {
        (Some(access_token), Some(phone_number_id), Some(template)) if problems.is_empty() => Ok(Arc::new(Meta {
            name,
            http: tools.http.clone(),
            base,
            access_token,
            phone_number_id,
            business_account_id,
            template,
            language,
            languages,
            app_secret,
            verify_token,
        })),
        _ => Err(problems),
    }
}

/// It becomes a part of URLs.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Meta {
    /// The code stands in the body and in the button that copies or fills it in.
    fn body(&self, message: &Message) -> Value {
        let parameters = json!([{"type": "text", "text": message.code.reveal()}]);
        json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": message.target.delivered().trim_start_matches('+'),
            "type": "template",
            "template": {
                "name": self.template,
                "language": {"code": self.language_for(&message.locale)},
                "components": [
                    {"type": "body", "parameters": parameters},
                    {"type": "button", "sub_type": "url", "index": "0", "parameters": parameters},
                ],
            },
            "biz_opaque_callback_data": message.attempt.to_string(),
        })
    }

    /// The locale itself, else its language alone, else the template's first language.
    fn language_for(&self, locale: &str) -> &str {
        let language = locale.split(['-', '_']).next().unwrap_or_default();
        self.languages.get(locale).or_else(|| self.languages.get(language)).unwrap_or(&self.language)
    }

    async fn get(&self, object: &str, query: &[(&str, &str)]) -> Result<Reply, Trouble> {
        let request = self.http.get(format!("{}/{object}", self.base)).query(query);
        http::exchange(request.bearer_auth(self.access_token.expose_secret())).await
    }

    /// What is wrong with the template, if that can be seen.
    async fn bad_template(&self) -> Option<String> {
        let account = self.business_account_id.as_ref()?;
        let query = [("name", self.template.as_str()), ("fields", "name,status,language,category")];
        let reply = self.get(&format!("{account}/message_templates"), &query).await.ok()?;
        let Templates { data } = serde_json::from_slice(&reply.body).ok()?;
        let is_ours = |found: &&Template| found.name == self.template && found.language == self.language;
        match data.iter().find(is_ours) {
            Some(found) if found.status == "APPROVED" => None,
            Some(found) => Some(format!("the template {} is {}", self.template, found.status)),
            None => Some(format!("there is no template {} in {}", self.template, self.language)),
        }
    }
}

#[async_trait]
impl Provider for Meta {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Whatsapp]
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let request = self.http.post(format!("{}/{}/messages", self.base, self.phone_number_id));
        let request = request.bearer_auth(self.access_token.expose_secret()).json(&self.body(message));
        let reply = http::exchange(request).await.map_err(|trouble| trouble.failure(message))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let fields = "display_phone_number,verified_name,quality_rating,code_verification_status,status,throughput";
        let Ok(reply) = self.get(&self.phone_number_id, &[("fields", fields)]).await else { return check::away() };
        let Some(number) = serde_json::from_slice::<Number>(&reply.body).ok().filter(|_| reply.is_success()) else {
            let (cause, words) = refusal(&reply);
            return check::refused(&cause, &words);
        };
        let problem = match number.status.as_deref().filter(|status| *status != "CONNECTED") {
            Some(status) => Some(format!("the number is {status}")),
            None => self.bad_template().await,
        };
        let shown = [number.display_phone_number, number.verified_name, number.status].into_iter().flatten();
        check::welcome_from(Some(shown.collect::<Vec<_>>().join(" ")), problem)
    }

    fn has_receipts(&self) -> bool {
        self.app_secret.is_some()
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        let secret = self.app_secret.as_ref().ok_or(BadReceipt::NotSupported)?;
        let tag = request.header("x-hub-signature-256").and_then(|header| header.strip_prefix("sha256="));
        let tag = tag.and_then(decode_hex).ok_or(BadReceipt::Forged)?;
        if !signature::fits(secret, request.body, &tag) {
            return Err(BadReceipt::Forged);
        }
        let hook: Hook = serde_json::from_slice(request.body).map_err(|_| BadReceipt::Malformed)?;
        let changes = hook.entry.into_iter().flat_map(|entry| entry.changes);
        // What people write comes by the same webhook, without statuses.
        Ok(changes.flat_map(|change| change.value.statuses).filter_map(event).collect())
    }

    fn challenge(&self, query: &str) -> Result<String, BadReceipt> {
        let expected = self.verify_token.as_ref().ok_or(BadReceipt::NotSupported)?;
        let fields: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
        let field = |name: &str| fields.get(name).map_or("", |value| value.as_ref());
        let fits = field("hub.verify_token").as_bytes().ct_eq(expected.expose_secret().as_bytes());
        if field("hub.mode") != "subscribe" || !bool::from(fits) {
            return Err(BadReceipt::Forged);
        }
        let challenge = field("hub.challenge");
        let is_plain = challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        let is_fit = is_plain && (1..=LONGEST_CHALLENGE).contains(&challenge.len());
        if is_fit { Ok(challenge.to_owned()) } else { Err(BadReceipt::Malformed) }
    }
}

/// The fields of a message taken and of an error.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    messages: Vec<Taken>,
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Taken {
    id: String,
}

#[derive(Deserialize)]
struct Refused {
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    is_transient: bool,
    #[serde(default)]
    error_data: Value,
}

#[derive(Deserialize)]
struct Number {
    #[serde(rename = "id")]
    _id: String,
    status: Option<String>,
    display_phone_number: Option<String>,
    verified_name: Option<String>,
}

#[derive(Deserialize)]
struct Templates {
    data: Vec<Template>,
}

#[derive(Deserialize)]
struct Template {
    name: String,
    status: String,
    #[serde(default)]
    language: String,
}

#[derive(Deserialize)]
struct Hook {
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    value: Changed,
}

#[derive(Deserialize)]
struct Changed {
    #[serde(default)]
    statuses: Vec<Status>,
}

#[derive(Deserialize)]
struct Status {
    id: String,
    status: String,
    biz_opaque_callback_data: Option<String>,
    #[serde(default)]
    errors: Vec<StatusError>,
}

#[derive(Deserialize)]
struct StatusError {
    code: u32,
    #[serde(default)]
    title: String,
}

fn event(status: Status) -> Option<ReceiptEvent> {
    let status_now = receipt_status(&status.status)?;
    let error = status.errors.first().map(|error| format!("{}: {}", error.code, anonymous(&error.title)));
    let attempt = status.biz_opaque_callback_data.and_then(|attempt| attempt.parse().ok());
    Some(ReceiptEvent { message_id: message_id(&status.id)?, attempt, status: status_now, detail: error })
}

fn read(reply: &Reply) -> Result<Handed, (Cause, String)> {
    let wire = serde_json::from_slice::<Wire>(&reply.body).ok();
    if reply.is_success() && !reply.whole && wire.is_none() {
        // It was taken, only its id was lost on the way.
        return Ok(Handed::default());
    }
    match wire.and_then(|wire| message_id(&wire.messages.first()?.id)) {
        Some(id) if reply.is_success() => Ok(Handed { message_id: Some(id), delivered: false }),
        _ => Err(refusal(reply)),
    }
}

fn refusal(reply: &Reply) -> (Cause, String) {
    let wire: Wire = serde_json::from_slice(&reply.body).unwrap_or_default();
    let Some(error) = wire.error else { return (cause(reply, None, false), reply.words()) };
    let details = error.error_data.get("details").and_then(Value::as_str).unwrap_or_default();
    let words = format!("{} {}: {}: {details}", reply.status, error.code, error.message);
    (cause(reply, Some(error.code), error.is_transient), words.trim_end_matches([':', ' ']).to_owned())
}

/// All that is known of Meta's errors. The status says little: 400 may be anything.
fn cause(reply: &Reply, code: Option<u32>, is_transient: bool) -> Cause {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    match (reply.status, code) {
        (_, Some(0 | 3 | 10 | 190 | 200..=299 | 368 | 131_005 | 131_031)) => Cause::Misconfigured(Credentials),
        (_, Some(131_042)) => Cause::Misconfigured(Balance),
        // Templates, and numbers that are not registered, may not send there, or may send to testers alone.
        (_, Some(130_497 | 131_030 | 131_037 | 131_045 | 132_000..=132_099 | 133_010)) => Cause::Misconfigured(Sender),
        (_, Some(130_472 | 131_021 | 131_026 | 131_049)) => Cause::Rejected,
        (_, Some(4 | 80_007 | 130_429 | 131_048 | 131_056)) | (429, _) => {
            Cause::Throttled { retry_after: reply.retry_after }
        }
        (_, Some(1 | 2 | 131_000 | 131_016 | 131_057 | 133_004)) | (500.., _) => Cause::Unavailable,
        _ if is_transient => Cause::Unavailable,
        (401, _) => Cause::Misconfigured(Credentials),
        _ => Cause::Misconfigured(Endpoint),
    }
}

fn receipt_status(status: &str) -> Option<ReceiptStatus> {
    match status {
        "sent" => Some(ReceiptStatus::Sent),
        "delivered" | "read" | "played" => Some(ReceiptStatus::Delivered),
        "failed" => Some(ReceiptStatus::Undelivered),
        _ => None,
    }
}
