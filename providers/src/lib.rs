//! Providers: who carries a message. One file holds all that is known of a vendor; this one says what all have in common.

pub mod http;
pub mod inbox;
pub mod registry;
pub mod sandbox;
mod settings;
pub mod smtp;
mod smtp_connection;
pub mod standard_webhooks;
#[cfg(test)]
mod testing;
pub mod twilio;
pub mod webhook;
mod words;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use common::otp::channel::{Channel, Mode};
use common::otp::code::Code;
use common::otp::finish::{Failure, Handed};
use common::otp::ids::{AttemptId, ProjectId};
use common::otp::provider_error::Misconfiguration;
use common::otp::status::ReceiptStatus;
use common::otp::target::Target;

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

    /// Reads a receipt request of this vendor, its signature first.
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
    /// `/receipts/{provider}` with our attempt id in its query.
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
    /// As the vendor words it, with its currency.
    pub balance: Option<String>,
    pub problem: Option<(Misconfiguration, String)>,
}

/// A receipt request as it came, before anything of it is believed.
#[derive(Debug, Clone, Copy)]
pub struct ReceiptRequest<'a> {
    /// The whole URL as the vendor called it: the configured public URL with this request's path and query.
    pub url: &'a str,
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
}

/// The provider's words, cut to a length that a row may hold, without line breaks.
#[must_use]
pub fn excerpt(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_DETAIL).collect()
}
