//! How the traffic of one route and country is shared: it moves away from a provider that fares badly, a step at a time,
//! and back when all is calm. Pure. The rules are those of GOV.UK Notify, scaled from minutes to seconds.

use std::time::Duration;

use common::otp::time::Timestamp;

/// What all weights of a route are together, and how much moves at once.
pub const WHOLE: u16 = 100;
const STEP: u16 = 10;
/// One step at a time: that long nothing moves after it.
const STEP_EVERY: Duration = Duration::from_secs(30);
/// Nothing moves back before nobody has fared badly for so long, and then so often.
const CALM: Duration = Duration::from_secs(180);
const BACK_EVERY: Duration = Duration::from_secs(60);

/// How a provider fares, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fare {
    Well,
    Badly(&'static str),
}

/// What was moved, from one place in the route to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    pub from: usize,
    pub to: usize,
    pub points: u16,
    pub why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    resting: Vec<u16>,
    now: Vec<u16>,
    changed: Option<Timestamp>,
    calm_since: Option<Timestamp>,
}

impl Weights {
    /// Of parts that may have any sum; where there is none, the first place has all.
    #[must_use]
    pub fn new(parts: &[u32]) -> Self {
        let resting = shares(parts);
        Self { now: resting.clone(), resting, changed: None, calm_since: None }
    }

    #[must_use]
    pub fn of(&self, place: usize) -> u16 {
        self.now.get(place).copied().unwrap_or_default()
    }

    /// Moves what is to be moved now, if anything.
    pub fn step(&mut self, now: Timestamp, fares: &[Fare]) -> Option<Move> {
        let bad = |place: &usize| matches!(fares.get(*place), Some(Fare::Badly(_)));
        let waited = |time: Duration| self.changed.is_none_or(|changed| now.since(changed) >= time);
        let all = 0..self.now.len();
        // Who has nothing to give any more keeps nobody from calm.
        if !all.clone().any(|place| bad(&place) && self.of(place) > 0) {
            let calm_since = *self.calm_since.get_or_insert(now);
            let is_due = now.since(calm_since) >= CALM && waited(BACK_EVERY);
            return if is_due { self.go_back(now, bad) } else { None };
        }
        self.calm_since = None;
        if !waited(STEP_EVERY) {
            return None;
        }
        let from = all.clone().filter(bad).max_by_key(|place| self.of(*place)).filter(|place| self.of(*place) > 0)?;
        // To whoever carries most of those that fare well; nobody is better off when all fare badly.
        let to = all.rev().filter(|place| !bad(place)).max_by_key(|place| self.resting.get(*place))?;
        let why = match fares.get(from) {
            Some(Fare::Badly(why)) => why,
            _ => "",
        };
        Some(self.shift(now, Move { from, to, points: STEP.min(self.of(from)), why }))
    }

    /// Only who does not fare badly gets anything back.
    fn go_back(&mut self, now: Timestamp, bad: impl Fn(&usize) -> bool) -> Option<Move> {
        let excess = |place: &usize| i32::from(self.of(*place)) - i32::from(self.resting[*place]);
        let from = (0..self.now.len()).max_by_key(excess)?;
        let to = (0..self.now.len()).filter(|place| !bad(place)).min_by_key(excess)?;
        let points = excess(&from).min(-excess(&to)).min(STEP.into());
        let points = u16::try_from(points).ok().filter(|points| *points > 0)?;
        Some(self.shift(now, Move { from, to, points, why: "all is calm" }))
    }

    fn shift(&mut self, now: Timestamp, step: Move) -> Move {
        self.now[step.from] -= step.points;
        self.now[step.to] += step.points;
        self.changed = Some(now);
        step
    }
}

