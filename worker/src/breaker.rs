//! The breaker: when a provider is left alone, and when it is tried again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::time::Timestamp;

/// Outcomes it remembers, and how old they may be.
const WINDOW: usize = 20;
const WINDOW_AGE: Duration = Duration::from_secs(30);
/// It opens when at least so many outcomes are known and half of them are failures.
const FEWEST: usize = 6;
const OPEN: Duration = Duration::from_secs(10);
/// Only an operator mends a misconfiguration: one probe a minute is enough.
const OPEN_MISCONFIGURED: Duration = Duration::from_secs(60);
/// How long a provider that says "too fast" and no more is left alone.
const THROTTLED: Duration = Duration::from_secs(1);

/// One provider's breaker.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    outcomes: VecDeque<(Timestamp, bool)>,
    /// Open until then; afterwards half-open: one probe at a time.
    open_until: Option<Timestamp>,
    probing: Option<Timestamp>,
}

/// For the metric: 0 closed, 1 half-open, 2 open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    Closed,
    HalfOpen,
    Open,
}

impl Breaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn position(&self, now: Timestamp) -> Position {
        match self.state().open_until {
            None => Position::Closed,
            Some(until) if now < until => Position::Open,
            Some(_) => Position::HalfOpen,
        }
    }

    /// Whether the provider would be asked now. Takes nothing.
    #[must_use]
    pub fn is_fit(&self, now: Timestamp) -> bool {
        self.state().is_fit(now)
    }

    /// Whether to ask the provider now; half-open, that is the one probe.
    pub fn enter(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        let is_fit = state.is_fit(now);
        if is_fit && state.open_until.is_some() {
            state.probing = Some(now);
        }
        is_fit
    }

    /// The provider was not asked after all.
    pub fn leave(&self) {
        self.state().probing = None;
    }

    /// Notes how a call ended; `None` is a success.
    pub fn record(&self, now: Timestamp, cause: Option<&Cause>) {
        let mut state = self.state();
        state.probing = None;
        match cause {
            Some(Cause::Misconfigured(what)) if concerns_every_message(*what) => {
                state.open(now, OPEN_MISCONFIGURED);
            }
            Some(Cause::Throttled { retry_after }) => state.open(now, retry_after.unwrap_or(THROTTLED)),
            Some(Cause::Unavailable | Cause::Ambiguous | Cause::Misconfigured(_)) => {
                if state.open_until.is_some() {
                    state.open(now, OPEN);
                } else {
                    state.note(now, false);
                    if state.is_failing() {
                        state.open(now, OPEN);
                    }
                }
            }
            None | Some(Cause::Rejected) => {
                if state.open_until.take().is_some() {
                    state.outcomes.clear();
                }
                state.note(now, true);
            }
        }
    }
}

/// A sender or an endpoint is often refused for one destination alone: that is no reason to leave the others at once.
const fn concerns_every_message(what: Misconfiguration) -> bool {
    match what {
        Misconfiguration::Credentials | Misconfiguration::Balance | Misconfiguration::IpBlocked => true,
        Misconfiguration::Sender | Misconfiguration::Endpoint => false,
    }
}

impl State {
    fn is_fit(&self, now: Timestamp) -> bool {
        match self.open_until {
            None => true,
            Some(until) => now >= until && self.probing.is_none_or(|since| now.since(since) > OPEN),
        }
    }

    fn open(&mut self, now: Timestamp, time: Duration) {
        self.open_until = Some(now + time);
        self.outcomes.clear();
    }

    fn note(&mut self, now: Timestamp, worked: bool) {
        self.outcomes.push_back((now, worked));
        while self.outcomes.len() > WINDOW || self.outcomes.front().is_some_and(|(at, _)| now.since(*at) > WINDOW_AGE) {
            self.outcomes.pop_front();
        }
    }

    fn is_failing(&self) -> bool {
        let failures = self.outcomes.iter().filter(|(_, worked)| !worked).count();
        self.outcomes.len() >= FEWEST && failures * 2 >= self.outcomes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_ms(1_000_000);

    fn at(seconds: u64) -> Timestamp {
        T0 + Duration::from_secs(seconds)
    }

    fn failing(times: usize) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..times {
            breaker.record(T0, Some(&Cause::Unavailable));
        }
        breaker
    }

    #[test]
    fn a_misconfiguration_opens_at_once() {
        let breaker = Breaker::default();
        breaker.record(T0, Some(&Cause::Misconfigured(Misconfiguration::Credentials)));
        assert_eq!(breaker.position(at(59)), Position::Open);
        assert_eq!(breaker.position(at(60)), Position::HalfOpen);
    }

    #[test]
    fn a_sender_refused_for_one_destination_does_not_close_the_others() {
        let breaker = Breaker::default();
        breaker.record(T0, Some(&Cause::Misconfigured(Misconfiguration::Sender)));
        assert_eq!(breaker.position(T0), Position::Closed);
    }

    #[test]
    fn a_few_failures_do_not_open_and_many_do() {
        assert_eq!(failing(FEWEST - 1).position(T0), Position::Closed);
        assert_eq!(failing(FEWEST).position(T0), Position::Open);
    }

    #[test]
    fn half_open_lets_one_probe_through_and_a_success_closes() {
        let breaker = failing(FEWEST);
        assert!(!breaker.enter(at(9)));
        assert!(breaker.enter(at(10)));
        assert!(!breaker.enter(at(10)));
        breaker.record(at(11), None);
        assert_eq!(breaker.position(at(11)), Position::Closed);
        assert!(breaker.enter(at(11)) && breaker.enter(at(11)));
    }

    #[test]
    fn a_failed_probe_opens_again() {
        let breaker = failing(FEWEST);
        assert!(breaker.enter(at(10)));
        breaker.record(at(11), Some(&Cause::Unavailable));
        assert_eq!(breaker.position(at(20)), Position::Open);
    }

    #[test]
    fn a_probe_that_was_not_made_is_free_for_the_next() {
        let breaker = failing(FEWEST);
        assert!(breaker.enter(at(10)));
        breaker.leave();
        assert!(breaker.enter(at(10)));
    }

    #[test]
    fn a_probe_that_never_reports_does_not_block_for_ever() {
        let breaker = failing(FEWEST);
        assert!(breaker.enter(at(10)));
        assert!(breaker.enter(at(25)));
    }

    #[test]
    fn rejected_recipients_say_nothing_about_the_provider() {
        let breaker = Breaker::default();
        for _ in 0..50 {
            breaker.record(T0, Some(&Cause::Rejected));
        }
        assert_eq!(breaker.position(T0), Position::Closed);
    }

    #[test]
    fn throttling_pauses_for_the_time_asked() {
        let breaker = Breaker::default();
        breaker.record(T0, Some(&Cause::Throttled { retry_after: Some(Duration::from_secs(7)) }));
        assert!(!breaker.is_fit(at(6)));
        assert!(breaker.is_fit(at(7)));
    }
}
