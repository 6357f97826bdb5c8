//! How providers fare in each country: from this worker's own calls and from what the store knows of receipts and right
//! codes. Every few seconds the weights of the routes follow it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::otp::time::Timestamp;
use common::store::Store;
use common::store::carried::{Carried, CarriedSince, Counts};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::place::Place;
use crate::route::Routes;
use crate::telemetry;
use crate::weights::Fare;

/// How often the clock is looked at, and how often the weights.
const TICK: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(10);

/// Calls that are remembered, and how old they may be.
const CALLS: usize = 500;
const CALLS_AGE: Duration = Duration::from_secs(60);
/// It fails when so many calls did, and these are so many of a hundred.
const FAILURES: usize = 5;
const FAILING: usize = 10;
/// It answers slowly when its mean is above this.
const SLOW_ANSWER: Duration = Duration::from_secs(2);

/// A message that has not arrived so long after it was handed over is late.
pub const LATE: Duration = Duration::from_secs(30);
/// Messages are looked at that were handed over within this time.
pub const RECEIPTS_AGE: Duration = Duration::from_secs(180);
/// Receipts are slow when so many are known and so many of a hundred are late.
const RECEIPTS: u32 = 20;
const SLOW_RECEIPTS: u32 = 15;
/// A receipt so lately shows that it sends any.
const TOLD_AGE: Duration = Duration::from_secs(3600);

/// A code that was not used so long after it was handed over will not be.
pub const SETTLED: Duration = Duration::from_secs(120);
pub const CODES_AGE: Duration = Duration::from_secs(900);
/// So many codes are enough to compare the share of them that came back with the best other provider's, half of which
/// is too little.
const CODES: u32 = 30;

/// One call, and how long it took.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    at: Timestamp,
    took: Duration,
    worked: bool,
}

/// This worker's calls of one provider for one country, lately.
#[derive(Debug, Default)]
pub struct Calls(VecDeque<Outcome>);

impl Calls {
    pub fn note(&mut self, at: Timestamp, took: Duration, worked: bool) {
        self.0.push_back(Outcome { at, took, worked });
        self.forget(at);
    }

    fn forget(&mut self, now: Timestamp) {
        let is_old = |outcome: &Outcome| now.since(outcome.at) > CALLS_AGE;
        while self.0.len() > CALLS || self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
    }

    /// How these calls went, as of now.
    pub fn fare(&mut self, now: Timestamp) -> Fare {
        self.forget(now);
        let (calls, failures) = (self.0.len(), self.0.iter().filter(|outcome| !outcome.worked).count());
        let took: Duration = self.0.iter().map(|outcome| outcome.took).sum();
        if failures >= FAILURES && failures * 100 >= calls * FAILING {
            Fare::Badly("errors")
        } else if calls >= FAILURES && took / u32::try_from(calls).unwrap_or(u32::MAX) > SLOW_ANSWER {
            Fare::Badly("slow answers")
        } else {
            Fare::Well
        }
    }
}

/// When a provider last told of a delivery, however late, at a place.
#[derive(Debug, Default)]
pub struct Told(HashMap<(String, Place), Timestamp>);

impl Told {
    fn note(&mut self, carried: &[Carried], now: Timestamp) {
        for row in carried.iter().filter(|row| row.counts.delivered > 0) {
            self.0.insert((row.provider.clone(), place(row)), now);
        }
        self.0.retain(|_, told| now.since(*told) < TOLD_AGE);
    }

    fn knows(&self, row: &Carried) -> bool {
        self.0.contains_key(&(row.provider.clone(), place(row)))
    }
}

fn place(row: &Carried) -> Place {
    Place::new(row.channel, row.country.as_deref().unwrap_or_default())
}

