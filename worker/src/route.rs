//! Which providers may carry a message, in which order or parts, and who is next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::clock::Clock;
use common::config::{Routed, Routes as Settings, Rule, Share};
use common::otp::channel::{Channel, Mode};
use common::otp::time::Timestamp;
use providers::Provider;
use tokio_util::sync::CancellationToken;

use crate::breaker::Position;
use crate::caps::Caps;
use crate::place::Place;
use crate::slot::Slot;
use crate::telemetry;
use crate::weights::{Fare, Move, WHOLE, Weights};

const REPORT_EVERY: Duration = Duration::from_secs(2);

/// The providers of each channel, those of the rules, and the inbox that sandbox messages go to.
#[derive(Debug)]
pub struct Routes {
    live: HashMap<Channel, Arc<Route>>,
    rules: Vec<(Rule, Arc<Route>)>,
    sandbox: Arc<Route>,
    all: Vec<Arc<Slot>>,
}

/// Some providers, and how the traffic of each country is shared among them.
#[derive(Debug)]
pub struct Route {
    /// Its channel, or its rule.
    name: String,
    channel: Channel,
    slots: Vec<Arc<Slot>>,
    resting: Weights,
    is_weighted: bool,
    weights: Mutex<BTreeMap<String, Weights>>,
}

/// Who is asked next, and why.
#[derive(Debug)]
pub struct Picked {
    pub slot: Arc<Slot>,
    pub why: String,
}

/// What has been tried of a dispatch in this pass, and how the last attempt ended.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'a> {
    pub names: &'a [String],
    pub last: Option<&'a str>,
}

