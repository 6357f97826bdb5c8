//! Checks of the providers while a worker runs: what they find out goes to the metrics, the log and the breakers. What is
//! asked and how it is judged is the providers' affair.

use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::otp::provider_error::Misconfiguration;
use futures_util::future::join_all;
use providers::checkup::{Checkup, Examiner, Fault, Verdict};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::breaker::concerns_every_message;
use crate::route::Routes;
use crate::slot::Slot;
use crate::telemetry;

/// A provider that is broken is asked this often: the check is its probe, so that no message has to be.
const EVERY_WHILE_BROKEN: Duration = Duration::from_secs(60);
/// By which part of it a pause may be longer or shorter, so that several workers do not ask at once.
const JITTER: f64 = 0.2;

/// Checks each provider of the routes at once, and then again and again.
#[derive(Debug)]
pub struct Checks {
    pub routes: Arc<Routes>,
    pub examiner: Examiner,
    pub clock: Clock,
    pub every: Duration,
}

/// What follows from a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// What is known from now on: broken, whole, or nothing yet.
    known: Option<State>,
    /// Whether that is another thing than before.
    is_news: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Broken(Fault),
}

/// What a check says to the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Against,
    For,
    Neither,
}

impl Checks {
    /// Goes on until `stop`; what is being asked then is dropped.
    pub async fn run(self, stop: CancellationToken) {
        let slots = self.routes.all().iter().filter(|slot| !slot.is_played());
        let watched = join_all(slots.map(|slot| self.watch(slot)));
        let _ = stop.run_until_cancelled(watched).await;
    }

    async fn watch(&self, slot: &Slot) {
        let mut known = None;
        loop {
            let checkup = self.examiner.ask(&*slot.provider).await;
            let step = after(known, checkup.verdict());
            self.tell(slot, step, &checkup);
            known = step.known;
            tokio::time::sleep(pause(self.every, known, rand::random())).await;
        }
    }

    fn tell(&self, slot: &Slot, step: Step, checkup: &Checkup) {
        let name = slot.provider.name();
        let is_up = step.known.map(|state| state == State::Whole);
        telemetry::checked(name, is_up, checkup);
        let now = self.clock.now();
        match step.known.map(speaks) {
            Some(Speaks::Against) => slot.breaker.accuse(now, step.is_news),
            Some(Speaks::For) => slot.breaker.absolve(now, step.is_news),
            Some(Speaks::Neither) | None => {}
        }
        telemetry::breaker(name, slot.breaker.position(now));
        log(name, step, checkup);
    }
}

fn log(name: &str, step: Step, checkup: &Checkup) {
    let detail = checkup.detail();
    match step.known {
        Some(State::Broken(fault)) if step.is_news => {
            let (cause, advice) = (fault.as_str(), fault.advice());
            warn!(provider.name = name, cause, detail, %advice, "a provider is broken, says its check");
        }
        Some(State::Whole) if step.is_news => info!(provider.name = name, "a provider works again, says its check"),
        _ => debug!(provider.name = name, verdict = checkup.verdict().as_str(), detail, "a provider was checked"),
    }
}

/// What is known after a check. That a provider works is no news where nothing was known; that it was asked too often
/// says nothing of it.
fn after(known: Option<State>, verdict: Verdict) -> Step {
    let state = match verdict {
        Verdict::Works | Verdict::Doubtful(Fault::ClockSkew(_)) => State::Whole,
        Verdict::Doubtful(_) => return Step { known, is_news: false },
        Verdict::Broken(fault) => State::Broken(fault),
    };
    let is_news = match (known, state) {
        (None, State::Whole) => false,
        // Seconds come and go.
        (Some(State::Broken(Fault::ClockSkew(_))), State::Broken(Fault::ClockSkew(_))) => false,
        (known, state) => known != Some(state),
    };
    Step { known: Some(state), is_news }
}

