//! Providers: who carries a message. One file holds all that is known of a vendor; this one says what all have in common.

pub mod africastalking;
mod check;
pub mod checkup;
pub mod eskiz;
pub mod facts;
pub mod generic;
pub mod http;
pub mod inbox;
pub mod infobip;
mod mail;
pub mod mailgun;
mod mask;
pub mod meta;
pub mod playmobile;
pub mod postmark;
mod receipts;
pub mod registry;
pub mod resend;
pub mod sandbox;
pub mod sendgrid;
pub mod ses;
mod settings;
mod signature;
mod sigv4;
pub mod smtp;
mod smtp_connection;
mod sns;
pub mod standard_webhooks;
pub mod telnyx;
#[cfg(test)]
mod testing;
pub mod twilio;
pub mod usual;
pub mod vonage;
pub mod webhook;
mod words;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use common::otp::channel::{Channel, Mode};
use common::otp::code::Code;
use common::otp::finish::{Failure, Handed};
use common::otp::ids::{AttemptId, ProjectId};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use common::otp::target::Target;
use secrecy::{ExposeSecret, SecretString};

/// Longest excerpt of a provider's words that an attempt keeps, in characters.
pub const LONGEST_DETAIL: usize = 200;

/// A vendor that can be asked to carry messages. It decides nothing: retry and failover are the worker's.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// The name in the configuration, in attempts and in metrics.
    fn name(&self) -> &str;

    fn channels(&self) -> &[Channel];

    /// Hands one message over, within the time the caller gives it.
    ///
    /// # Errors
    /// The cause, and the provider's own words.
    async fn send(&self, message: &Message) -> Result<Handed, Failure>;

    /// Asks the vendor, without sending anything, whether it would take a message.
    async fn check(&self) -> Check;

    /// Whether the vendor sends receipts, and so must be told where to.
    fn has_receipts(&self) -> bool {
        false
    }

    /// What makes the address of receipts unguessable, for vendors that do not sign them: they go to
    /// `/receipts/{provider}/{secret}`.
    fn receipt_secret(&self) -> Option<&SecretString> {
        None
    }

    /// Answers a vendor that asks, by a GET with a token, whether its receipts may come here.
    ///
    /// # Errors
    /// When this vendor does not ask, the token does not fit, or there is nothing to answer.
    fn challenge(&self, _query: &str) -> Result<String, BadReceipt> {
        Err(BadReceipt::NotSupported)
    }

    /// Reads a receipt request of this vendor, its signature or its secret first.
    ///
    /// # Errors
    /// When the vendor has none, or this one is forged or malformed.
    fn receipts(&self, request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt>;
}

/// One message, ready to go.
#[derive(Clone)]
pub struct Message {
    pub attempt: AttemptId,
    pub project: ProjectId,
    pub project_name: String,
    pub mode: Mode,
    pub channel: Channel,
    pub target: Target,
    pub code: Code,
    pub locale: String,
    pub content: Content,
    /// How long the code still lives.
    pub remaining: Duration,
    /// Where the vendor may send this message's receipts, where receipts can come: the public URL of
    /// [`receipts_path`] with our attempt id in its query.
    pub callback: Option<String>,
}

/// It holds a code and a target: neither is shown.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} by {} to {})", self.attempt, self.channel, self.target)
    }
}

/// The rendered words. `text` always; subject and HTML for e-mail.
#[derive(Clone, Default)]
pub struct Content {
    pub text: String,
    pub subject: Option<String>,
    pub html: Option<String>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes of text)", self.text.len())
    }
}

/// What `check` found out. `None` is what the vendor does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    pub reachable: Option<bool>,
    pub credentials: Option<bool>,
    /// As the vendor words it, with its currency; where that has several numbers, what is left is the first.
    pub balance: Option<String>,
    /// What the vendor says of the number, the name or the domain that messages come from.
    pub sender: Option<String>,
    /// What the operator can mend.
    pub problem: Option<(Misconfiguration, String)>,
    /// What only the vendor can mend, or time: it does not answer, or answers that it cannot now.
    pub trouble: Option<(Cause, String)>,
}

/// A receipt request as it came, before anything of it is believed.
#[derive(Debug, Clone, Copy)]
pub struct ReceiptRequest<'a> {
    /// The whole URL as the vendor called it: the configured public URL with this request's path and query.
    pub url: &'a str,
    /// What its path has after the provider's name.
    pub secret: Option<&'a str>,
    pub query: &'a str,
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

impl ReceiptRequest<'_> {
    /// A header by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// One thing a vendor says about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptEvent {
    pub message_id: String,
    /// Where the callback carried it.
    pub attempt: Option<AttemptId>,
    pub status: ReceiptStatus,
    pub detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadReceipt {
    #[error("this provider sends no receipts")]
    NotSupported,
    #[error("the signature does not fit")]
    Forged,
    #[error("the body is not a receipt of this provider")]
    Malformed,
    /// The vendor should send it again in a while.
    #[error("what its signature is checked with is not here yet")]
    NotYet,
}

/// Where a provider's receipts go, below `/receipts/`. It may hold a secret.
#[must_use]
pub fn receipts_path(provider: &dyn Provider) -> String {
    match provider.receipt_secret() {
        Some(secret) => format!("{}/{}", provider.name(), secret.expose_secret()),
        None => provider.name().to_owned(),
    }
}

/// The provider's words, cut to a length that a row may hold, without line breaks.
#[must_use]
pub fn excerpt(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_DETAIL).collect()
}
