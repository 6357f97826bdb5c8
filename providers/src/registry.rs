//! Which kinds of provider there are, and how settings become providers. A new kind is one line in `KINDS`.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::clock::Clock;
use reqwest::Client;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::Provider;
use crate::facts::Facts;
use crate::inbox::Inbox;
use crate::sandbox::ReceiptSink;
use crate::settings::Settings;
use crate::{
    africastalking, eskiz, generic, infobip, mailgun, meta, playmobile, postmark, resend, sandbox, sendgrid, ses, smtp,
    telnyx, twilio, vonage, webhook,
};

pub(crate) const KINDS: &[Kind] = &[
    africastalking::KIND,
    eskiz::KIND,
    generic::KIND,
    infobip::KIND,
    mailgun::KIND,
    meta::KIND,
    playmobile::KIND,
    postmark::KIND,
    resend::KIND,
    sandbox::KIND,
    sendgrid::KIND,
    ses::KIND,
    smtp::KIND,
    telnyx::KIND,
    twilio::KIND,
    vonage::KIND,
    webhook::KIND,
];
const LONGEST_NAME: usize = 32;

/// What providers are made with, besides their settings. The one who puts the program together has it.
#[derive(Debug, Clone)]
pub struct Tools {
    /// From [`crate::http::client`].
    pub http: Client,
    pub inbox: Arc<dyn Inbox>,
    /// Where the sandbox's late receipts go.
    pub receipts: Arc<dyn ReceiptSink>,
    /// Waits for what providers leave running.
    pub tasks: TaskTracker,
    pub clock: Clock,
}

/// A provider, or all that is wrong with its settings.
pub type Configured = Result<Arc<dyn Provider>, Vec<String>>;

/// A kind of provider.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) configure: fn(Settings<'_>, &Tools) -> Configured,
    /// Which environment variables, by the names that operators know, are which settings.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// The variables that switch it on: all of any of these lists, or others of `environment` for the same settings.
    pub(crate) switched_on_by: &'static [&'static [&'static str]],
    pub(crate) facts: Facts,
}

/// The providers of these settings, a table for each name: `[providers.<name>]`. The sandbox is among them only where
/// it is among the settings.
///
/// # Errors
/// Everything that is wrong, each as `providers.<name>.<field>: what to do`.
pub fn build(settings: &BTreeMap<String, Value>, tools: &Tools) -> Result<Vec<Arc<dyn Provider>>, Vec<String>> {
    let mut providers = Vec::new();
    let mut problems = Vec::new();
    for (name, value) in settings {
        match build_one(name, value, tools) {
            Ok(provider) => providers.push(provider),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(providers) } else { Err(problems) }
}

/// The kind of a provider with this name and these settings, whether or not there is such a kind.
#[must_use]
pub fn kind_of<'a>(name: &'a str, settings: &'a Value) -> &'a str {
    let kind = settings.get("kind").and_then(Value::as_str).map(str::trim);
    kind.filter(|kind| !kind.is_empty()).unwrap_or(name)
}

/// The provider of one table.
///
/// # Errors
/// Everything that is wrong with it.
pub fn build_one(name: &str, value: &Value, tools: &Tools) -> Configured {
    if !is_name(name) {
        return Err(vec![format!("providers.{name}: a name has 1 to {LONGEST_NAME} of a-z, 0-9, _ and -")]);
    }
    let mut settings = Settings::new(name, value);
    let kind = settings.text("kind").unwrap_or_else(|| name.to_owned());
    let is_sandbox = (kind == sandbox::KIND.name, name == sandbox::KIND.name);
    let Some(kind) = KINDS.iter().find(|known| known.name == kind) else {
        let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        settings.problem("kind", format_args!("set it to one of {}", names.join(", ")));
        return Err(settings.finish_early());
    };
    if is_sandbox.0 != is_sandbox.1 {
        settings.problem("kind", "the sandbox, and nothing else, is named sandbox: rename the provider");
    }
    (kind.configure)(settings, tools)
}

/// It stands in URLs, metrics and rows.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tools;
    use serde_json::json;

    fn settings(value: Value) -> BTreeMap<String, Value> {
        serde_json::from_value(value).expect("a table")
    }

    fn problems(value: Value) -> Vec<String> {
        build(&settings(value), &tools()).map(|providers| providers.len()).expect_err("problems")
    }

    #[tokio::test]
    async fn providers_are_built_by_kind_or_name() {
        let built = build(
            &settings(json!({
                "sandbox": {},
                "mail": {"kind": "smtp", "host": "localhost", "port": "2525", "from": "otpd <otp@example.com>"},
                "own": {"kind": "webhook", "url": "https://a.example/otp", "channels": "sms,email",
                        "secrets": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
                "twilio": {"account_sid": "AC1", "auth_token": "t", "from": "+15005550006"},
            })),
            &tools(),
        );
        let names: Vec<_> = built.expect("providers").iter().map(|provider| provider.name().to_owned()).collect();
        assert_eq!(names, ["mail", "own", "sandbox", "twilio"]);
    }

    #[tokio::test]
    async fn every_problem_is_reported_at_once() {
        let found = problems(json!({
            "a": {"kind": "pigeon"},
            "b": {},
            "Bad Name": {},
            "fake": {"kind": "sandbox"},
            "sandbox": {"colour": "red"},
            "smtp": {"port": "many", "tls": "maybe", "timeout": 0},
            "twilio": {"from": "+15005550006", "colour": "red"},
            "webhook": {"url": "http://a.example/", "channels": ["fax"], "secrets": ["whsec_short"], "allow_http": "maybe"},
        }));
        let kinds: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        insta::assert_snapshot!(found.join("\n").replace(&kinds.join(", "), "(all kinds)"), @"
        providers.Bad Name: a name has 1 to 32 of a-z, 0-9, _ and -
        providers.a.kind: set it to one of (all kinds)
        providers.b.kind: set it to one of (all kinds)
        providers.fake.kind: the sandbox, and nothing else, is named sandbox: rename the provider
        providers.sandbox.colour: there is no such setting: correct its name or remove it
        providers.smtp.from: set it (SMTP_FROM) to the address that messages come from
        providers.smtp.port: must be a port number
        providers.smtp.tls: must be implicit, starttls or plain
        providers.smtp.timeout: must be whole seconds from 1 to 10
        providers.smtp.host: set it (SMTP_HOST), or url (SMTP_URL), to the mail server
        providers.twilio.account_sid: set it (TWILIO_ACCOUNT_SID) to the account's SID, which begins with AC
        providers.twilio.auth_token: set it (TWILIO_AUTH_TOKEN) to the account's primary auth token
        providers.twilio.colour: there is no such setting: correct its name or remove it
        providers.webhook.allow_http: must be true or false
        providers.webhook.url: set it to an https:// URL without credentials; http:// needs allow_http = true
        providers.webhook.secrets: each must be whsec_ and 24 to 64 bytes in base64; make one with: echo whsec_$(openssl rand -base64 32)
        providers.webhook.channels: list the channels that it carries: sms, email, whatsapp
        ");
    }
}
