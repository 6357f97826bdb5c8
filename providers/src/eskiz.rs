//! Eskiz: SMS to Uzbekistan.
//!
//! Sources: documenter.getpostman.com/view/663428/RzfmES4z (the vendor's), its transcription in github.com/iota-uz/eskiz,
//! github.com/Muhammadali-Akbarov/eskiz-pkg, github.com/mrmuminov/php-eskiz-uz.
//!
//! A login gives a token for about a month. It is kept in memory and renewed when it is refused, by one caller while the
//! others wait. A message takes no validity. Accounts that have not paid may send three fixed texts only, others only what
//! fits a template that Eskiz has approved.
//!
//! Unsure: the wording of refusals, which have no codes, so that they are known by words in three languages; whether
//! receipts are JSON or a form, so that both are read. They are not signed; their address has a secret.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use reqwest::multipart::Form;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::facts::Facts;
use crate::http::{self, Reply, Trouble};
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::words::{failure, message_id};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check};

#[cfg(test)]
mod tests;

const BASE_URL: &str = "https://notify.eskiz.uz";
/// The sender of accounts without a name of their own.
const FROM: &str = "4546";
const COUNTRY: &str = "+998";
/// A login that takes longer leaves too little time for the message.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) const KIND: Kind = Kind {
    name: "eskiz",
    configure,
    environment: &[("ESKIZ_EMAIL", "email"), ("ESKIZ_PASSWORD", "password"), ("ESKIZ_FROM", "from")],
    switched_on_by: &[&["ESKIZ_EMAIL", "ESKIZ_PASSWORD"]],
    facts: Facts {
        title: "Eskiz",
        channels: &[Channel::Sms],
        receipts: "each message names its address",
        signature: "none: a secret in the address",
        check: "login, balance",
        needs: "",
        certainty: "unsure: refusals are known by their words",
    },
};

pub struct Eskiz {
    name: String,
    http: Client,
    base_url: String,
    email: String,
    password: SecretString,
    from: String,
    token: Mutex<Option<SecretString>>,
    login_timeout: Duration,
    receipt_secret: Option<SecretString>,
}

impl fmt::Debug for Eskiz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Eskiz({} as {})", self.base_url, self.name)
    }
}

fn configure(settings: Settings<'_>, tools: &Tools) -> Configured {
    Ok(Arc::new(read_settings(settings, tools)?))
}

fn read_settings(mut settings: Settings<'_>, tools: &Tools) -> Result<Eskiz, Vec<String>> {
    let name = settings.name().to_owned();
    let email = settings.text("email");
    if email.is_none() {
        settings.problem("email", "set it (ESKIZ_EMAIL) to the address that logs in at my.eskiz.uz");
    }
    let password = settings.secret("password");
    if password.is_none() {
        settings.problem("password", "set it (ESKIZ_PASSWORD) to the secret code that my.eskiz.uz shows for the API");
    }
    let from = settings.text("from").unwrap_or_else(|| FROM.to_owned());
    let base_url = settings.base_url("base_url", BASE_URL);
    let receipt_secret = settings.receipt_secret();
    let problems = settings.finish();
    match (email, password) {
        (Some(email), Some(password)) if problems.is_empty() => {
            let (http, token, login_timeout) = (tools.http.clone(), Mutex::default(), LOGIN_TIMEOUT);
            Ok(Eskiz { name, http, base_url, email, password, from, token, login_timeout, receipt_secret })
        }
        _ => Err(problems),
    }
}

/// Why a request was not answered as it should be.
struct Refusal {
    cause: Cause,
    words: String,
    is_answer: bool,
}

impl Refusal {
    fn said(reply: &Reply, cause: Cause) -> Self {
        Self { cause, words: format!("at the login: {}", reply.words()), is_answer: true }
    }
}

impl From<Trouble> for Refusal {
    fn from(Trouble { cause, words }: Trouble) -> Self {
        Self { cause, words, is_answer: false }
    }
}

impl Eskiz {
    fn url(&self, path: &str) -> String {
        format!("{}/api{path}", self.base_url)
    }

