//! The clock that tests move: a file whose milliseconds every process of the test adds to its time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct TestClock {
    file: PathBuf,
    offset_ms: Arc<AtomicI64>,
}

impl TestClock {
    pub(crate) fn in_dir(dir: &Path) -> Self {
        let clock = Self { file: dir.join("clock"), offset_ms: Arc::default() };
        clock.advance(Duration::ZERO);
        clock
    }

    pub(crate) fn file(&self) -> &str {
        self.file.to_str().expect("a path in UTF-8")
    }

    /// The time that the processes go by, in seconds since the Unix epoch.
    #[expect(clippy::disallowed_methods, reason = "the tests' own side of the clock")]
    pub(crate) fn now_s(&self) -> i64 {
        (jiff::Timestamp::now().as_millisecond() + self.offset_ms.load(Ordering::SeqCst)).div_euclid(1000)
    }

    /// Moves time on for every process at once: the file is replaced, never half-written.
    pub(crate) fn advance(&self, time: Duration) {
        let step = i64::try_from(time.as_millis()).expect("a time that fits");
        let offset = self.offset_ms.fetch_add(step, Ordering::SeqCst) + step;
        let next = self.file.with_extension("next");
        std::fs::write(&next, offset.to_string()).expect("the clock is written");
        std::fs::rename(&next, &self.file).expect("the clock is moved");
    }
}
