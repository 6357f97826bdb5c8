//! The ways a code can travel, and whether it travels for real.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    Sms,
    Email,
    Whatsapp,
}

impl Channel {
    pub const ALL: [Self; 3] = [Self::Sms, Self::Email, Self::Whatsapp];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Email => "email",
            Self::Whatsapp => "whatsapp",
        }
    }

    /// The number that stands for it in the store.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Sms => 0,
            Self::Email => 1,
            Self::Whatsapp => 2,
        }
    }

    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.code() == code)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("must be sms, email or whatsapp")]
pub struct NotAChannel;

impl FromStr for Channel {
    type Err = NotAChannel;

    fn from_str(text: &str) -> Result<Self, NotAChannel> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == text).ok_or(NotAChannel)
    }
}

/// Whether messages go to people or to the sandbox inbox. Fixed when a verification opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Live,
    Sandbox,
}

impl Mode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Sandbox => "sandbox",
        }
    }

    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Live => 0,
            Self::Sandbox => 1,
        }
    }

    #[must_use]
    pub const fn from_code(code: i16) -> Self {
        if code == 0 { Self::Live } else { Self::Sandbox }
    }

    /// What a key of this kind may see: a live key both modes, a sandbox key its own.
    #[must_use]
    pub const fn visible(self) -> &'static [Self] {
        match self {
            Self::Live => &[Self::Live, Self::Sandbox],
            Self::Sandbox => &[Self::Sandbox],
        }
    }
}