    /// Sends a request under the token; when that has become void, once more under a new one.
    async fn exchange(&self, request: impl Fn() -> RequestBuilder) -> Result<Reply, Refusal> {
        let token = self.token(None).await?;
        let reply = http::exchange(request().bearer_auth(token.expose_secret())).await?;
        if reply.status != 401 {
            return Ok(reply);
        }
        let token = self.token(Some(&token)).await?;
        Ok(http::exchange(request().bearer_auth(token.expose_secret())).await?)
    }

    /// The token, unless it is the void one: then a new one. Whatever goes wrong, no message has left.
    async fn token(&self, void: Option<&SecretString>) -> Result<SecretString, Refusal> {
        let too_late = |_| Refusal {
            cause: Cause::Unavailable,
            words: format!("no login within {} s", self.login_timeout.as_secs()),
            is_answer: false,
        };
        timeout(self.login_timeout, self.kept_or_new(void)).await.map_err(too_late)?
    }

    async fn kept_or_new(&self, void: Option<&SecretString>) -> Result<SecretString, Refusal> {
        let mut kept = self.token.lock().await;
        let void = void.map(ExposeSecret::expose_secret);
        if let Some(token) = kept.as_ref().filter(|token| Some(token.expose_secret()) != void) {
            return Ok(token.clone());
        }
        *kept = None;
        let token = self.login().await?;
        *kept = Some(token.clone());
        Ok(token)
    }

    async fn login(&self) -> Result<SecretString, Refusal> {
        let form = Form::new().text("email", self.email.clone());
        let form = form.text("password", self.password.expose_secret().to_owned());
        let reply = http::exchange(self.http.post(self.url("/auth/login")).multipart(form)).await;
        let reply = reply.map_err(|trouble| Trouble { cause: Cause::Unavailable, ..trouble })?;
        match serde_json::from_slice::<Login>(&reply.body) {
            Ok(Login { data }) if reply.is_success() => Ok(data.token),
            _ => Err(Refusal::said(&reply, login_cause(&reply))),
        }
    }

    fn form(&self, message: &Message) -> Form {
        let form = Form::new()
            .text("mobile_phone", message.target.delivered().trim_start_matches('+').to_owned())
            .text("message", message.content.text.clone())
            .text("from", self.from.clone());
        match message.callback.as_ref().filter(|_| self.has_receipts()) {
            Some(url) => form.text("callback_url", url.clone()),
            None => form,
        }
    }
}

#[async_trait]
impl Provider for Eskiz {
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
        let url = self.url("/message/sms/send");
        let reply = self.exchange(|| self.http.post(&url).multipart(self.form(message))).await;
        let reply = reply.map_err(|refusal| failure(message, refusal.cause, &refusal.words))?;
        read(&reply).map_err(|(cause, words)| failure(message, cause, &words))
    }

    async fn check(&self) -> Check {
        let url = self.url("/user/get-limit");
        let reply = match self.exchange(|| self.http.get(&url)).await {
            Ok(reply) => reply,
            Err(refusal) if refusal.is_answer => return check::refused(&refusal.cause, &refusal.words),
            Err(_) => return check::away(),
        };
        match serde_json::from_slice::<Limit>(&reply.body) {
            Ok(Limit { data: LimitData { balance } }) if reply.is_success() => {
                let shown = balance.as_str().map_or_else(|| balance.to_string(), str::to_owned);
                check::welcome(Some((shown.parse().ok(), shown)), false)
            }
            _ => check::refused(&cause(&reply), &reply.words()),
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
        let Status { request_id, status } = Status::read(request.body).ok_or(BadReceipt::Malformed)?;
        let message_id = message_id(&request_id).ok_or(BadReceipt::Malformed)?;
        let Some(what) = receipt_status(&status) else { return Ok(Vec::new()) };
        let detail = (what == ReceiptStatus::Undelivered).then(|| status.to_ascii_uppercase());
        Ok(vec![ReceiptEvent { message_id, attempt: request.attempt(), status: what, detail }])
    }
}

#[derive(Deserialize)]
struct Login {
    data: LoginData,
}

