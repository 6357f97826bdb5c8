//! What a project may set for itself, kept as versioned JSON beside it.

use std::collections::HashSet;
use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chain::{self, Step};
use super::code::{self, Code};
use super::limits::Window;
use super::target::Target;
use super::time::Timestamp;

pub const MAX_TTL: Duration = Duration::from_secs(600);
pub const MIN_TTL: Duration = Duration::from_secs(10);
const MOST_TEST_NUMBERS: usize = 50;
const MOST_ORIGINS: usize = 50;

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
    /// Web origins whose pages may use doors without keys, such as `https://app.example.com`.
    pub allowed_origins: Vec<String>,
    /// Phones that always get the same code and no message. Only a sandbox project may have them.
    pub test_numbers: Vec<TestNumber>,
    /// What sends fall back on that do not say so themselves, one after the other.
    pub fallback: Vec<Step>,
}

/// A phone whose code is fixed for a while, for reviewers of apps and automatic tests.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestNumber {
    /// In E.164.
    pub number: String,
    /// 4 to 10 digits.
    pub code: String,
    /// The end of it, a date and time of RFC 3339 in UTC.
    pub until: String,
}

/// Shows neither whose phone it is nor its code.
impl fmt::Debug for TestNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestNumber(until {})", self.until)
    }
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
            allowed_origins: Vec::new(),
            test_numbers: Vec::new(),
            fallback: Vec::new(),
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
        .chain(self.origin_problems())
        .chain(self.test_number_problems())
        .chain(chain::problems(&self.fallback, self.life()))
        .collect()
    }

    fn origin_problems(&self) -> impl Iterator<Item = String> {
        let too_many = (self.allowed_origins.len() > MOST_ORIGINS)
            .then(|| format!("allowed_origins: there may be {MOST_ORIGINS} at most"));
        let others = self.allowed_origins.iter().filter(|origin| !is_origin(origin));
        others
            .map(|origin| {
                format!(
                    "allowed_origins: {origin} is not an origin as browsers write it, such as https://app.example.com"
                )
            })
            .chain(too_many)
    }

    fn test_number_problems(&self) -> impl Iterator<Item = String> {
        let too_many = (self.test_numbers.len() > MOST_TEST_NUMBERS)
            .then(|| format!("test_numbers: there may be {MOST_TEST_NUMBERS} at most"));
        let mut seen = HashSet::new();
        let twice = self.test_numbers.iter().filter(move |test| !seen.insert(&test.number));
        let twice = twice.map(|test| format!("test_numbers: {} is there twice", test.number));
        self.test_numbers.iter().filter_map(TestNumber::problem).chain(twice).chain(too_many)
    }

    /// The code of a target that is a test number at `now`. Whether the project may have any is the caller's affair.
    #[must_use]
    pub fn test_code(&self, canonical: &str, now: Timestamp) -> Option<Code> {
        let test = self.test_numbers.iter().find(|test| test.number == canonical)?;
        let until = Timestamp::parse_rfc3339(&test.until)?;
        Code::parse(&test.code).ok().filter(|_| now <= until)
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

    /// Whether the project sends there. Magic targets lie in no country.
    #[must_use]
    pub fn reaches(&self, target: &Target) -> bool {
        target.is_magic() || target.country().is_none_or(|country| self.allows_country(country))
    }

    #[must_use]
    pub fn allows_country(&self, country: &str) -> bool {
        self.countries.is_empty() || self.countries.iter().any(|allowed| allowed == country)
    }
}

impl TestNumber {
    fn problem(&self) -> Option<String> {
        let is_e164 = self.number.starts_with('+')
            && Target::guess(&self.number, None).is_ok_and(|target| target.canonical() == self.number);
        let what = if !is_e164 {
            "the number must be in E.164, such as +491701234567"
        } else if Code::parse(&self.code).is_err() {
            "the code must be 4 to 10 digits"
        } else if Timestamp::parse_rfc3339(&self.until).is_none() {
            "the end must be a date and time in UTC, such as 2026-12-31T23:59:59Z"
        } else {
            return None;
        };
        Some(format!("test_numbers: {}: {what}", self.number))
    }
}

