//! Any vendor by configuration alone (`kind = "http"`): a request made of templates, and conditions that tell what its
//! answers and its receipts mean. docs/providers.md has the settings and three vendors as examples.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use common::clock::Clock;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use minijinja::{ErrorKind, Value, context};
use reqwest::{Client, Method};
use secrecy::{ExposeSecret, SecretString};

use self::answers::{ANSWER, Answers, answer, expression};
use self::engine::Engine;
use self::outgoing::{Login, Outgoing};
use self::receipts::Receipts;
use crate::facts::Facts;
use crate::http;
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::words::{failure, without};
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check};

mod answers;
mod engine;
mod outgoing;
mod receipts;
#[cfg(test)]
mod tests;

const RECEIPTS_ADVICE: &str =
    "set it beside receipts, to what only the vendor is told: openssl rand -hex 24; or let them be signed";

const NO_BALANCE: &str = "not found in the answer";

pub(crate) const KIND: Kind = Kind {
    name: "http",
    configure,
    environment: &[],
    switched_on_by: &[],
    facts: Facts {
        title: "any HTTP API, by settings alone",
        channels: &Channel::ALL,
        receipts: "by its settings",
        signature: "HMAC-SHA256, or a secret in the address",
        check: "by its settings",
        needs: "`channels`, `url`",
        certainty: "as its settings",
    },
};

pub struct Generic {
    name: String,
    http: Client,
    clock: Clock,
    engine: Engine,
    channels: Vec<Channel>,
    login: Login,
    /// By the names that templates know them by.
    secrets: BTreeMap<String, SecretString>,
    outgoing: Outgoing,
    answers: Answers,
    receipts: Option<Receipts>,
    receipt_secret: Option<SecretString>,
    check: Option<Question>,
}

/// How the vendor is asked whether all is well.
struct Question {
    outgoing: Outgoing,
    accepted: Option<String>,
    balance: Option<String>,
}

impl fmt::Debug for Generic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generic({})", self.name)
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let engine = Engine::new();
    let channels = settings.channels("channels");
    let allow_http = settings.flag("allow_http");
    let secrets: BTreeMap<_, _> =
        settings.texts("secrets").into_iter().flatten().map(|(name, text)| (name, SecretString::from(text))).collect();
    let login = Login::read(&mut settings);
    let answers = Answers::read(&mut settings, &engine);
    let receipts = settings.inner("receipts", |settings| Receipts::read(settings, &engine)).flatten();
    let receipt_secret = settings.receipt_secret();
    if receipts.as_ref().is_some_and(|receipts| !receipts.are_signed()) && receipt_secret.is_none() {
        settings.problem("receipt_secret", RECEIPTS_ADVICE);
    }
    let outgoing = Outgoing::read(&mut settings, Method::POST, allow_http);
    let check =
        settings.inner("check", |settings| question(settings, &engine, outgoing.as_ref(), allow_http)).flatten();
    let Some(outgoing) = outgoing else {
        settings.problem("url", "set it to the https:// URL that messages are sent to");
        return Err(settings.finish());
    };
    let http = tools.http.clone();
    let clock = tools.clock.clone();
    let generic = Generic {
        name,
        http,
        clock,
        engine,
        channels,
        login,
        secrets,
        outgoing,
        answers,
        receipts,
        receipt_secret,
        check,
    };
    for (field, problem) in generic.unfit() {
        settings.problem(&field, problem);
    }
    let problems = settings.finish();
    if problems.is_empty() { Ok(Arc::new(generic)) } else { Err(problems) }
}

fn question(
    settings: &mut Settings<'_>,
    engine: &Engine,
    outgoing: Option<&Outgoing>,
    allow_http: bool,
) -> Option<Question> {
    let asked = Outgoing::read(settings, Method::GET, allow_http);
    if asked.is_none() {
        settings.problem("url", "set it to a URL that can be asked without anything being sent");
    }
    let (accepted, balance) =
        (expression(settings, engine, "accepted", &ANSWER), expression(settings, engine, "balance", &ANSWER));
    Some(Question { outgoing: asked?.with_headers_of(outgoing?), accepted, balance })
}

/// What templates may name.
struct Fields<'a> {
    target: &'a str,
    code: &'a str,
    text: &'a str,
    subject: &'a str,
    html: &'a str,
    locale: &'a str,
    channel: Channel,
    project: &'a str,
    attempt: &'a str,
    dispatch: &'a str,
    callback: &'a str,
    expires_in: u64,
}

/// What stands for a message where there is none: while settings are checked, and in a check.
const NO_MESSAGE: Fields<'_> = Fields {
    target: "+10000000000",
    code: "000000",
    text: "text",
    subject: "subject",
    html: "html",
    locale: "en",
    channel: Channel::Sms,
    project: "project",
    attempt: "attempt",
    dispatch: "dispatch",
    callback: "https://otp.example.com/receipts",
    expires_in: 300,
};