#[derive(Deserialize)]
struct LoginData {
    token: SecretString,
}

#[derive(Deserialize)]
struct Limit {
    data: LimitData,
}

#[derive(Deserialize)]
struct LimitData {
    balance: Value,
}

#[derive(Deserialize)]
struct Taken {
    id: Value,
    #[serde(default)]
    status: String,
}

fn read(reply: &Reply) -> Result<Handed, (Cause, String)> {
    let taken = serde_json::from_slice::<Taken>(&reply.body).ok().filter(|taken| taken.status != "error");
    let id = taken.map(|taken| taken.id.as_str().map_or_else(|| taken.id.to_string(), str::to_owned));
    if reply.is_success() && !reply.whole && id.is_none() {
        // Whether it was taken stands in what was lost.
        return Err((Cause::Ambiguous, "the answer broke off".to_owned()));
    }
    match id.filter(|id| id != "null").as_deref().and_then(message_id) {
        Some(id) if reply.is_success() => Ok(Handed { message_id: Some(id), delivered: false }),
        _ => Err((cause(reply), reply.words())),
    }
}

fn login_cause(reply: &Reply) -> Cause {
    match reply.status {
        429 => Cause::Throttled { retry_after: reply.retry_after },
        500.. => Cause::Unavailable,
        400 | 401 | 403 | 422 => Cause::Misconfigured(Misconfiguration::Credentials),
        _ => Cause::Misconfigured(Misconfiguration::Endpoint),
    }
}

const ABOUT_MONEY: [&str; 4] = ["balance", "баланс", "balans", "mablag"];
const ABOUT_TEXT_OR_SENDER: [&str; 11] =
    ["template", "шаблон", "shablon", "moderat", "модерац", "тест", "\"test", " test", "\"from\"", "nick", "никнейм"];
const ABOUT_RECIPIENT: [&str; 4] = ["mobile_phone", "phone number", "номер телефона", "telefon raqam"];

/// All that is known of its refusals: by the words of the message or of the fields that failed.
fn cause(reply: &Reply) -> Cause {
    // Written anew: words in Russian come as escapes.
    let said = serde_json::from_slice::<Value>(&reply.body).map(|said| said.to_string().to_lowercase());
    let said = said.unwrap_or_default();
    let is_about = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match reply.status {
        429 => Cause::Throttled { retry_after: reply.retry_after },
        500.. => Cause::Unavailable,
        401 => Cause::Misconfigured(Misconfiguration::Credentials),
        402 => Cause::Misconfigured(Misconfiguration::Balance),
        _ if is_about(&ABOUT_MONEY) => Cause::Misconfigured(Misconfiguration::Balance),
        _ if is_about(&ABOUT_TEXT_OR_SENDER) => Cause::Misconfigured(Misconfiguration::Sender),
        _ if is_about(&ABOUT_RECIPIENT) => Cause::Rejected,
        403 => Cause::Misconfigured(Misconfiguration::Credentials),
        _ => Cause::Misconfigured(Misconfiguration::Endpoint),
    }
}

/// What is posted to our address.
#[derive(Deserialize)]
struct Status {
    request_id: String,
    status: String,
}

impl Status {
    fn read(body: &[u8]) -> Option<Self> {
        if let Ok(status) = serde_json::from_slice(body) {
            return Some(status);
        }
        let field = |wanted: &str| {
            let found = form_urlencoded::parse(body).find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.into_owned())
        };
        Some(Self { request_id: field("request_id")?, status: field("status")? })
    }
}

fn receipt_status(status: &str) -> Option<ReceiptStatus> {
    match status.to_ascii_uppercase().as_str() {
        "ACCEPTED" | "ENROUTE" | "TRANSMTD" => Some(ReceiptStatus::Sent),
        "DELIVRD" | "DELIVERED" | "PARTDELIVERED" => Some(ReceiptStatus::Delivered),
        "UNDELIV" | "UNDELIVERABLE" | "EXPIRED" | "REJECTD" | "REJECTED" | "DELETED" => {
            Some(ReceiptStatus::Undelivered)
        }
        _ => None,
    }
}