/// How providers fare by what the store knows of one place. Only who sends receipts there can be late.
#[must_use]
pub fn by_store(providers: &[&str], at: &Place, carried: &[Carried], told: &Told) -> Vec<Fare> {
    let row = |name: &str| carried.iter().find(|row| row.provider == name && place(row) == *at);
    let rates: Vec<_> = providers.iter().map(|name| row(name).and_then(rate)).collect();
    let fare = |(nth, name): (usize, &&str)| {
        let Some(known) = row(name) else { return Fare::Well };
        let Counts { handed, in_time, .. } = known.counts;
        let late = handed.saturating_sub(in_time);
        if told.knows(known) && handed >= RECEIPTS && late * 100 >= handed * SLOW_RECEIPTS {
            return Fare::Badly("slow or missing receipts");
        }
        let others = rates.iter().enumerate().filter(|(other, _)| *other != nth).filter_map(|(_, rate)| *rate);
        let best = others.fold(0.0, f64::max);
        match rates[nth] {
            Some(rate) if rate * 2.0 < best => Fare::Badly("few codes come back"),
            _ => Fare::Well,
        }
    };
    providers.iter().enumerate().map(fare).collect()
}

/// The share of codes that came back, where enough are known.
fn rate(row: &Carried) -> Option<f64> {
    let Counts { asked, verified, .. } = row.counts;
    (asked >= CODES).then(|| f64::from(verified) / f64::from(asked))
}

/// Lets the weights follow how providers fare, until `stop`.
pub async fn run(routes: Arc<Routes>, store: Store, clock: Clock, stop: CancellationToken) {
    let mut told = Told::default();
    let mut last: Option<Timestamp> = None;
    let mut is_blind = false;
    while tokio::time::timeout(TICK, stop.cancelled()).await.is_err() {
        let now = clock.now();
        if !routes.has_choice() || last.is_some_and(|last| now.since(last) < EVERY) {
            continue;
        }
        last = Some(now);
        let since = CarriedSince { now, late: LATE, receipts: RECEIPTS_AGE, settled: SETTLED, codes: CODES_AGE };
        // Without the store the worker's own calls still tell something.
        let carried = store.carried(&since).await.unwrap_or_else(|error| {
            if !is_blind {
                warn!(%error, "the store does not say how providers fare: only this worker's own calls tell");
            }
            is_blind = true;
            Vec::new()
        });
        is_blind = is_blind && carried.is_empty();
        told.note(&carried, now);
        follow(&routes, &carried, &told, now);
    }
}