/// What is known, as far as it concerns every message: who is only away, or refuses one sender, is found out by messages.
const fn speaks(state: State) -> Speaks {
    match state {
        State::Broken(Fault::Misconfigured(what)) if concerns_every_message(what) => Speaks::Against,
        // Such an answer is given to who is known and has paid.
        State::Whole | State::Broken(Fault::Misconfigured(Misconfiguration::Sender) | Fault::ClockSkew(_)) => {
            Speaks::For
        }
        State::Broken(_) => Speaks::Neither,
    }
}

/// The time until the next check; `dice` is in 0..=1.
fn pause(every: Duration, known: Option<State>, dice: f64) -> Duration {
    let every = if matches!(known, Some(State::Broken(_))) { every.min(EVERY_WHILE_BROKEN) } else { every };
    every.mul_f64(1.0 - JITTER + 2.0 * JITTER * dice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOR: Fault = Fault::Misconfigured(Misconfiguration::Balance);
    const UNKNOWN: Fault = Fault::Misconfigured(Misconfiguration::Credentials);

    /// What is known and whether it is news, after each of these checks.
    #[track_caller]
    fn check(verdicts: &[(Verdict, Option<State>, bool)]) {
        let mut known = None;
        for (number, (verdict, expected, is_news)) in verdicts.iter().enumerate() {
            let step = after(known, *verdict);
            assert_eq!(step, Step { known: *expected, is_news: *is_news }, "check {number}");
            known = step.known;
        }
    }

    #[test]
    fn only_a_change_is_news() {
        check(&[
            (Verdict::Works, Some(State::Whole), false),
            (Verdict::Broken(POOR), Some(State::Broken(POOR)), true),
            (Verdict::Broken(POOR), Some(State::Broken(POOR)), false),
            (Verdict::Broken(UNKNOWN), Some(State::Broken(UNKNOWN)), true),
            (Verdict::Works, Some(State::Whole), true),
            (Verdict::Works, Some(State::Whole), false),
        ]);
        check(&[(Verdict::Broken(POOR), Some(State::Broken(POOR)), true)]);
    }

    #[test]
    fn who_was_asked_too_often_is_what_it_was() {
        check(&[
            (Verdict::Doubtful(Fault::Throttled), None, false),
            (Verdict::Broken(POOR), Some(State::Broken(POOR)), true),
            (Verdict::Doubtful(Fault::Throttled), Some(State::Broken(POOR)), false),
        ]);
    }

    #[test]
    fn a_clock_that_is_off_by_other_seconds_is_no_news() {
        let off = Fault::ClockSkew(400);
        let more = Fault::ClockSkew(401);
        check(&[
            (Verdict::Doubtful(Fault::ClockSkew(40)), Some(State::Whole), false),
            (Verdict::Broken(off), Some(State::Broken(off)), true),
            (Verdict::Broken(more), Some(State::Broken(more)), false),
        ]);
    }

    #[test]
    fn only_what_concerns_every_message_speaks_against_a_provider() {
        use Misconfiguration::{Balance, Credentials, Endpoint, IpBlocked, Sender};
        let said = |fault| speaks(State::Broken(fault));
        for what in [Credentials, Balance, IpBlocked] {
            assert_eq!(said(Fault::Misconfigured(what)), Speaks::Against, "{what:?}");
        }
        assert_eq!((speaks(State::Whole), said(Fault::Misconfigured(Sender))), (Speaks::For, Speaks::For));
        assert_eq!(said(Fault::ClockSkew(400)), Speaks::For);
        for fault in [Fault::Misconfigured(Endpoint), Fault::Unreachable, Fault::Unavailable] {
            assert_eq!(said(fault), Speaks::Neither, "{fault:?}");
        }
    }

    #[test]
    fn pauses_are_jittered_and_shorter_while_something_is_broken() {
        let (every, broken) = (Duration::from_secs(300), Some(State::Broken(POOR)));
        for (known, dice, seconds) in
            [(None, 0.0, 240), (Some(State::Whole), 0.5, 300), (None, 1.0, 360), (broken, 0.0, 48), (broken, 1.0, 72)]
        {
            assert_eq!(pause(every, known, dice), Duration::from_secs(seconds), "{known:?} {dice}");
        }
        assert_eq!(pause(Duration::from_secs(5), broken, 0.5), Duration::from_secs(5));
    }
}
