//! What happened to each send, by its number: when it was to start, when it reached the provider, and its code.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::failure::Outcome;
use crate::load::histogram;

/// Sends, and what came of them. Written from two sides at once, so all of it is atomic; 0 is "not yet".
#[derive(Debug)]
pub(crate) struct Journal {
    epoch: Instant,
    entries: Box<[Entry]>,
    arrived: AtomicU64,
    again: AtomicU64,
    last: AtomicU64,
}

#[derive(Debug, Default)]
struct Entry {
    started: AtomicU64,
    arrived: AtomicU64,
    code: AtomicU32,
}

impl Journal {
    /// Room for sends 0 to `capacity`; what comes with a higher number is only counted.
    pub(crate) fn new(capacity: u64) -> Self {
        let entries = (0..capacity).map(|_| Entry::default()).collect();
        let zero = || AtomicU64::new(0);
        Self { epoch: Instant::now(), entries, arrived: zero(), again: zero(), last: zero() }
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// Nanoseconds since the epoch, never 0.
    fn since_epoch(&self, instant: Instant) -> u64 {
        let nanos = instant.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).max(1)
    }

    pub(crate) fn starts(&self, index: u64, intended: Instant) {
        if let Some(entry) = self.entry(index) {
            entry.started.store(self.since_epoch(intended), Ordering::Relaxed);
        }
    }

    /// When a send was to start, once it has.
    pub(crate) fn started(&self, index: u64) -> Option<Instant> {
        let nanos = self.entry(index)?.started.load(Ordering::Relaxed);
        (nanos > 0).then(|| self.epoch + Duration::from_nanos(nanos))
    }

    /// A message has reached the provider; whether it is the first one of its send.
    pub(crate) fn arrives(&self, index: u64, code: u32) -> bool {
        let now = self.since_epoch(Instant::now());
        let is_first = self.entry(index).is_none_or(|entry| {
            entry.code.store(code + 1, Ordering::Relaxed);
            entry.arrived.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        });
        if is_first {
            self.last.fetch_max(now, Ordering::Relaxed);
            self.arrived.fetch_add(1, Ordering::Release);
        } else {
            self.again.fetch_add(1, Ordering::Relaxed);
        }
        is_first
    }

    /// Sends that have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// Messages of sends that had arrived before.
    pub(crate) fn again(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }

    pub(crate) fn code(&self, index: u64) -> Option<u32> {
        self.entry(index)?.code.load(Ordering::Relaxed).checked_sub(1)
    }

    /// From an instant to the last arrival.
    pub(crate) fn last_after(&self, begun: Instant) -> Duration {
        Duration::from_nanos(self.last.load(Ordering::Relaxed).saturating_sub(self.since_epoch(begun)))
    }

    /// From the first arrival to the last one.
    pub(crate) fn first_to_last(&self) -> Duration {
        let times = self.entries.iter().map(|entry| entry.arrived.load(Ordering::Relaxed)).filter(|time| *time > 0);
        let (first, last) = times.fold((u64::MAX, 0), |(first, last), time| (first.min(time), last.max(time)));
        Duration::from_nanos(last.saturating_sub(first))
    }

    /// Microseconds from the intended start to the arrival, of all that have both.
    pub(crate) fn start_to_arrival(&self) -> Outcome<Histogram<u64>> {
        let mut latencies = histogram()?;
        for entry in &self.entries {
            let (started, arrived) = (entry.started.load(Ordering::Relaxed), entry.arrived.load(Ordering::Relaxed));
            if started > 0 && arrived > 0 {
                latencies.record((arrived.saturating_sub(started) / 1000).max(1))?;
            }
        }
        Ok(latencies)
    }

    /// Waits until so many sends have arrived.
    pub(crate) async fn reached(&self, number: u64, patience: Duration) -> Outcome {
        let end = Instant::now() + patience;
        while self.arrived() < number {
            if Instant::now() > end {
                return Err(format!("{} of {number} have arrived after {patience:?}", self.arrived()).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_arrives_once_and_its_code_is_known() {
        let journal = Journal::new(2);
        let now = Instant::now();
        journal.starts(1, now);
        assert_eq!((journal.started(0), journal.started(1)), (None, Some(now)));
        assert_eq!(journal.code(1), None);
        assert!(journal.arrives(1, 42));
        assert!(!journal.arrives(1, 42));
        assert_eq!((journal.arrived(), journal.again(), journal.code(1)), (1, 1, Some(42)));
        assert_eq!(journal.start_to_arrival().expect("a histogram").len(), 1);
    }
}