fn follow(routes: &Routes, carried: &[Carried], told: &Told, now: Timestamp) {
    for route in routes.choices() {
        for country in route.countries() {
            let (names, place) = (route.names(), Place::new(route.channel(), &country));
            let by_store = by_store(&names, &place, carried, told);
            // Who is left alone carries nothing, however well that went.
            let by_calls = route.slots().iter().map(|slot| match slot.left_alone(&place, now) {
                Some(reason) => Fare::Badly(reason),
                None => slot.fare(&place, now),
            });
            let worse = |(own, known): (Fare, Fare)| if own == Fare::Well { known } else { own };
            let fares: Vec<_> = by_calls.zip(by_store).map(worse).collect();
            let Some(step) = route.step(&country, now, &fares) else { continue };
            let (from, to) = (names[step.from], names[step.to]);
            info!(route = route.name(), country, from, to, points = step.points, why = step.why, "traffic was moved");
            for (nth, name) in names.iter().enumerate() {
                telemetry::weight(route.name(), &country, name, route.weight(&country, nth));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use common::otp::channel::Channel;

    use super::*;

    const T0: Timestamp = Timestamp::from_ms(10_000_000);

    fn calls(failures: usize, successes: usize, took_ms: u64) -> Calls {
        let mut calls = Calls::default();
        for nth in 0..failures + successes {
            calls.note(T0, Duration::from_millis(took_ms), nth >= failures);
        }
        calls
    }

    #[test]
    fn a_few_failures_among_many_calls_are_no_bad_sign() {
        assert_eq!(calls(4, 0, 10).fare(T0), Fare::Well);
        assert_eq!(calls(5, 0, 10).fare(T0), Fare::Badly("errors"));
        assert_eq!(calls(5, 45, 10).fare(T0), Fare::Badly("errors"));
        assert_eq!(calls(5, 46, 10).fare(T0), Fare::Well);
        assert_eq!(calls(5, 0, 10).fare(T0 + Duration::from_secs(61)), Fare::Well, "that was long ago");
    }

    #[test]
    fn a_provider_that_takes_long_is_noticed() {
        assert_eq!(calls(0, 5, 2001).fare(T0), Fare::Badly("slow answers"));
        assert_eq!(calls(0, 5, 2000).fare(T0), Fare::Well);
        assert_eq!(calls(0, 4, 9000).fare(T0), Fare::Well, "too few to tell");
    }

    fn carried(provider: &str, country: &str, [handed, in_time, asked, verified]: [u32; 4]) -> Carried {
        let counts = Counts { handed, in_time, delivered: in_time, asked, verified };
        let country = Some(country.to_owned()).filter(|country| !country.is_empty());
        Carried { provider: provider.to_owned(), channel: Channel::Sms, country, counts }
    }

    fn at(country: &str) -> Place {
        Place::new(Channel::Sms, country)
    }

    fn told(rows: &[Carried]) -> Told {
        let mut told = Told::default();
        told.note(rows, T0);
        told
    }

    #[test]
    fn late_receipts_are_noticed_where_receipts_come() {
        let known = told(&[carried("a", "UZ", [1, 1, 0, 0])]);
        let bad = Fare::Badly("slow or missing receipts");
        for (row, expected) in
            [([20, 17, 0, 0], bad), ([20, 18, 0, 0], Fare::Well), ([20, 0, 0, 0], bad), ([19, 0, 0, 0], Fare::Well)]
        {
            let fares = by_store(&["a", "b"], &at("UZ"), &[carried("a", "UZ", row)], &known);
            assert_eq!(fares, [expected, Fare::Well], "{row:?}");
        }
        let rows = [carried("a", "US", [100, 0, 0, 0]), carried("b", "UZ", [100, 0, 0, 0])];
        assert_eq!(by_store(&["a", "b"], &at("US"), &rows, &known), [Fare::Well; 2], "none ever came from there");
        assert_eq!(by_store(&["a", "b"], &at("UZ"), &rows, &known), [Fare::Well; 2]);
    }

    #[test]
    fn receipts_that_all_come_late_are_receipts() {
        let mut row = carried("a", "UZ", [20, 0, 0, 0]);
        assert_eq!(by_store(&["a"], &at("UZ"), &[row.clone()], &told(&[row.clone()])), [Fare::Well]);
        row.counts.delivered = 20;
        let bad = Fare::Badly("slow or missing receipts");
        assert_eq!(by_store(&["a"], &at("UZ"), &[row.clone()], &told(&[row])), [bad]);
    }

    #[test]
    fn one_channel_says_nothing_of_another() {
        let mut whatsapp = carried("a", "UZ", [20, 1, 0, 0]);
        whatsapp.channel = Channel::Whatsapp;
        let rows = [whatsapp, carried("a", "UZ", [20, 0, 0, 0])];
        assert_eq!(by_store(&["a", "b"], &at("UZ"), &rows, &told(&rows)), [Fare::Well; 2]);
    }

    #[test]
    fn what_told_long_ago_is_forgotten() {
        let mut known = told(&[carried("a", "UZ", [1, 1, 0, 0])]);
        known.note(&[], T0 + TOLD_AGE);
        assert!(!known.knows(&carried("a", "UZ", [0, 0, 0, 0])));
    }

    #[test]
    fn codes_that_do_not_come_back_are_compared_with_the_best() {
        let none = Told::default();
        let bad = Fare::Badly("few codes come back");
        for (a, b, expected) in [
            ([100, 39], [100, 80], [bad, Fare::Well]),
            ([100, 40], [100, 80], [Fare::Well; 2]),
            ([29, 0], [100, 80], [Fare::Well; 2]),
            ([100, 0], [29, 29], [Fare::Well; 2]),
            ([100, 0], [100, 0], [Fare::Well; 2]),
        ] {
            let rows = [carried("a", "", [0, 0, a[0], a[1]]), carried("b", "", [0, 0, b[0], b[1]])];
            assert_eq!(by_store(&["a", "b"], &at(""), &rows, &none), expected, "{a:?} {b:?}");
        }
    }
}
