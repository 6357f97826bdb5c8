//! How long to wait before trying a server again. The one file that knows the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff;

/// Doubling waits with jitter, without end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    pub initial: Duration,
    pub multiplier: f64,
    pub max_interval: Duration,
    /// 0.2 means up to a fifth more or less.
    pub jitter: f64,
}

impl RetryPolicy {
    /// For the broker and the store: from a fifth of a second to ten.
    pub const RECONNECT: Self = Self {
        initial: Duration::from_millis(200),
        multiplier: 2.0,
        max_interval: Duration::from_secs(10),
        jitter: 0.2,
    };

    /// The waits, from the first on.
    #[must_use]
    pub fn delays(self) -> Delays {
        let backoff = ExponentialBackoffBuilder::new()
            .with_initial_interval(self.initial)
            .with_multiplier(self.multiplier)
            .with_max_interval(self.max_interval)
            .with_randomization_factor(self.jitter)
            .with_max_elapsed_time(None)
            .build();
        Delays { backoff, longest: self.max_interval }
    }
}

#[derive(Debug)]
pub struct Delays {
    backoff: backoff::ExponentialBackoff,
    longest: Duration,
}

impl Delays {
    /// How long to wait now.
    pub fn next_delay(&mut self) -> Duration {
        self.backoff.next_backoff().unwrap_or(self.longest)
    }

    /// It worked: begin with short waits again.
    pub fn reset(&mut self) {
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_over_after_a_reset() {
        let mut delays = RetryPolicy::RECONNECT.delays();
        let waits: Vec<_> = (0..12).map(|_| delays.next_delay()).collect();
        assert!(waits[0] < Duration::from_millis(250));
        assert!(waits[11] >= Duration::from_secs(8) && waits[11] <= Duration::from_secs(12));
        delays.reset();
        assert!(delays.next_delay() < Duration::from_millis(250));
    }
}