/// Keeps the breakers' metrics up to date until `stop`: they also move by themselves, with time.
pub async fn report(routes: Arc<Routes>, clock: Clock, stop: CancellationToken) {
    let mut shown = HashSet::new();
    loop {
        for slot in routes.all() {
            let (name, now) = (slot.provider.name(), clock.now());
            telemetry::breaker(name, slot.breaker.position(now));
            for (place, position) in slot.by_place(now) {
                // A country's is shown from when it first was open.
                let series = (name.to_owned(), place);
                if position != Position::Closed || shown.contains(&series) {
                    telemetry::country_breaker(name, &series.1, position);
                    shown.insert(series);
                }
            }
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
        caps: &HashMap<String, Caps>,
        concurrency: usize,
    ) -> Result<Self, Vec<String>> {
        let slot = |provider: Arc<dyn Provider>| {
            let caps = caps.get(provider.name()).copied().unwrap_or_default();
            Arc::new(Slot::new(provider, caps, concurrency))
        };
        let inbox = slot(sandbox);
        let configured: Vec<_> = providers.into_iter().map(slot).collect();
        let sandbox = Arc::new(Route::new("sandbox", Channel::Sms, vec![(Arc::clone(&inbox), None)]));
        let mut problems = Vec::new();
        let mut live = HashMap::new();
        for channel in Channel::ALL {
            let (name, list) = (format!("routes.{channel}"), settings.of(channel));
            let places = places(&name, list, channel, &configured, &mut problems);
            let route = Route::new(channel.as_str(), channel, places);
            let is_played = route.slots.is_empty() && configured.is_empty() && unrouted == Unrouted::Sandbox;
            live.insert(channel, if is_played { Arc::clone(&sandbox) } else { Arc::new(route) });
        }
        let rules = settings.rules.iter().map(|rule| {
            let name = format!("routes.rules ({rule})");
            let places = places(&name, &rule.providers, rule.channel, &configured, &mut problems);
            (rule.clone(), Arc::new(Route::new(&rule.to_string(), rule.channel, places)))
        });
        let rules = rules.collect();
        let all = std::iter::once(inbox).chain(configured).collect();
        if problems.is_empty() { Ok(Self { live, rules, sandbox, all }) } else { Err(problems) }
    }

    /// Whether live messages of a channel can go anywhere.
    #[must_use]
    pub fn carries(&self, channel: Channel) -> bool {
        self.live.get(&channel).is_some_and(|route| !route.slots.is_empty())
    }

    /// The route of one message.
    #[must_use]
    pub fn of(&self, mode: Mode, message: &Routed<'_>) -> &Route {
        if mode == Mode::Sandbox {
            return &self.sandbox;
        }
        let rules = self.rules.iter().filter(|(rule, _)| rule.takes(message));
        let narrowest = rules.max_by_key(|(rule, _)| rule.precision()).map(|(_, route)| route);
        narrowest.or_else(|| self.live.get(&message.channel)).unwrap_or(&self.sandbox)
    }

    /// Every provider there is, for receipts and metrics.
    #[must_use]
    pub fn all(&self) -> &[Arc<Slot>] {
        &self.all
    }

    /// The routes whose traffic is shared by weight, and so can move. Where there is an order, that alone counts.
    pub(crate) fn choices(&self) -> impl Iterator<Item = &Route> {
        let routes = self.live.values().chain(self.rules.iter().map(|(_, route)| route));
        routes.map(AsRef::as_ref).filter(|route| route.is_weighted && route.slots.len() > 1)
    }

    pub(crate) fn has_choice(&self) -> bool {
        self.choices().next().is_some()
    }
}

impl Route {
    fn new(name: &str, channel: Channel, places: Vec<(Arc<Slot>, Option<u32>)>) -> Self {
        let parts: Vec<_> = places.iter().map(|(_, weight)| weight.unwrap_or_default()).collect();
        let is_weighted = places.iter().any(|(_, weight)| weight.is_some());
        let slots = places.into_iter().map(|(slot, _)| slot).collect();
        let resting = Weights::new(&parts);
        Self { name: name.to_owned(), channel, slots, resting, is_weighted, weights: Mutex::default() }
    }

    fn weights(&self) -> MutexGuard<'_, BTreeMap<String, Weights>> {
        self.weights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn channel(&self) -> Channel {
        self.channel
    }

    #[must_use]
    pub fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.slots.iter().map(|slot| slot.provider.name()).collect()
    }

    /// The countries that it has carried for: as many as there are, at most.
    pub(crate) fn countries(&self) -> Vec<String> {
        self.weights().keys().cloned().collect()
    }

    pub(crate) fn weight(&self, country: &str, place: usize) -> u16 {
        self.weights().get(country).map_or(self.resting.of(place), |weights| weights.of(place))
    }

    /// Lets the weights of a country follow how the providers fare there.
    pub(crate) fn step(&self, country: &str, now: Timestamp, fares: &[Fare]) -> Option<Move> {
        self.weights().get_mut(country)?.step(now, fares)
    }

    /// Whether [`Self::pick`] would find a provider.
    #[must_use]
    pub fn has_fit(&self, place: &Place, tried: &[String], now: Timestamp) -> bool {
        let mut untried = self.slots.iter().filter(|slot| !is_among(slot, tried));
        untried.any(|slot| slot.left_alone(place, now).is_none() || slot.is_last_resort(place, now))
    }

    /// Who is next of those that this pass has not asked and that are fit: those with room first, each with its part of
    /// the traffic, else in order. Where none is fit, one against whom only a check speaks. `dice` is in 0..1.
    #[must_use]
    pub fn pick(&self, place: &Place, tried: Tried<'_>, now: Timestamp, dice: f64) -> Option<Picked> {
        let weights = {
            let mut all = self.weights();
            all.entry(place.country.clone()).or_insert_with(|| self.resting.clone()).clone()
        };
        let untried = || (0..self.slots.len()).filter(|nth| !is_among(&self.slots[*nth], tried.names));
        let is_fit = |nth: &usize| self.slots[*nth].left_alone(place, now).is_none();
        let (free, full): (Vec<_>, Vec<_>) = untried().filter(is_fit).partition(|nth| self.slots[*nth].has_room());
        let last = untried().filter(|nth| self.slots[*nth].is_last_resort(place, now)).collect();
        // In words, before any of it changes.
        let others = untried().filter_map(|nth| {
            let name = self.slots[nth].provider.name();
            let left_alone = self.slots[nth].left_alone(place, now).map(|why| format!("{name} is left alone: {why}"));
            Some((nth, left_alone.or_else(|| full.contains(&nth).then(|| format!("{name} is full")))?))
        });
        let others: Vec<_> = others.collect();
        for (mut places, how) in [(free, ""), (full.clone(), "; it is full"), (last, "; the last resort")] {
            while let Some(chosen) = choose(&places, &weights, dice) {
                let nth = places.remove(chosen);
                let slot = &self.slots[nth];
                let how = if slot.is_half_open(place, now) { "; a probe" } else { how };
                // Another job may have become the probe of one meanwhile.
                if slot.enter(place, now) {
                    let why = format!("{}{how}{}", self.why(nth, &weights, tried), about(nth, &others));
                    return Some(Picked { slot: Arc::clone(slot), why });
                }
            }
        }
        None
    }

    /// How it was chosen, and who was left for it.
    fn why(&self, nth: usize, weights: &Weights, tried: Tried<'_>) -> String {
        let how = match (self.slots.len(), self.is_weighted) {
            (1, _) => "the only provider".to_owned(),
            (_, true) => format!("weight {} of {WHOLE}", weights.of(nth)),
            (_, false) => format!("number {} in order", nth + 1),
        };
        let left = tried.names.last().zip(tried.last).map(|(name, reason)| format!("; {name} was left: {reason}"));
        format!("route {}: {how}{}", self.name, left.unwrap_or_default())
    }
}

