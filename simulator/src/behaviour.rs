//! How a vendor behaves: what it answers, how fast, how often it fails, and what becomes of its messages.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

/// What is wrong, in the sense of the causes of docs/providers.md. Each vendor words it in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Credentials,
    Balance,
    Ip,
    Sender,
    Rejected,
    Throttled,
    Unavailable,
}

const REFUSALS: [(&str, Refusal); 7] = [
    ("credentials", Refusal::Credentials),
    ("balance", Refusal::Balance),
    ("ip", Refusal::Ip),
    ("sender", Refusal::Sender),
    ("rejected", Refusal::Rejected),
    ("throttled", Refusal::Throttled),
    ("unavailable", Refusal::Unavailable),
];

/// What a vendor answers to every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Yes,
    No(Refusal),
    /// This status and no words of the vendor's, as a proxy before it would.
    Status(u16),
    /// It takes nothing and never answers.
    Never,
    /// It takes the message, sends its receipts, and never answers.
    Mute,
}

/// What becomes of a message that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    /// The vendor could not deliver it.
    Failed,
    /// Delivered, but its receipts come late.
    Late,
    /// It is on its way, and nothing more is heard of it.
    Lost,
    /// No receipt at all.
    Untold,
}

const FATES: [(&str, Fate); 5] = [
    ("delivered", Fate::Delivered),
    ("failed", Fate::Failed),
    ("late", Fate::Late),
    ("lost", Fate::Lost),
    ("none", Fate::Untold),
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Behaviour {
    pub(crate) answer: Says,
    pub(crate) latency: Duration,
    /// Of a hundred messages, how many are refused as `unavailable`.
    pub(crate) errors: f64,
    pub(crate) receipts: Fate,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { answer: Says::Yes, latency: Duration::ZERO, errors: 0.0, receipts: Fate::Delivered }
    }
}

/// The longest that a request may be held up.
const LONGEST: Duration = Duration::from_secs(60);

impl Behaviour {
    /// Takes one order; otherwise says what it should have been.
    pub(crate) fn order(&mut self, what: &str, value: &str) -> Result<(), String> {
        match what {
            "answer" => self.answer = value.parse()?,
            "latency" => self.latency = latency(value)?,
            "errors" => self.errors = percent(value)?,
            "receipts" => self.receipts = named(&FATES, value).ok_or_else(|| one_of("receipts", &FATES, ""))?,
            _ => return Err(format!("{what}: orders are answer, latency, errors and receipts")),
        }
        Ok(())
    }

    /// What the account is refused for, whatever it asks.
    pub(crate) const fn standing(&self) -> Option<Refusal> {
        match self.answer {
            Says::No(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl FromStr for Says {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let status = |text: &str| text.parse().ok().filter(|status| (200..=599).contains(status)).map(Self::Status);
        match text {
            "ok" => Some(Self::Yes),
            "timeout" => Some(Self::Never),
            "mute" => Some(Self::Mute),
            "401" => Some(Self::No(Refusal::Credentials)),
            "402" => Some(Self::No(Refusal::Balance)),
            "429" => Some(Self::No(Refusal::Throttled)),
            _ => named(&REFUSALS, text).map(Self::No).or_else(|| status(text)),
        }
        .ok_or_else(|| one_of("answer", &REFUSALS, ", ok, timeout, mute, or a status such as 503"))
    }
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("ok"),
            Self::No(refusal) => f.write_str(name_of(&REFUSALS, refusal)),
            Self::Status(status) => status.fmt(f),
            Self::Never => f.write_str("timeout"),
            Self::Mute => f.write_str("mute"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&REFUSALS, self))
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&FATES, self))
    }
}

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn name_of<'a, T: PartialEq>(table: &[(&'a str, T)], value: &T) -> &'a str {
    table.iter().find(|(_, known)| known == value).map_or("", |(name, _)| *name)
}

fn one_of<T>(what: &str, table: &[(&str, T)], more: &str) -> String {
    let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
    format!("{what}: must be one of {}{more}", names.join(", "))
}

fn latency(text: &str) -> Result<Duration, String> {
    let read = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    read.filter(|time| *time <= LONGEST).ok_or_else(|| "latency: must be a time up to 60s, such as 200ms".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let read = text.strip_suffix('%').unwrap_or(text).parse().ok();
    read.filter(|percent| (0.0..=100.0).contains(percent)).ok_or_else(|| "errors: must be 0% to 100%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_written_alike() {
        let mut behaviour = Behaviour::default();
        for (what, value) in [("answer", "balance"), ("latency", "200ms"), ("errors", "12.5%"), ("receipts", "late")] {
            behaviour.order(what, value).expect(what);
        }
        let (answer, receipts) = (Says::No(Refusal::Balance), Fate::Late);
        assert_eq!(behaviour, Behaviour { answer, latency: Duration::from_millis(200), errors: 12.5, receipts });
        for answer in ["ok", "credentials", "ip", "rejected", "unavailable", "503", "timeout", "mute"] {
            assert_eq!(answer.parse::<Says>().map(|says| says.to_string()).as_deref(), Ok(answer));
        }
        assert_eq!(
            ("401".parse(), "429".parse()),
            (Ok(Says::No(Refusal::Credentials)), Ok(Says::No(Refusal::Throttled)))
        );
        assert_eq!(receipts.to_string(), "late");
    }

    #[test]
    fn what_means_nothing_is_refused_and_changes_nothing() {
        let mut behaviour = Behaviour::default();
        for (what, value) in [
            ("answer", "no"),
            ("answer", "999"),
            ("latency", "fast"),
            ("latency", "-1s"),
            ("latency", "2h"),
            ("errors", "101%"),
            ("errors", "-1"),
            ("errors", "NaN"),
            ("receipts", "gone"),
            ("weather", "bad"),
        ] {
            let problem = behaviour.order(what, value).expect_err("an order that means nothing");
            assert!(problem.starts_with(what), "{problem}");
        }
        assert_eq!(behaviour, Behaviour::default());
    }
}
