//! What a project may set for itself, kept as versioned JSON beside it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::code;
use super::limits::Window;

pub const MAX_TTL: Duration = Duration::from_secs(600);
pub const MIN_TTL: Duration = Duration::from_secs(10);

/// A project's settings. Every field has a default, so that older rows read under newer programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProjectSettings {
    pub version: u16,
    /// Digits of a code, 4 to 10.
    pub code_length: u8,
    /// Life of a code in seconds, 10 to 600.
    pub ttl: u32,
    /// Seconds between two sends to one target.
    pub cooldown: u32,
    /// Sends to one target in an hour and in a day.
    pub sends_per_hour: u32,
    pub sends_per_day: u32,
    /// Wrong guesses a verification bears.
    pub guesses: u8,
    /// Sends of one verification, the first one included.
    pub sends: u8,
    /// Accepted sends a second, and how many at once.
    pub rate: u32,
    pub rate_burst: u32,
    /// Days until targets are forgotten.
    pub retention_days: u16,
    /// ISO 3166 regions that phones may be of; empty for all.
    pub countries: Vec<String>,
    /// A resend makes a new code instead of sending the first one again.
    pub new_code_on_resend: bool,
    /// The host that WebOTP binds messages to.
    pub host: Option<String>,
    /// BCP 47 tag of the messages of a send that names none.
    pub locale: String,
}

impl Default for ProjectSettings {
    fn default() -> Self {
        Self {
            version: 1,
            code_length: 6,
            ttl: 300,
            cooldown: 30,
            sends_per_hour: 5,
            sends_per_day: 10,
            guesses: 5,
            sends: 5,
            rate: 1000,
            rate_burst: 5000,
            retention_days: 30,
            countries: Vec::new(),
            new_code_on_resend: false,
            host: None,
            locale: "en".to_owned(),
        }
    }
}

impl ProjectSettings {
    /// Everything that is wrong with the settings, each naming its field.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let range = |name: &str, value: u32, low: u32, high: u32| {
            (!(low..=high).contains(&value)).then(|| format!("{name} must be {low} to {high}, not {value}"))
        };
        let countries = self.countries.iter().filter(|country| !super::target::is_region(country));
        let host = self.host.iter().filter(|host| !is_host(host));
        [
            range("code_length", self.code_length.into(), code::MIN_LENGTH.into(), code::MAX_LENGTH.into()),
            range("ttl", self.ttl, 10, 600),
            range("cooldown", self.cooldown, 1, 3600),
            range("sends_per_hour", self.sends_per_hour, 1, 1000),
            range("sends_per_day", self.sends_per_day, 1, 10_000),
            range("guesses", self.guesses.into(), 1, 10),
            range("sends", self.sends.into(), 1, 20),
            range("rate", self.rate, 1, 1_000_000),
            range("rate_burst", self.rate_burst, 1, 10_000_000),
            range("retention_days", self.retention_days.into(), 1, 3650),
        ]
        .into_iter()
        .flatten()
        .chain(countries.map(|country| format!("countries: {country} is not an ISO 3166 region such as DE")))
        .chain(host.map(|host| format!("host: {host} is not a bare host name such as example.com")))
        .collect()
    }

    #[must_use]
    pub fn life(&self) -> Duration {
        Duration::from_secs(self.ttl.into())
    }

    /// The windows of one target: cooldown, hour, day.
    #[must_use]
    pub fn target_windows(&self) -> [Window; 3] {
        [
            Window::new(1, Duration::from_secs(self.cooldown.into())),
            Window::new(self.sends_per_hour, Duration::from_secs(3600)),
            Window::new(self.sends_per_day, Duration::from_secs(86_400)),
        ]
    }

    /// The project's own rate: `rate` a second once `rate_burst` at once are used up.
    #[must_use]
    pub fn rate_window(&self) -> Window {
        let period = Duration::from_secs_f64(f64::from(self.rate_burst) / f64::from(self.rate.max(1)));
        Window::new(self.rate_burst, period)
    }

    #[must_use]
    pub fn allows_country(&self, country: &str) -> bool {
        self.countries.is_empty() || self.countries.iter().any(|allowed| allowed == country)
    }
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_survive_json() {
        let settings = ProjectSettings::default();
        assert_eq!(settings.problems(), Vec::<String>::new());
        let json = serde_json::to_string(&settings).expect("json");
        assert_eq!(serde_json::from_str::<ProjectSettings>(&json).expect("settings"), settings);
        assert_eq!(serde_json::from_str::<ProjectSettings>("{}").expect("settings"), settings);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let settings = ProjectSettings {
            ttl: 601,
            code_length: 3,
            countries: vec!["Germany".to_owned()],
            host: Some("https://example.com".to_owned()),
            ..ProjectSettings::default()
        };
        assert_eq!(settings.problems().len(), 4, "{:?}", settings.problems());
    }
}
