//! An instant in milliseconds since the Unix epoch: the unit of every time that is stored or compared.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;

impl Timestamp {
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// The start of the UTC hour that this instant lies in.
    #[must_use]
    pub const fn hour(self) -> Self {
        Self(self.0 - self.0.rem_euclid(HOUR_MS))
    }

    /// Whole UTC days since the epoch.
    #[must_use]
    pub const fn day(self) -> i64 {
        self.0.div_euclid(DAY_MS)
    }

    /// The time from `earlier` to here, zero if that lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds and `Z`, as every reply shows times.
    #[must_use]
    pub fn rfc3339(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => format!("{at:.3}"),
            Err(_) => String::new(),
        }
    }

    /// Reads a date and time of RFC 3339 in UTC, that is with `Z`; what is finer than a millisecond is cut off.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.strip_suffix('Z').and(Some(text))?.parse().ok()?;
        Some(Self(at.as_millisecond()))
    }

    /// Reads the date of an HTTP header (RFC 9110, section 5.6.7), which is exact to a second.
    #[must_use]
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
        Some(Self(at.as_millisecond()))
    }

    /// The last millisecond of a UTC day, given as 2026-12-31.
    #[must_use]
    pub fn end_of_day(date: &str) -> Option<Self> {
        let is_date = date.len() == "2026-12-31".len();
        let start = Self::parse_rfc3339(&format!("{date}T00:00:00Z")).filter(|_| is_date)?;
        Some(Self(start.0 + DAY_MS - 1))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_milliseconds_and_z() {
        assert_eq!(Timestamp::from_ms(1_752_402_600_000).rfc3339(), "2025-07-13T10:30:00.000Z");
        assert_eq!(Timestamp::from_ms(1_752_402_600_007).rfc3339(), "2025-07-13T10:30:00.007Z");
    }

    #[test]
    fn times_in_utc_are_read_and_others_are_not() {
        let read = |text| Timestamp::parse_rfc3339(text).map(Timestamp::as_ms);
        assert_eq!(read("2025-07-13T10:30:00Z"), Some(1_752_402_600_000));
        assert_eq!(read("2025-07-13T10:30:00.0079Z"), Some(1_752_402_600_007));
        for text in ["", "Z", "2025-07-13", "2025-07-13Z", "2025-07-13T10:30:00", "2025-07-13T10:30:00+02:00"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("2025-02-30T10:30:00Z"), None);
    }

    #[test]
    fn dates_of_http_headers_are_read() {
        let read = |text| Timestamp::parse_http_date(text).map(Timestamp::rfc3339);
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT").as_deref(), Some("1994-11-06T08:49:37.000Z"));
        for text in ["", "yesterday", "1994-11-06T08:49:37Z", "Sun, 36 Nov 1994 08:49:37 GMT"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_ends_a_millisecond_before_the_next_one() {
        let end = Timestamp::end_of_day("2026-12-31").map(Timestamp::rfc3339);
        assert_eq!(end.as_deref(), Some("2026-12-31T23:59:59.999Z"));
        for text in ["", "2026-13-01", "2026-1-1", "20261231", "2026-12-31T00:00:00Z", "tomorrow!!"] {
            assert_eq!(Timestamp::end_of_day(text), None, "{text}");
        }
    }

    #[test]
    fn hours_and_days_round_down() {
        let at = Timestamp::from_ms(1_752_402_600_007);
        assert_eq!(at.hour().rfc3339(), "2025-07-13T10:00:00.000Z");
        assert_eq!(at.day(), 20_282);
    }
}
