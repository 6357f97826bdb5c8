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
    fn hours_and_days_round_down() {
        let at = Timestamp::from_ms(1_752_402_600_007);
        assert_eq!(at.hour().rfc3339(), "2025-07-13T10:00:00.000Z");
        assert_eq!(at.day(), 20_282);
    }
}
