//! Which providers may carry a message, in which order, and who is next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::clock::Clock;
use common::config::Routes as Settings;
use common::otp::channel::{Channel, Mode};
use common::otp::time::Timestamp;
use providers::Provider;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;
use crate::telemetry;

const REPORT_EVERY: Duration = Duration::from_secs(2);
/// How long a job waits for a place with a provider that is full. It holds up others meanwhile, so once a wait was in
/// vain, nobody waits there for a while.
const PLACE_WAIT: Duration = Duration::from_millis(250);
const NO_WAIT: Duration = Duration::from_secs(1);

/// A provider with its breaker and its bound on concurrent messages.
#[derive(Debug)]
pub struct Slot {
    pub provider: Arc<dyn Provider>,
    pub breaker: Breaker,
    permits: Semaphore,
    /// When a wait for a place last was in vain.
    crowded: Mutex<Option<Instant>>,
}

/// The providers of each channel in order, and the inbox that sandbox messages go to.
#[derive(Debug)]
pub struct Routes {
    live: HashMap<Channel, Vec<Arc<Slot>>>,
    sandbox: Vec<Arc<Slot>>,
    all: Vec<Arc<Slot>>,
}

/// Keeps the breakers' metrics up to date until `stop`: they also move by themselves, with time.
pub async fn report(routes: Arc<Routes>, clock: Clock, stop: CancellationToken) {
    loop {
        for slot in routes.all() {
            telemetry::breaker(slot.provider.name(), slot.breaker.position(clock.now()));
        }
        if tokio::time::timeout(REPORT_EVERY, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// Where live messages of a channel without providers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    /// To the sandbox: `otpd dev`.
    Sandbox,
    /// Nowhere: such sends are refused.
    Refused,
}

impl Routes {
    /// Lays the routes out.
    ///
    /// # Errors
    /// Every name in a route that no provider has, or whose provider does not carry the channel.
    pub fn new(
        settings: &Settings,
        providers: Vec<Arc<dyn Provider>>,
        sandbox: Arc<dyn Provider>,
        unrouted: Unrouted,
        concurrency: usize,
    ) -> Result<Self, Vec<String>> {
        let slot = |provider| {
            let (permits, crowded) = (Semaphore::new(concurrency), Mutex::default());
            Arc::new(Slot { provider, breaker: Breaker::default(), permits, crowded })
        };
        let sandbox = vec![slot(sandbox)];
        let configured: Vec<_> = providers.into_iter().map(slot).collect();
        let mut problems = Vec::new();
        let mut live = HashMap::new();
        for channel in Channel::ALL {
            let mut route = route(settings.of(channel), channel, &configured, &mut problems);
            if route.is_empty() && configured.is_empty() && unrouted == Unrouted::Sandbox {
                route.clone_from(&sandbox);
            }
            live.insert(channel, route);
        }
        let all = sandbox.iter().chain(&configured).cloned().collect();
        if problems.is_empty() { Ok(Self { live, sandbox, all }) } else { Err(problems) }
    }

    #[must_use]
    pub fn of(&self, mode: Mode, channel: Channel) -> &[Arc<Slot>] {
        match mode {
            Mode::Sandbox => &self.sandbox,
            Mode::Live => self.live.get(&channel).map_or(&[], Vec::as_slice),
        }
    }

    /// Every provider there is, for receipts and metrics.
    #[must_use]
    pub fn all(&self) -> &[Arc<Slot>] {
        &self.all
    }

    /// The first provider that this pass has not asked and that is fit; one with room before one that is full.
    #[must_use]
    pub fn pick(&self, mode: Mode, channel: Channel, tried: &[String], now: Timestamp) -> Option<Arc<Slot>> {
        let has_room = |slot: &&Arc<Slot>| slot.permits.available_permits() > 0;
        let (free, full): (Vec<_>, Vec<_>) = self.fit(mode, channel, tried, now).partition(has_room);
        // Another job may have become the probe of one meanwhile.
        free.into_iter().chain(full).find(|slot| slot.breaker.enter(now)).cloned()
    }

    /// Whether [`Self::pick`] would find one.
    #[must_use]
    pub fn has_fit(&self, mode: Mode, channel: Channel, tried: &[String], now: Timestamp) -> bool {
        self.fit(mode, channel, tried, now).next().is_some()
    }

    fn fit<'a>(
        &'a self,
        mode: Mode,
        channel: Channel,
        tried: &'a [String],
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Arc<Slot>> {
        let untried = move |slot: &&Arc<Slot>| !tried.iter().any(|name| name == slot.provider.name());
        self.of(mode, channel).iter().filter(untried).filter(move |slot| slot.breaker.is_fit(now))
    }
}

impl Slot {
    /// A place for one message; `None` when the provider is full and does not get on.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.permits.try_acquire() {
            return Some(place);
        }
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

fn route(names: &[String], channel: Channel, slots: &[Arc<Slot>], problems: &mut Vec<String>) -> Vec<Arc<Slot>> {
    let carries = |slot: &&Arc<Slot>| slot.provider.channels().contains(&channel);
    if names.is_empty() {
        return slots.iter().filter(carries).cloned().collect();
    }
    let mut route = Vec::new();
    for name in names {
        match slots.iter().find(|slot| slot.provider.name() == name) {
            Some(slot) if carries(&slot) => route.push(Arc::clone(slot)),
            Some(_) => problems.push(format!("routes.{channel}: {name} does not carry {channel}")),
            None => problems.push(format!("routes.{channel}: there is no provider {name}; see [providers]")),
        }
    }
    route
}