/// What is to be said of the others.
fn about(chosen: usize, all: &[(usize, String)]) -> String {
    all.iter().filter(|(nth, _)| *nth != chosen).map(|(_, words)| format!("; {words}")).collect()
}

fn is_among(slot: &Slot, names: &[String]) -> bool {
    names.iter().any(|name| name == slot.provider.name())
}

/// One of these places by its part of the traffic; the first where none of them has any.
fn choose(places: &[usize], weights: &Weights, dice: f64) -> Option<usize> {
    let sum: f64 = places.iter().map(|place| f64::from(weights.of(*place))).sum();
    let mut left = dice.clamp(0.0, 1.0) * sum;
    let chosen = places.iter().position(|place| {
        left -= f64::from(weights.of(*place));
        left < 0.0
    });
    chosen.or((!places.is_empty()).then_some(0))
}

fn places(
    name: &str,
    list: &[Share],
    channel: Channel,
    slots: &[Arc<Slot>],
    problems: &mut Vec<String>,
) -> Vec<(Arc<Slot>, Option<u32>)> {
    let carries = |slot: &&Arc<Slot>| slot.provider.channels().contains(&channel);
    if list.is_empty() {
        return slots.iter().filter(carries).map(|slot| (Arc::clone(slot), None)).collect();
    }
    let mut places = Vec::new();
    for Share { provider, weight } in list {
        match slots.iter().find(|slot| slot.provider.name() == provider) {
            Some(slot) if carries(&slot) => places.push((Arc::clone(slot), *weight)),
            Some(_) => problems.push(format!("{name}: {provider} does not carry {channel}")),
            None => problems.push(format!("{name}: there is no provider {provider}; see [providers]")),
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_shared_by_weight() {
        let weights = Weights::new(&[70, 0, 30]);
        let all = [0, 1, 2];
        for (dice, expected) in [(0.0, 0), (0.69, 0), (0.71, 2), (0.999, 2)] {
            assert_eq!(choose(&all, &weights, dice), Some(expected), "{dice}");
        }
        assert_eq!(choose(&[1, 2], &weights, 0.0), Some(1), "who has no part is not chosen");
    }

    #[test]
    fn where_nobody_has_a_part_the_order_counts() {
        let weights = Weights::new(&[0, 0, 0]);
        assert_eq!(choose(&[0, 1, 2], &weights, 0.9), Some(0));
        assert_eq!(choose(&[1, 2], &weights, 0.9), Some(0));
        assert_eq!(choose(&[], &weights, 0.9), None);
    }
}
