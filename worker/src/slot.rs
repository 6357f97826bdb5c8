//! One provider in this worker: how much it may have at once, and whether it is to be left alone, in all and by country.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::otp::provider_error::Cause;
use common::otp::time::Timestamp;
use providers::Provider;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::breaker::{Breaker, Position, is_of_all};
use crate::caps::Caps;
use crate::health::Calls;
use crate::place::Place;
use crate::weights::Fare;

/// How long a job waits for a place with a provider that is full. It holds up others meanwhile, so once a wait was in
/// vain, nobody waits there for a while.
const PLACE_WAIT: Duration = Duration::from_millis(250);
const NO_WAIT: Duration = Duration::from_secs(1);

/// A provider with its breakers and its bounds.
#[derive(Debug)]
pub struct Slot {
    pub provider: Arc<dyn Provider>,
    /// Of what concerns all its messages.
    pub breaker: Breaker,
    /// As many as there are places, at most.
    places: Mutex<HashMap<Place, Known>>,
    permits: Semaphore,
    pace: Option<Pace>,
    /// When a wait for a place last was in vain.
    crowded: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Known {
    breaker: Breaker,
    calls: Calls,
}

impl Slot {
    pub(crate) fn new(provider: Arc<dyn Provider>, caps: Caps, concurrency: usize) -> Self {
        let permits = Semaphore::new(caps.concurrent.unwrap_or(concurrency));
        let pace = caps.per_second.map(Pace::new);
        let (places, crowded) = (Mutex::default(), Mutex::default());
        Self { provider, breaker: Breaker::default(), places, permits, pace, crowded }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Place, Known>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it is left alone there, if it is.
    pub(crate) fn left_alone(&self, place: &Place, now: Timestamp) -> Option<&'static str> {
        let of_country = |known: &Known| known.breaker.left_alone(now);
        self.breaker.left_alone(now).or_else(|| self.places().get(place).and_then(of_country))
    }

    /// Where the breakers of its places stand.
    pub(crate) fn by_place(&self, now: Timestamp) -> Vec<(Place, Position)> {
        let places = self.places();
        places.iter().map(|(place, known)| (place.clone(), known.breaker.position(now))).collect()
    }

    /// Whether only a check speaks against it: it may be asked where nobody else is left.
    pub(crate) fn is_last_resort(&self, place: &Place, now: Timestamp) -> bool {
        let is_left_alone = |known: &Known| known.breaker.left_alone(now).is_some();
        self.breaker.is_last_resort(now) && !self.places().get(place).is_some_and(is_left_alone)
    }

    /// Whether asking it now would be a probe.
    pub(crate) fn is_half_open(&self, place: &Place, now: Timestamp) -> bool {
        let is_half_open = |breaker: &Breaker| breaker.position(now) == Position::HalfOpen;
        is_half_open(&self.breaker) || self.places().get(place).is_some_and(|known| is_half_open(&known.breaker))
    }

    /// Whether to ask it now; where a breaker is half-open, that is its one probe.
    pub(crate) fn enter(&self, place: &Place, now: Timestamp) -> bool {
        let places = self.places();
        let breaker = places.get(place).map(|known| &known.breaker);
        if breaker.is_some_and(|breaker| breaker.left_alone(now).is_some()) || !self.breaker.enter(now) {
            return false;
        }
        breaker.is_none_or(|breaker| breaker.enter(now))
    }

    /// It was not asked after all.
    pub(crate) fn leave(&self, place: &Place) {
        self.breaker.leave();
        if let Some(known) = self.places().get(place) {
            known.breaker.leave();
        }
    }

    /// Notes how a call ended; `None` is a success.
    pub(crate) fn record(&self, place: &Place, started: Timestamp, now: Timestamp, cause: Option<&Cause>) {
        let is_for_all = cause.is_some_and(is_of_all);
        let was_half_open = self.breaker.position(now) == Position::HalfOpen;
        self.breaker.record(started, now, place, cause);
        if cause.is_none() {
            self.breaker.taken(started);
        }
        let mut places = self.places();
        let known = places.entry(place.clone()).or_default();
        if is_for_all {
            known.breaker.leave();
        } else {
            known.breaker.record(started, now, place, cause);
        }
        // So that the next probe of the provider comes from somewhere else.
        if let Some(cause) = cause.filter(|cause| was_half_open && !is_for_all && **cause != Cause::Rejected) {
            known.breaker.trip(now, cause);
        }
        known.calls.note(now, now.since(started), matches!(cause, None | Some(Cause::Rejected)));
    }

    /// How its calls for a country went lately.
    pub(crate) fn fare(&self, place: &Place, now: Timestamp) -> Fare {
        self.places().get_mut(place).map_or(Fare::Well, |known| known.calls.fare(now))
    }

    pub(crate) fn has_room(&self) -> bool {
        self.permits.available_permits() > 0 && self.pace.as_ref().is_none_or(Pace::is_ready)
    }

    /// A place for one message; `None` when the provider is full and does not get on.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        let place = match self.permits.try_acquire() {
            Ok(place) => place,
            Err(_) => self.wait().await?,
        };
        if self.pace.as_ref().is_none_or(Pace::take) { Some(place) } else { None }
    }

    async fn wait(&self) -> Option<SemaphorePermit<'_>> {
        let crowded = || self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        if crowded().is_some_and(|since| since.elapsed() < NO_WAIT) {
            return None;
        }
        if let Ok(Ok(place)) = timeout(PLACE_WAIT, self.permits.acquire()).await {
            return Some(place);
        }
        *crowded() = Some(Instant::now());
        None
    }

    /// The sandbox's failures are played: they do not count against it.
    #[must_use]
    pub fn is_played(&self) -> bool {
        self.provider.name() == providers::sandbox::NAME
    }
}

/// So many messages a second and no more, as a GCRA whose burst is a tenth of them.
#[derive(Debug)]
struct Pace {
    each: Duration,
    burst: Duration,
    /// When the next one would be due if they came evenly.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    fn new(per_second: u32) -> Self {
        let each = Duration::from_secs(1) / per_second.max(1);
        Self { each, burst: each * (per_second / 10).max(1), next: Mutex::default() }
    }

    fn is_ready(&self) -> bool {
        self.due(Instant::now()).is_some()
    }

    fn take(&self) -> bool {
        let due = self.due(Instant::now());
        if let Some(due) = due {
            *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(due + self.each);
        }
        due.is_some()
    }

    /// When a message that goes now counts as gone; `None` when it must not go.
    fn due(&self, now: Instant) -> Option<Instant> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(now).max(now);
        (next + self.each <= now + self.burst).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_has_so_many_messages() {
        let pace = Pace::new(50);
        let taken = || (0..100).filter(|_| pace.take()).count();
        assert_eq!(taken(), 5, "at once");
        assert!(!pace.is_ready());
        let mut sum = 5;
        for _ in 0..10 {
            tokio::time::advance(Duration::from_millis(100)).await;
            sum += taken();
        }
        assert_eq!(sum, 55, "in a second and an instant");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(taken(), 5, "what was not used is not saved up");
    }
}
