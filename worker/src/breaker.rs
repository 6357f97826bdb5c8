//! The breaker: when a provider is left alone, and when it is tried again. It knows from messages and from checks; a
//! message that is taken outweighs a check, since a check may be refused what messages are not.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::time::Timestamp;

use crate::place::Place;

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
    outcomes: VecDeque<Outcome>,
    /// Open until then; afterwards half-open: one probe at a time.
    open_until: Option<Timestamp>,
    /// What opened it, and whether that was something all messages would have met.
    reason: &'static str,
    is_of_all: bool,
    /// Whether it opened for something that the operator mends.
    is_misconfigured: bool,
    probing: Option<Timestamp>,
    accusation: Accusation,
}

/// What the checks say against the provider.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Accusation {
    #[default]
    None,
    /// It is left alone until a check says otherwise, since checks are the probes; the last resort it is still.
    Stands { since: Timestamp },
    /// The provider has taken a message all the same: not believed until the checks say something else.
    Disproved,
}

#[derive(Debug)]
struct Outcome {
    at: Timestamp,
    place: Place,
    worked: bool,
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
        let state = self.state();
        match state.open_until {
            _ if state.is_accused() => Position::Open,
            None => Position::Closed,
            Some(until) if now < until => Position::Open,
            Some(_) => Position::HalfOpen,
        }
    }

    /// Why the provider would not be asked now, if it would not.
    #[must_use]
    pub fn left_alone(&self, now: Timestamp) -> Option<&'static str> {
        let state = self.state();
        let reason = if state.is_accused() { "its check" } else { state.reason };
        (!state.is_fit(now)).then_some(reason)
    }

    /// Whether only a check speaks against the provider: it may be asked where nobody else is left. Takes nothing.
    #[must_use]
    pub fn is_last_resort(&self, now: Timestamp) -> bool {
        self.state().is_last_resort(now)
    }

    /// Whether to ask the provider now; half-open or as the last resort, that is the one probe.
    pub fn enter(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        let may_be_asked = state.is_fit(now) || state.is_last_resort(now);
        if may_be_asked && (state.open_until.is_some() || state.is_accused()) {
            state.probing = Some(now);
        }
        may_be_asked
    }

    /// A check says that every message would be refused. It is news where the check before said something else.
    pub fn accuse(&self, now: Timestamp, is_news: bool) {
        let mut state = self.state();
        if is_news || state.accusation == Accusation::None {
            state.accusation = Accusation::Stands { since: now };
        }
    }

    /// A message that was handed over at `started` was taken. One that was on its way before the check proves nothing.
    pub fn taken(&self, started: Timestamp) {
        let mut state = self.state();
        if matches!(state.accusation, Accusation::Stands { since } if started >= since) {
            state.accusation = Accusation::Disproved;
        }
    }

    /// A check says that messages would be taken. Where that is news, what the operator had to mend is mended: a message
    /// may try at once.
    pub fn absolve(&self, now: Timestamp, is_news: bool) {
        let mut state = self.state();
        state.accusation = Accusation::None;
        if is_news && state.is_misconfigured {
            state.open_until = state.open_until.map(|until| until.min(now));
        }
    }

    /// The provider was not asked after all.
    pub fn leave(&self) {
        self.state().probing = None;
    }

    /// Notes how a call that was made at `started` ended; `None` is a success. While the breaker is open only what was on
    /// its way before ends: that shortens nothing.
    pub fn record(&self, started: Timestamp, now: Timestamp, place: &Place, cause: Option<&Cause>) {
        let mut state = self.state();
        let is_open = state.open_until.is_some_and(|until| now < until);
        if state.probing.is_some_and(|since| started >= since) {
            state.probing = None;
        }
        let Some(cause) = cause.filter(|cause| **cause != Cause::Rejected) else {
            if !is_open {
                state.close();
                state.note(now, place, true);
            }
            return;
        };
        if !is_of_all(cause) {
            if is_open {
                return;
            }
            // What kept all messages away is over: this one met something else.
            if state.is_of_all {
                state.close();
            }
            state.note(now, place, false);
            if state.open_until.is_none() && !state.is_failing() {
                return;
            }
        }
        state.open(now, cause);
    }

    /// Opens it for what a probe has met.
    pub fn trip(&self, now: Timestamp, cause: &Cause) {
        self.state().open(now, cause);
    }
}

