//! Which providers may carry a message, in which order, and who is next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::config::Routes as Settings;
use common::otp::channel::{Channel, Mode};
use common::otp::time::Timestamp;
use providers::Provider;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;
use crate::telemetry;

const REPORT_EVERY: Duration = Duration::from_secs(2);

/// A provider with its breaker and its bound on concurrent messages.
#[derive(Debug)]
pub struct Slot {
    pub provider: Arc<dyn Provider>,
    pub breaker: Breaker,
    pub permits: Arc<Semaphore>,
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
            let permits = Arc::new(Semaphore::new(concurrency));
            Arc::new(Slot { provider, breaker: Breaker::default(), permits })
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
        let fit = || self.fit(mode, channel, tried, now);
        let slot = fit().find(|slot| slot.permits.available_permits() > 0).or_else(|| fit().next())?;
        slot.breaker.enter(now).then(|| Arc::clone(slot))
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
