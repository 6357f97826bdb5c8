//! The clock that tests move: a file whose milliseconds every process of the test adds to its time, or takes for the time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct TestClock {
    file: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    offset_ms: i64,
    /// The machine's time at which it was stopped.
    stopped_ms: Option<i64>,
}

impl State {
    fn now_ms(&self) -> i64 {
        self.stopped_ms.unwrap_or_else(machine_ms) + self.offset_ms
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests' own side of the clock")]
fn machine_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl TestClock {
    pub(crate) fn in_dir(dir: &Path) -> Self {
        let clock = Self { file: dir.join("clock"), state: Arc::default() };
        clock.advance(Duration::ZERO);
        clock
    }

    pub(crate) fn file(&self) -> &str {
        self.file.to_str().expect("a path in UTF-8")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the clock")
    }

    /// The time that the processes go by, in seconds since the Unix epoch.
    pub(crate) fn now_s(&self) -> i64 {
        self.state().now_ms().div_euclid(1000)
    }

    /// Moves time on for every process at once.
    pub(crate) fn advance(&self, time: Duration) {
        let mut state = self.state();
        state.offset_ms += i64::try_from(time.as_millis()).expect("a time that fits");
        self.write(&state);
    }

    /// From now on time goes on by `advance` alone, however slow the machine is.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped_ms.get_or_insert_with(machine_ms);
        self.write(&state);
    }

    /// The file is replaced, never half-written.
    fn write(&self, state: &State) {
        let text = match state.stopped_ms {
            Some(_) => format!("={}", state.now_ms()),
            None => state.offset_ms.to_string(),
        };
        let next = self.file.with_extension("next");
        std::fs::write(&next, text).expect("the clock is written");
        std::fs::rename(&next, &self.file).expect("the clock is moved");
    }
}