/// The serialization of RFC 6454, section 6.2: scheme, host and port alone, in lower case, the usual port left out.
fn is_origin(text: &str) -> bool {
    let (usual_port, rest) = match text.split_once("://") {
        Some(("https", rest)) => ("443", rest),
        Some(("http", rest)) => ("80", rest),
        _ => return false,
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_port = |port: &str| {
        port != usual_port && port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port)
    };
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_v6 = || {
        inside
            .and_then(|text| Some((text, text.parse::<Ipv6Addr>().ok()?)))
            .is_some_and(|(text, address)| address.to_string() == text)
    };
    let is_name = || is_host(host) && !host.bytes().any(|byte| byte.is_ascii_uppercase());
    (is_name() || is_v6()) && port.is_none_or(is_port)
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
            allowed_origins: vec!["*".to_owned()],
            test_numbers: vec![test_number("0912", "1", "soon"); 2],
            ..ProjectSettings::default()
        };
        assert_eq!(settings.problems().len(), 8, "{:?}", settings.problems());
    }

    fn test_number(number: &str, code: &str, until: &str) -> TestNumber {
        TestNumber { number: number.to_owned(), code: code.to_owned(), until: until.to_owned() }
    }

    #[track_caller]
    fn check_origin(origin: &str, expected: bool) {
        let settings = ProjectSettings { allowed_origins: vec![origin.to_owned()], ..ProjectSettings::default() };
        assert_eq!(settings.problems().is_empty(), expected, "{origin}");
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for origin in ["https://app.example.com", "http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:3000"]
        {
            check_origin(origin, true);
        }
        for origin in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://App.example.com",
            "https://app.example.com:443",
            "http://a:80",
            "http://a:",
            "http://a:0",
            "http://a:03000",
            "http://a:99999",
            "ftp://a",
            "https://*.example.com",
            "https://a b",
            "https://ann@a",
            "http://[::1",
            "http://[::0001]",
            "https://a?b",
            "https://bücher.example",
            "https://a,https://b",
        ] {
            check_origin(origin, false);
        }
    }

    #[test]
    fn a_test_number_has_its_code_until_its_end() {
        let test = test_number("+989123456789", "4444", "2026-12-31T23:59:59.999Z");
        let settings = ProjectSettings { test_numbers: vec![test], ..ProjectSettings::default() };
        assert_eq!(settings.problems(), Vec::<String>::new());
        let end = Timestamp::end_of_day("2026-12-31").expect("a day");
        let code = |number, now| settings.test_code(number, now).map(|code| code.reveal().to_owned());
        assert_eq!(code("+989123456789", end).as_deref(), Some("4444"));
        assert_eq!(code("+989123456789", end + Duration::from_millis(1)), None);
        assert_eq!(code("+989123456780", end), None);
        assert!(!format!("{settings:?}").contains("4444"));
    }

    #[test]
    fn wrong_test_numbers_are_told() {
        let good = ("+989123456789", "4444", "2026-12-31T00:00:00Z");
        for (number, code, until) in [
            ("09123456789", good.1, good.2),
            ("+98 912 345 6789", good.1, good.2),
            ("+9809123456789", good.1, good.2),
            ("ann@example.com", good.1, good.2),
            (good.0, "444", good.2),
            (good.0, "44a4", good.2),
            (good.0, good.1, "2026-12-31"),
            (good.0, good.1, "2026-12-31T00:00:00+01:00"),
        ] {
            let settings =
                ProjectSettings { test_numbers: vec![test_number(number, code, until)], ..ProjectSettings::default() };
            assert_eq!(settings.problems().len(), 1, "{number} {code} {until}: {:?}", settings.problems());
        }
        let many = (0..51).map(|n| test_number(&format!("+9891234567{n:02}"), good.1, good.2)).collect();
        let settings = ProjectSettings { test_numbers: many, ..ProjectSettings::default() };
        assert_eq!(settings.problems(), ["test_numbers: there may be 50 at most"]);
    }
}
