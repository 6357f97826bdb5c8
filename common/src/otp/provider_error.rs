//! Why a provider did not take a message, by cause. Retry and failover look at nothing else.

use std::time::Duration;

/// The cause of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// This recipient, for good: no such number, opted out, blocked.
    Rejected,
    /// Too fast for this provider; it may say when to come again.
    Throttled { retry_after: Option<Duration> },
    /// The provider is down or could not be reached: the request did not leave, or was refused as a whole.
    Unavailable,
    /// Something only the operator can mend.
    Misconfigured(Misconfiguration),
    /// The request left and no answer came: it may or may not have been taken.
    Ambiguous,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Misconfiguration {
    Credentials,
    Balance,
    IpBlocked,
    Sender,
    Endpoint,
}

impl Misconfiguration {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "misconfigured_credentials",
            Self::Balance => "misconfigured_balance",
            Self::IpBlocked => "misconfigured_ip_blocked",
            Self::Sender => "misconfigured_sender",
            Self::Endpoint => "misconfigured_endpoint",
        }
    }

    /// What the operator should do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Credentials => "the provider refused the credentials: check them and whether they have expired",
            Self::Balance => "the provider account is out of funds: top it up",
            Self::IpBlocked => "the provider refuses this server's address: add it to the provider's allow-list",
            Self::Sender => "the provider refuses the sender: register it or set another",
            Self::Endpoint => "nothing fitting answers at the provider's address: check its URL",
        }
    }
}

impl Cause {
    /// The name under which attempts, logs and metrics show the cause.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable => "unavailable",
            Self::Misconfigured(what) => what.as_str(),
            Self::Ambiguous => "ambiguous",
        }
    }
}
