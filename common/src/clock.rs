//! The one source of time. Processes follow the store's clock, so that leases and expiries mean the same everywhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::otp::time::Timestamp;

/// An answer that took longer says too little about when it was given: the next one will do.
const SLOW: Duration = Duration::from_millis(200);

/// The machine's time, corrected by what the store says of its own. Clones share the correction.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
    offset_file: Option<Arc<PathBuf>>,
}

#[derive(Debug, thiserror::Error)]
#[error("this build has no test clock: build it with the feature test-clock, or leave --clock-file out")]
pub struct NoTestClock;

impl Clock {
    /// A clock that adds the milliseconds written in `file` at each reading; where `=` stands before them they are the
    /// time itself, which then stands still. For tests alone.
    ///
    /// # Errors
    /// When the program was built without the feature `test-clock`.
    pub fn with_offset_file(file: Option<PathBuf>) -> Result<Self, NoTestClock> {
        if file.is_some() && cfg!(not(feature = "test-clock")) {
            return Err(NoTestClock);
        }
        Ok(Self { offset_ms: Arc::default(), offset_file: file.map(Arc::new) })
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
        let machine = jiff::Timestamp::now().as_millisecond();
        match self.test_time() {
            TestTime::Off(ms) => Timestamp::from_ms(machine + self.offset_ms.load(Ordering::Relaxed) + ms),
            TestTime::Still(ms) => Timestamp::from_ms(ms),
        }
    }

    /// Corrects the clock by the store's time, read half-way between two readings of this machine's.
    pub fn follow(&self, store: Timestamp, before: Timestamp, after: Timestamp) {
        let TestTime::Off(test_offset) = self.test_time() else { return };
        if after.since(before) > SLOW {
            return;
        }
        let middle = i64::midpoint(before.as_ms(), after.as_ms());
        let drift = store.as_ms() - (middle - test_offset);
        self.offset_ms.fetch_add(drift, Ordering::Relaxed);
    }

    fn test_time(&self) -> TestTime {
        let text = self.offset_file.as_ref().and_then(|file| std::fs::read_to_string(file.as_path()).ok());
        let text = text.unwrap_or_default();
        match text.trim().strip_prefix('=').map(str::parse) {
            Some(Ok(ms)) => TestTime::Still(ms),
            _ => TestTime::Off(text.trim().parse().unwrap_or(0)),
        }
    }
}

/// What the tests have made of the time.
enum TestTime {
    Off(i64),
    Still(i64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_follows_the_store() {
        let clock = Clock::default();
        let before = clock.now();
        clock.follow(Timestamp::from_ms(before.as_ms() + 60_000), before, before);
        assert!(clock.now().since(before).as_secs() >= 60);
    }
}
