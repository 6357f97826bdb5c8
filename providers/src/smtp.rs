//! E-mail by any SMTP server: what a message looks like, and what the server's replies mean.
//!
//! Sources: RFC 5321 (replies), RFC 3463 and the IANA registry (enhanced status codes), RFC 3834 (Auto-Submitted).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use common::clock::Clock;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::client::TlsParameters;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use secrecy::SecretString;

use crate::facts::Facts;
use crate::registry::{Configured, Kind, Tools};
use crate::settings::Settings;
use crate::smtp_connection::{Server, Stage, Tls, Trouble, Wrong};
use crate::words::failure;
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest, check, http, mail};

#[cfg(test)]
mod tests;

/// A second less than a worker's claim allows, so that it is this file that says what a silence means.
const TIMEOUT_S: u64 = 9;
const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str(mail::AUTO_SUBMITTED.0);

pub(crate) const KIND: Kind = Kind {
    name: "smtp",
    configure,
    environment: &[
        ("SMTP_URL", "url"),
        ("SMTP_HOST", "host"),
        ("SMTP_PORT", "port"),
        ("SMTP_TLS", "tls"),
        ("SMTP_USER", "username"),
        ("SMTP_USERNAME", "username"),
        ("SMTP_PASS", "password"),
        ("SMTP_PASSWORD", "password"),
        ("SMTP_FROM", "from"),
    ],
    switched_on_by: &[&["SMTP_URL"], &["SMTP_HOST"]],
    facts: Facts {
        title: "SMTP",
        channels: &[Channel::Email],
        receipts: "none",
        signature: "none",
        check: "connection, login",
        needs: "`SMTP_FROM`",
        certainty: "certain",
    },
};

#[derive(Debug)]
pub struct Smtp {
    name: String,
    server: Server,
    from: Mailbox,
    clock: Clock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    Implicit,
    Starttls,
    Plain,
}

impl FromStr for Protection {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "implicit" => Ok(Self::Implicit),
            "starttls" | "required" => Ok(Self::Starttls),
            "plain" => Ok(Self::Plain),
            _ => Err(()),
        }
    }
}

/// What an SMTP URL says: `smtp[s]://[username:password@]host[:port][?tls=…]`.
#[derive(Default)]
struct FromUrl {
    host: Option<String>,
    port: Option<u16>,
    protection: Option<Protection>,
    username: Option<String>,
    password: Option<SecretString>,
}

impl FromStr for FromUrl {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let url = Url::parse(text).map_err(|_| ())?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| ());
        let named = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.parse()).transpose()?;
        let protection = match url.scheme() {
            "smtps" => Some(Protection::Implicit),
            "smtp" => named,
            _ => return Err(()),
        };
        Ok(Self {
            host: Some(url.host_str().filter(|host| !host.is_empty()).ok_or(())?.to_owned()),
            port: url.port(),
            protection,
            username: Some(decoded(url.username())?).filter(|username| !username.is_empty()),
            password: url.password().map(decoded).transpose()?.map(SecretString::from),
        })
    }
}

fn configure(mut settings: Settings<'_>, tools: &Tools) -> Configured {
    let name = settings.name().to_owned();
    let from = mail::sender(&mut settings, "SMTP_FROM");
    let server = server(&mut settings);
    let problems = settings.finish();
    match (from, server) {
        (Some(from), Some(server)) if problems.is_empty() => {
            Ok(Arc::new(Smtp { name, server, from, clock: tools.clock.clone() }))
        }
        _ => Err(problems),
    }
}

fn server(settings: &mut Settings<'_>) -> Option<Server> {
    let url_advice = "must be smtp://user:password@host:port (add ?tls=starttls or ?tls=plain) or smtps://…";
    let url: FromUrl = settings.parsed("url", url_advice).unwrap_or_default();
    let host = settings.text("host").or(url.host);
    let named_port = settings.parsed::<u16>("port", "must be a port number").or(url.port);
    let protection = settings.parsed("tls", "must be implicit, starttls or plain").or(url.protection);
    let protection = protection.unwrap_or(match (named_port, host.as_deref()) {
        (Some(465), _) => Protection::Implicit,
        (_, Some(host)) if http::is_loopback(host) => Protection::Plain,
        _ => Protection::Starttls,
    });
    let username = settings.text("username").or(url.username);
    let password = settings.secret("password").or(url.password);
    if username.is_some() != password.is_some() {
        settings.problem("password", "set username and password (SMTP_USERNAME, SMTP_PASSWORD), or neither");
    }
    let timeout = settings.seconds("timeout", 1..=10, TIMEOUT_S);
    let Some(host) = host else {
        settings.problem("host", "set it (SMTP_HOST), or url (SMTP_URL), to the mail server");
        return None;
    };
    let (tls, port) = protect(settings, protection, &host)?;
    Some(Server::new(host, named_port.unwrap_or(port), tls, username.zip(password), timeout))
}