/// Whole parts of [`WHOLE`]; what rounding leaves goes to the first places.
fn shares(parts: &[u32]) -> Vec<u16> {
    let sum: u64 = parts.iter().map(|part| u64::from(*part)).sum();
    let mut shares: Vec<u16> = match sum {
        0 => parts.iter().map(|_| 0).collect(),
        sum => {
            let share = |part: &u32| u64::from(*part) * u64::from(WHOLE) / sum;
            parts.iter().map(|part| u16::try_from(share(part)).unwrap_or_default()).collect()
        }
    };
    let left = WHOLE - shares.iter().sum::<u16>();
    if sum == 0 {
        shares.first_mut().into_iter().for_each(|first| *first = left);
    } else {
        let used = shares.iter_mut().zip(parts).filter(|(_, part)| **part > 0);
        used.take(left.into()).for_each(|(share, _)| *share += 1);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T0: Timestamp = Timestamp::from_ms(1_000_000);
    const SLOW: Fare = Fare::Badly("slow");

    fn at(seconds: u64) -> Timestamp {
        T0 + Duration::from_secs(seconds)
    }

    fn now(weights: &Weights) -> Vec<u16> {
        weights.now.clone()
    }

    #[test]
    fn parts_become_shares_of_the_whole() {
        for (parts, expected) in [
            (vec![70, 30], vec![70, 30]),
            (vec![1, 1, 1], vec![34, 33, 33]),
            (vec![0, 0], vec![100, 0]),
            (vec![0, 5], vec![0, 100]),
            (vec![1000, 1], vec![100, 0]),
            (vec![], vec![]),
        ] {
            assert_eq!(Weights::new(&parts).now, expected, "{parts:?}");
        }
    }

    #[test]
    fn a_bounded_step_at_a_time_leaves_who_fares_badly() {
        let mut weights = Weights::new(&[70, 30]);
        let first = Move { from: 0, to: 1, points: 10, why: "slow" };
        assert_eq!(weights.step(T0, &[SLOW, Fare::Well]), Some(first));
        assert_eq!(weights.step(at(29), &[SLOW, Fare::Well]), None);
        assert_eq!(weights.step(at(30), &[SLOW, Fare::Well]), Some(first));
        assert_eq!(now(&weights), [50, 50]);
    }

    #[test]
    fn nothing_moves_when_all_fare_badly_or_nothing_is_left() {
        let mut weights = Weights::new(&[70, 30]);
        assert_eq!(weights.step(T0, &[SLOW, SLOW]), None);
        let mut weights = Weights::new(&[0, 0]);
        assert_eq!(weights.step(T0, &[Fare::Well, SLOW]), None);
    }

    #[test]
    fn who_carries_most_of_the_others_takes_over() {
        let mut weights = Weights::new(&[100, 0, 0]);
        weights.step(T0, &[SLOW, Fare::Well, Fare::Well]);
        assert_eq!(now(&weights), [90, 10, 0]);
        let mut weights = Weights::new(&[60, 10, 30]);
        weights.step(T0, &[SLOW, Fare::Well, Fare::Well]);
        assert_eq!(now(&weights), [50, 10, 40]);
        let mut weights = Weights::new(&[100, 0, 0]);
        weights.step(T0, &[SLOW, SLOW, Fare::Well]);
        assert_eq!(now(&weights), [90, 0, 10]);
    }

    #[test]
    fn it_drifts_back_when_calm() {
        let mut weights = Weights::new(&[70, 30]);
        weights.step(T0, &[SLOW, Fare::Well]);
        weights.step(at(30), &[SLOW, Fare::Well]);
        let calm = [Fare::Well, Fare::Well];
        assert_eq!(weights.step(at(40), &calm), None);
        assert_eq!(weights.step(at(219), &calm), None);
        let back = Move { from: 1, to: 0, points: 10, why: "all is calm" };
        assert_eq!(weights.step(at(220), &calm), Some(back));
        assert_eq!(weights.step(at(279), &calm), None);
        assert_eq!(weights.step(at(280), &calm), Some(back));
        assert_eq!(now(&weights), [70, 30]);
        assert_eq!(weights.step(at(999), &calm), None);
    }

    #[test]
    fn who_lost_all_and_still_fares_badly_keeps_nobody_from_going_back() {
        let mut weights = Weights::new(&[60, 30, 10]);
        weights.step(T0, &[Fare::Well, Fare::Well, SLOW]);
        weights.step(at(30), &[Fare::Well, SLOW, SLOW]);
        assert_eq!(now(&weights), [80, 20, 0]);
        for seconds in (60..600).step_by(30) {
            weights.step(at(seconds), &[Fare::Well, Fare::Well, SLOW]);
        }
        assert_eq!(now(&weights), [70, 30, 0]);
    }

    #[test]
    fn one_bad_moment_begins_the_calm_anew() {
        let mut weights = Weights::new(&[70, 30]);
        weights.step(T0, &[SLOW, Fare::Well]);
        weights.step(at(40), &[Fare::Well, Fare::Well]);
        weights.step(at(100), &[Fare::Well, SLOW]);
        weights.step(at(110), &[Fare::Well, Fare::Well]);
        assert_eq!(now(&weights), [70, 30]);
        assert_eq!(weights.step(at(240), &[Fare::Well, Fare::Well]), None);
    }

    proptest! {
        #[test]
        fn the_whole_stays_whole_and_every_step_is_small(
            parts in proptest::collection::vec(0_u32..1000, 1..6),
            turns in proptest::collection::vec((1_u64..120, proptest::collection::vec(any::<bool>(), 6)), 0..60),
        ) {
            let mut weights = Weights::new(&parts);
            let mut time = T0;
            for (wait, bad) in turns {
                time = time + Duration::from_secs(wait);
                let before = weights.now.clone();
                let fares: Vec<_> = bad.iter().map(|bad| if *bad { SLOW } else { Fare::Well }).collect();
                weights.step(time, &fares[..parts.len()]);
                prop_assert_eq!(weights.now.iter().sum::<u16>(), WHOLE);
                prop_assert!(weights.now.iter().zip(&before).all(|(now, before)| now.abs_diff(*before) <= STEP));
            }
            // However it went, calm brings it home.
            for nth in 0..200 {
                weights.step(time + Duration::from_secs(60 * nth), &vec![Fare::Well; parts.len()]);
            }
            prop_assert_eq!(&weights.now, &weights.resting);
        }
    }
}