/// Whether any other message would have met the same.
pub(crate) const fn is_of_all(cause: &Cause) -> bool {
    match cause {
        Cause::Throttled { .. } => true,
        Cause::Misconfigured(what) => concerns_every_message(*what),
        Cause::Rejected | Cause::Unavailable | Cause::Ambiguous => false,
    }
}

/// A sender or an endpoint is often refused for one destination alone: that is no reason to leave the others at once.
pub(crate) const fn concerns_every_message(what: Misconfiguration) -> bool {
    match what {
        Misconfiguration::Credentials | Misconfiguration::Balance | Misconfiguration::IpBlocked => true,
        Misconfiguration::Sender | Misconfiguration::Endpoint => false,
    }
}

impl State {
    fn is_accused(&self) -> bool {
        matches!(self.accusation, Accusation::Stands { .. })
    }

    fn is_fit(&self, now: Timestamp) -> bool {
        !self.is_accused() && (self.open_until.is_none() || self.may_be_probed(now))
    }

    fn is_last_resort(&self, now: Timestamp) -> bool {
        self.is_accused() && self.may_be_probed(now)
    }

    fn may_be_probed(&self, now: Timestamp) -> bool {
        let is_probed = self.probing.is_some_and(|since| now.since(since) <= OPEN);
        self.open_until.is_none_or(|until| now >= until) && !is_probed
    }

    fn open(&mut self, now: Timestamp, cause: &Cause) {
        let time = match cause {
            Cause::Throttled { retry_after } => retry_after.unwrap_or(THROTTLED),
            _ if is_of_all(cause) => OPEN_MISCONFIGURED,
            _ => OPEN,
        };
        self.outcomes.clear();
        if self.open_until.is_some_and(|until| until >= now + time) {
            return;
        }
        self.open_until = Some(now + time);
        self.reason = cause.as_str();
        self.is_of_all = is_of_all(cause);
        self.is_misconfigured = matches!(cause, Cause::Misconfigured(_)) && self.is_of_all;
    }

    fn close(&mut self) {
        if self.open_until.take().is_some() {
            self.outcomes.clear();
        }
        self.is_of_all = false;
    }

    fn note(&mut self, now: Timestamp, place: &Place, worked: bool) {
        self.outcomes.push_back(Outcome { at: now, place: place.clone(), worked });
        let is_old = |outcome: &Outcome| now.since(outcome.at) > WINDOW_AGE;
        while self.outcomes.len() > WINDOW || self.outcomes.front().is_some_and(is_old) {
            self.outcomes.pop_front();
        }
    }

    /// Half of what is known are failures, also without the place that fails most: that has a breaker of its own.
    fn is_failing(&self) -> bool {
        let failures = |place: &Place| self.outcomes.iter().filter(|one| !one.worked && one.place == *place).count();
        let Some(worst) = self.outcomes.iter().map(|outcome| &outcome.place).max_by_key(|place| failures(place)) else {
            return false;
        };
        let are_failures = |outcomes: &[&Outcome]| {
            let failed = outcomes.iter().filter(|outcome| !outcome.worked).count();
            failed * 2 >= outcomes.len()
        };
        let all: Vec<_> = self.outcomes.iter().collect();
        let rest: Vec<_> = self.outcomes.iter().filter(|outcome| outcome.place != *worst).collect();
        all.len() >= FEWEST && are_failures(&all) && are_failures(&rest)
    }
}

#[cfg(test)]
mod tests;