/// The TLS settings and their usual port.
fn protect(settings: &mut Settings<'_>, protection: Protection, host: &str) -> Option<(Tls, u16)> {
    if protection == Protection::Plain {
        return Some((Tls::Plain, 25));
    }
    let parameters = TlsParameters::new(host.to_owned());
    if let Err(error) = &parameters {
        settings.problem("tls", format_args!("this system cannot do TLS: {}", http::chain(error)));
    }
    let parameters = parameters.ok()?;
    Some(match protection {
        Protection::Implicit => (Tls::Implicit(parameters), 465),
        Protection::Starttls | Protection::Plain => (Tls::Starttls(parameters), 587),
    })
}

/// One e-mail, ready to go.
struct Letter {
    /// Without its angle brackets.
    message_id: String,
    mail: lettre::Message,
}

impl Smtp {
    /// Every header is made of parsed or encoded parts, so nothing in a message can add one.
    fn letter(&self, message: &Message) -> Result<Letter, fmt::Error> {
        let to: Address = mail::address(message).parse().map_err(|_| fmt::Error)?;
        let stem = message.attempt.to_string().replace([':', '-'], ".");
        let message_id = format!("{stem}@{}", self.from.email.domain());
        let now = Duration::from_millis(u64::try_from(self.clock.now().as_ms()).unwrap_or(0));
        let builder = lettre::Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail::subject(message))
            .message_id(Some(format!("<{message_id}>")))
            .date(UNIX_EPOCH + now)
            .raw_header(HeaderValue::new(AUTO_SUBMITTED, mail::AUTO_SUBMITTED.1.to_owned()));
        let text = SinglePart::plain(message.content.text.clone());
        let mail = match &message.content.html {
            Some(html) => builder.multipart(
                MultiPart::alternative().boundary(stem).singlepart(text).singlepart(SinglePart::html(html.clone())),
            ),
            None => builder.singlepart(text),
        };
        Ok(Letter { message_id, mail: mail.map_err(|_| fmt::Error)? })
    }
}

#[async_trait]
impl Provider for Smtp {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Email]
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let letter = self.letter(message);
        let letter = letter.map_err(|_| failure(message, Cause::Rejected, "the address cannot be mailed to"))?;
        let sent = self.server.deliver(letter.mail.envelope(), &letter.mail.formatted()).await;
        sent.map_err(|trouble| failure(message, cause(&trouble), &words(&trouble)))?;
        Ok(Handed { message_id: Some(letter.message_id), delivered: false })
    }

    async fn check(&self) -> Check {
        let has_login = self.server.login.is_some();
        let Err(trouble) = self.server.try_out().await else {
            return Check { reachable: Some(true), credentials: has_login.then_some(true), ..Check::default() };
        };
        let is_reachable = trouble.stage != Stage::Connect || trouble.wrong != Wrong::Broken;
        Check { reachable: Some(is_reachable), ..check::refused(&cause(&trouble), &words(&trouble)) }
    }

    fn receipts(&self, _: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        Err(BadReceipt::NotSupported)
    }
}

fn words(trouble: &Trouble) -> String {
    match trouble.wrong {
        Wrong::Reply(code) => format!("{code} {}", trouble.words),
        Wrong::Unfit | Wrong::Broken => trouble.words.clone(),
    }
}

fn cause(trouble: &Trouble) -> Cause {
    match (trouble.wrong, trouble.stage) {
        (Wrong::Reply(code), stage) => refusal(stage, code, &trouble.words),
        (Wrong::Unfit, Stage::Recipient) => Cause::Rejected,
        (Wrong::Unfit, _) => Cause::Misconfigured(Misconfiguration::Endpoint),
        (Wrong::Broken, Stage::Content) => Cause::Ambiguous,
        (Wrong::Broken, _) => Cause::Unavailable,
    }
}

/// What a negative reply means. The enhanced status code tells more than the reply code, and the stage whom it is about.
fn refusal(stage: Stage, code: u16, words: &str) -> Cause {
    use Misconfiguration::{Credentials, Endpoint, IpBlocked, Sender};
    match (code, enhanced(words), stage) {
        (534 | 535, _, _) | (500.., Some((7, 8)), _) => Cause::Misconfigured(Credentials),
        (530 | 538, _, _) => Cause::Misconfigured(Endpoint),
        (421 | 450 | 451, Some((7, _)), _) => Cause::Throttled { retry_after: None },
        (..500, _, _) => Cause::Unavailable,
        (_, _, Stage::Connect) => Cause::Misconfigured(IpBlocked),
        (_, _, Stage::Login) => Cause::Misconfigured(Credentials),
        (_, _, Stage::Sender) | (_, Some((1, 7 | 8)), _) => Cause::Misconfigured(Sender),
        (_, Some((1, _)), _) => Cause::Rejected,
        (_, Some((7, _)), _) => Cause::Misconfigured(Sender),
        (550..=553, _, _) | (_, Some((2, _)), _) => Cause::Rejected,
        (554, _, _) => Cause::Misconfigured(Sender),
        _ => Cause::Misconfigured(Endpoint),
    }
}

/// Subject and detail of the enhanced status code at the head of a reply: `5.1.1 No such user` is (1, 1).
fn enhanced(words: &str) -> Option<(u16, u16)> {
    let code = words.split_ascii_whitespace().next()?;
    let mut numbers = code.split('.').map(|number| number.parse::<u16>().ok());
    let (_class, subject, detail) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some((subject, detail))
}