impl Generic {
    fn fields(&self, fields: &Fields<'_>) -> Value {
        let secrets = self.secrets.iter().map(|(name, secret)| (name.as_str(), secret.expose_secret()));
        context! {
            target => fields.target,
            digits => fields.target.trim_start_matches('+'),
            code => fields.code,
            text => fields.text,
            subject => fields.subject,
            html => fields.html,
            locale => fields.locale,
            channel => fields.channel.as_str(),
            project => fields.project,
            attempt => fields.attempt,
            dispatch => fields.dispatch,
            callback => fields.callback,
            expires_in => fields.expires_in,
            minutes => fields.expires_in.div_ceil(60).max(1),
            timestamp => self.clock.now().as_ms().div_euclid(1000),
            secrets => Value::from_pairs(secrets),
        }
    }

    fn fields_of(&self, message: &Message) -> Value {
        let (attempt, dispatch) = (message.attempt.to_string(), message.attempt.dispatch.to_string());
        let callback = message.callback.as_deref().filter(|_| self.receipts.is_some());
        self.fields(&Fields {
            target: message.target.delivered(),
            code: message.code.reveal(),
            text: &message.content.text,
            subject: message.content.subject.as_deref().unwrap_or_default(),
            html: message.content.html.as_deref().unwrap_or_default(),
            locale: &message.locale,
            channel: message.channel,
            project: &message.project_name,
            attempt: &attempt,
            dispatch: &dispatch,
            callback: callback.unwrap_or_default(),
            expires_in: message.remaining.as_secs(),
        })
    }

    /// The templates that could not be filled from any message.
    fn unfit(&self) -> Vec<(String, String)> {
        let fields = self.fields(&NO_MESSAGE);
        let mut problems = self.outgoing.problems(&self.engine, &fields, false);
        if let Some(Question { outgoing, .. }) = &self.check {
            let found = outgoing.problems(&self.engine, &fields, outgoing.has_headers_of(&self.outgoing));
            problems.extend(found.into_iter().map(|(field, problem)| (format!("check.{field}"), problem)));
        }
        problems
    }

    /// The words of an answer, without what is secret in our own requests.
    fn words(&self, words: &str) -> String {
        let passwords = [&self.login.password, &self.login.token].into_iter().flatten();
        let secrets = self.secrets.values().chain(passwords).chain(&self.receipt_secret);
        secrets.fold(words.to_owned(), |words, secret| without(&words, secret.expose_secret()))
    }
}

fn advice(problem: ErrorKind) -> String {
    match problem {
        ErrorKind::InvalidOperation => "the url is none that may be asked, or a header is more than one line".into(),
        ErrorKind::UndefinedError => "a template of the request names a field that there is not".into(),
        other => format!("a template of the request cannot be filled: {other}"),
    }
}

#[async_trait]
impl Provider for Generic {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let endpoint = Cause::Misconfigured(Misconfiguration::Endpoint);
        let request = self.outgoing.request(&self.http, &self.login, &self.engine, &self.fields_of(message));
        let request = request.map_err(|problem| failure(message, endpoint, &advice(problem)))?;
        let answered = http::exchange_with_headers(request).await;
        let (reply, headers) = answered.map_err(|trouble| trouble.failure(message))?;
        let handed = self.answers.handed(&self.engine, &reply, &headers);
        handed.map_err(|cause| failure(message, cause, &self.words(&reply.words())))
    }

    async fn check(&self) -> Check {
        let fields = self.fields(&NO_MESSAGE);
        let Some(question) = &self.check else {
            let Ok(server) = self.outgoing.server(&self.engine, &fields) else { return check::away() };
            let answered = http::exchange(self.http.head(server)).await;
            return Check { reachable: Some(answered.is_ok()), ..Check::default() };
        };
        let Ok(request) = question.outgoing.request(&self.http, &self.login, &self.engine, &fields) else {
            return check::away();
        };
        let Ok((reply, headers)) = http::exchange_with_headers(request).await else { return check::away() };
        let answer = answer(&reply, &headers);
        if let Some(cause) = self.answers.refusal(&self.engine, &reply, &answer, question.accepted.as_deref()) {
            return check::refused(&cause, &self.words(&reply.words()));
        }
        let balance = question.balance.as_ref().map(|balance| {
            let shown = self.engine.text(balance, &answer);
            shown.map_or_else(|| (None, NO_BALANCE.to_owned()), |shown| (check::amount(&shown), shown))
        });
        check::welcome(balance, false)
    }

    fn has_receipts(&self) -> bool {
        self.receipts.is_some()
    }

    fn receipt_secret(&self) -> Option<&SecretString> {
        self.receipt_secret.as_ref()
    }

    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        let receipts = self.receipts.as_ref().ok_or(BadReceipt::NotSupported)?;
        if self.receipt_secret.is_some() || !receipts.are_signed() {
            request.check_secret(self.receipt_secret.as_ref())?;
        }
        receipts.events(&self.engine, request)
    }
}
