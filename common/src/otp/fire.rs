//! Firing: a fallback whose turn has come takes its limits and its token and is claimed, all at once or not at all.

use std::collections::HashMap;
use std::time::Duration;

use super::chain::{self, ALREADY_DELIVERED, Dispatches, Fallback, Fired, REPLACED};
use super::changes::Changes;
use super::claim::{Claimed, Unclaimed, dead, hold};
use super::ids::{DispatchId, ProjectId, VerificationId};
use super::limits::Window;
use super::relay;
use super::rows::{Charge, Counters, Dispatch, Index, Indexes, LimitTimes, Verification};
use super::schedule;
use super::status::DispatchStatus;
use super::time::Timestamp;

const TARGET_LIMITED: &str = "target limited";
const INSUFFICIENT_TOKENS: &str = "insufficient tokens";

/// A fallback that a worker wants to send.
#[derive(Debug, Clone)]
pub struct Fire {
    pub dispatch: DispatchId,
    pub lease: Duration,
    /// What guards its target; `None` for targets that nothing guards.
    pub limit: Option<TargetLimit>,
}

/// The windows of a target that a fallback moves. One to a target that its chain has gone to before leaves the cooldown
/// alone: the chain has a pace of its own.
#[derive(Debug, Clone)]
pub struct TargetLimit {
    pub key: Indexes,
    pub windows: [Option<Window>; 3],
}

/// The limits of a batch, all dispatches of its verifications, and its projects, locked; and those verifications.
#[derive(Debug, Default)]
pub struct Found {
    pub limits: HashMap<Index, LimitTimes>,
    pub dispatches: Dispatches,
    pub verifications: HashMap<VerificationId, Verification>,
    pub projects: HashMap<ProjectId, Counters>,
}

/// A claim of each fallback's first attempt, for those whose turn it is.
#[must_use]
pub fn decide(now: Timestamp, found: Found, batch: &[Fire]) -> (Vec<Result<Claimed, Unclaimed>>, Changes) {
    let mut decider = Decider { now, found, changes: Changes::at(now) };
    let answers = batch.iter().map(|fire| decider.one(fire)).collect();
    (answers, decider.changes)
}

struct Decider {
    now: Timestamp,
    found: Found,
    changes: Changes,
}

/// Whether it is a fallback's turn.
enum Turn {
    Now(Fired),
    NotBefore(Timestamp),
    /// One before it has arrived.
    Never,
}

impl Decider {
    fn one(&mut self, fire: &Fire) -> Result<Claimed, Unclaimed> {
        let waiting = self.found.dispatches.get(&fire.dispatch).cloned().ok_or(Unclaimed::Unknown)?;
        let verification = self.found.verifications.get(&waiting.id.verification).cloned();
        let verification = verification.ok_or(Unclaimed::Unknown)?;
        let fallback = waiting.fallback.filter(|_| waiting.status == DispatchStatus::Waiting);
        let fallback = fallback.ok_or(Unclaimed::Taken)?;
        if let Some(reason) = dead(&verification, self.now) {
            return Err(self.end(&waiting, &verification, DispatchStatus::Expired, reason));
        }
        let fired = match self.turn(&waiting, fallback) {
            Turn::Now(fired) => fired,
            Turn::NotBefore(at) => {
                chain::retime(&mut self.changes, &mut self.found.dispatches, &verification, &waiting, at);
                return Err(Unclaimed::Waiting);
            }
            Turn::Never => {
                return Err(self.end(&waiting, &verification, DispatchStatus::Expired, ALREADY_DELIVERED));
            }
        };
        let replaced = self.replaced(&waiting, fallback);
        if let Err(reason) = self.take(fire, &waiting, &replaced) {
            return Err(self.end(&waiting, &verification, DispatchStatus::Failed, reason));
        }
        let fallback = Fallback { at: self.now, fired: Some(fired), ..fallback };
        let dispatch = self.fire(fire, &waiting, fallback, &replaced);
        let lease_end = dispatch.lease.unwrap_or(self.now);
        self.changes.due.insert(dispatch.id, chain::due(&dispatch, lease_end, &verification));
        self.pace(&dispatch, &verification);
        Ok(Claimed { dispatch, verification })
    }

    fn turn(&self, waiting: &Dispatch, fallback: Fallback) -> Turn {
        let before = (fallback.first..waiting.id.n).rev();
        let before = before.filter_map(|n| self.found.dispatches.get(&DispatchId { n, ..waiting.id }));
        let mut before = before.peekable();
        let last = before.peek().copied();
        if before.any(|dispatch| dispatch.status == DispatchStatus::Delivered) {
            return Turn::Never;
        }
        let time = last.and_then(chain::out_since).map(|since| since + fallback.after);
        match (last.map(|dispatch| dispatch.status), time) {
            (Some(DispatchStatus::Undelivered), _) => Turn::Now(Fired::Undelivered),
            (Some(DispatchStatus::Failed), _) => Turn::Now(Fired::Failed),
            (Some(DispatchStatus::Expired), _) => Turn::Now(Fired::Expired),
            (_, Some(time)) if self.now >= time => Turn::Now(Fired::NotDelivered),
            (_, Some(time)) => Turn::NotBefore(time),
            // It is late itself, for nobody has tried it yet: what it is given counts from when somebody does.
            (_, None) => Turn::NotBefore(fallback.at.max(self.now + schedule::FIRST_RELAY)),
        }
    }

    /// What no provider has accepted so far of its chain, and no worker holds: it goes out in their stead. What one holds ends
    /// with the attempt it makes.
    fn replaced(&self, waiting: &Dispatch, fallback: Fallback) -> Vec<Dispatch> {
        let before = (fallback.first..waiting.id.n).map(|n| DispatchId { n, ..waiting.id });
        let before = before.filter_map(|id| self.found.dispatches.get(&id));
        let is_open = |one: &&Dispatch| matches!(one.status, DispatchStatus::Queued | DispatchStatus::Sending);
        before.filter(|one| is_open(one) && !one.is_held(self.now)).cloned().collect()
    }

    /// Takes limits and token, or says which of them there is none of and takes nothing.
    fn take(&mut self, fire: &Fire, waiting: &Dispatch, replaced: &[Dispatch]) -> Result<(), &'static str> {
        let mut taken = None;
        if let Some(limit) = &fire.limit {
            let mut times = limit.key.times(&self.found.limits);
            for (time, window) in times.iter_mut().zip(&limit.windows) {
                if let Some(window) = window {
                    *time = window.take(*time, self.now).map_err(|_| TARGET_LIMITED)?;
                }
            }
            taken = Some((limit.key.newest, times));
        }
        let counters = self.found.projects.get_mut(&waiting.project).ok_or(INSUFFICIENT_TOKENS)?;
        let returned = replaced.iter().filter(|one| one.charge == Charge::Reserved).count();
        let used = counters.used - i64::try_from(returned).unwrap_or(0);
        if counters.tokens.is_some_and(|tokens| used >= tokens) {
            return Err(INSUFFICIENT_TOKENS);
        }
        counters.used = used + 1;
        self.changes.project(waiting.project).used += 1;
        if let Some((key, times)) = taken {
            self.found.limits.insert(key, times);
            self.changes.limits.insert(key, times);
        }
        Ok(())
    }

    /// The claim itself: from here on it is its verification's newest dispatch.
    fn fire(&mut self, fire: &Fire, waiting: &Dispatch, fallback: Fallback, replaced: &[Dispatch]) -> Dispatch {
        let mut after = hold(waiting, self.now, fire.lease);
        after.fallback = Some(fallback);
        after.charge = Charge::Reserved;
        after.newest = true;
        let of_verification = |one: &&Dispatch| one.id.verification == waiting.id.verification;
        let newest = self.found.dispatches.values().filter(of_verification).find(|one| one.newest).cloned();
        if let Some(newest) = &newest {
            self.put(newest, Dispatch { newest: false, ..newest.clone() });
        }
        self.changes.stats.moved(newest.as_ref(), &after);
        self.put(waiting, after.clone());
        for one in replaced {
            let (one, attempt) = match one.lease {
                Some(_) => relay::end_lease(self.now, one),
                None => (one.clone(), None),
            };
            self.changes.attempts.extend(attempt.map(|attempt| (attempt.id, attempt)));
            let before = Dispatch { newest: false, ..one };
            let ended = self.changes.end_unsent(&before, DispatchStatus::Expired, REPLACED);
            self.found.dispatches.insert(ended.id, ended);
        }
        after
    }

    /// Those behind a fallback that went out are given their time from then on.
    fn pace(&mut self, fired: &Dispatch, verification: &Verification) {
        let next = chain::next(&self.found.dispatches, fired);
        if let Some((next, fallback)) = next.and_then(|next| Some((next.clone(), next.fallback?))) {
            let at = self.now + fallback.after;
            chain::retime(&mut self.changes, &mut self.found.dispatches, verification, &next, at);
        }
    }

    fn end(
        &mut self,
        waiting: &Dispatch,
        verification: &Verification,
        status: DispatchStatus,
        reason: &str,
    ) -> Unclaimed {
        let after = self.changes.end_unsent(waiting, status, reason);
        self.found.dispatches.insert(after.id, after.clone());
        let (changes, dispatches) = (&mut self.changes, &mut self.found.dispatches);
        chain::follow(self.now, changes, dispatches, Some(verification), &after);
        Unclaimed::Over
    }

    fn put(&mut self, before: &Dispatch, after: Dispatch) {
        self.changes.put_dispatch(before, after.clone());
        self.found.dispatches.insert(after.id, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otp::channel::{Channel, Mode};
    use crate::otp::rows::{Sealed, State};

    const T0: Timestamp = Timestamp::from_ms(1_752_402_600_000);

    fn verification(project: ProjectId) -> Verification {
        Verification {
            id: VerificationId::new(T0),
            project,
            mode: Mode::Live,
            channel: Channel::Sms,
            country: None,
            record: String::new(),
            locale: String::new(),
            target: Sealed(vec![]),
            target_tag: [0; 16],
            key_id: 0,
            code_hash: [0; 32],
            code: Some(Sealed(vec![])),
            guesses: 0,
            budget: 5,
            carried: None,
            sends: 1,
            expires: T0 + Duration::from_secs(300),
            state: State::Open,
            closed: None,
            session: false,
            own_code: false,
        }
    }

    /// The first one, or a fallback 20 s after the one before; all that have gone out were tried when that was due.
    fn dispatch(of: &Verification, n: i16, status: DispatchStatus) -> Dispatch {
        let at = T0 + Duration::from_secs(20) * u32::from(n.unsigned_abs() - 1);
        let fired = (status != DispatchStatus::Waiting).then_some(Fired::NotDelivered);
        let fallback = Fallback { first: 1, after: Duration::from_secs(20), at, fired };
        Dispatch {
            id: DispatchId { verification: of.id, n },
            project: of.project,
            mode: of.mode,
            channel: of.channel,
            target: None,
            newest: n == 1,
            status,
            attempt: 0,
            lease: None,
            first_attempt: (status != DispatchStatus::Waiting).then_some(at),
            pass: 0,
            tried: Vec::new(),
            ambiguous: 0,
            provider: None,
            reason: None,
            charge: if status == DispatchStatus::Waiting { Charge::Untaken } else { Charge::Settled },
            created: T0,
            sent: None,
            delivered: None,
            fallback: (n > 1).then_some(fallback),
        }
    }

    /// What comes of firing the last of a chain, whose others are in these states, so many seconds after the send.
    fn fire(seconds: u64, before: &[DispatchStatus]) -> (Result<Option<Fired>, Unclaimed>, DispatchStatus) {
        let of = verification(ProjectId::from_row(uuid::Uuid::nil()));
        let before: Vec<_> = (1..).zip(before).map(|(n, status)| dispatch(&of, n, *status)).collect();
        let (answer, after) = fire_after(seconds, of, before);
        (answer, after.map_or(DispatchStatus::Waiting, |after| after.status))
    }

    /// The same behind these dispatches, with the row as it is written.
    fn fire_after(
        seconds: u64,
        of: Verification,
        before: Vec<Dispatch>,
    ) -> (Result<Option<Fired>, Unclaimed>, Option<Dispatch>) {
        let number = i16::try_from(before.len() + 1).expect("few");
        let waiting = dispatch(&of, number, DispatchStatus::Waiting);
        let last = waiting.id;
        let all = before.into_iter().chain([waiting]);
        let found = Found {
            limits: HashMap::new(),
            dispatches: all.map(|one| (one.id, one)).collect(),
            projects: [(of.project, Counters { tokens: None, used: 0, rate: T0 })].into(),
            verifications: [(of.id, of)].into(),
        };
        let fire = Fire { dispatch: last, lease: Duration::from_secs(15), limit: None };
        let (mut answers, mut changes) = decide(T0 + Duration::from_secs(seconds), found, &[fire]);
        let fired = answers.remove(0).map(|claimed| claimed.dispatch.fallback.and_then(|fallback| fallback.fired));
        (fired, changes.dispatches.remove(&last))
    }

    #[track_caller]
    fn goes_out(seconds: u64, before: &[DispatchStatus], because: Fired) {
        assert_eq!(fire(seconds, before), (Ok(Some(because)), DispatchStatus::Sending));
    }

    #[track_caller]
    fn does_not(seconds: u64, before: &[DispatchStatus], why: Unclaimed, status: DispatchStatus) {
        assert_eq!(fire(seconds, before), (Err(why), status));
    }

    #[test]
    fn its_turn_follows_from_what_became_of_those_before() {
        use DispatchStatus::{Delivered, Expired, Failed, Queued, Sending, Sent, Undelivered, Waiting};
        for status in [Queued, Sending, Sent] {
            does_not(19, &[status], Unclaimed::Waiting, Waiting);
            goes_out(20, &[status], Fired::NotDelivered);
        }
        goes_out(1, &[Failed], Fired::Failed);
        goes_out(1, &[Expired], Fired::Expired);
        goes_out(1, &[Undelivered], Fired::Undelivered);
        goes_out(40, &[Failed, Sent], Fired::NotDelivered);
        goes_out(1, &[Sent, Failed], Fired::Failed);
        does_not(39, &[Failed, Sent], Unclaimed::Waiting, Waiting);
        does_not(100, &[Sent, Waiting], Unclaimed::Waiting, Waiting);
        // Whoever ends what waits may not have come to it yet: what has arrived counts, wherever it stands.
        does_not(20, &[Delivered], Unclaimed::Over, Expired);
        does_not(40, &[Delivered, Failed], Unclaimed::Over, Expired);
        does_not(40, &[Failed, Delivered], Unclaimed::Over, Expired);
        does_not(280, &[Failed], Unclaimed::Over, Expired);
    }

    #[test]
    fn it_is_given_its_time_from_when_the_one_before_went_out() {
        use DispatchStatus::{Queued, Sending, Sent};
        let of = verification(ProjectId::from_row(uuid::Uuid::nil()));
        let then = |seconds| T0 + Duration::from_secs(seconds);
        // Tried and handed over so many seconds after the send.
        let fire = |seconds, status, tried: Option<u64>, sent: Option<u64>| {
            let first = dispatch(&of, 1, status);
            let first = Dispatch { first_attempt: tried.map(then), sent: sent.map(then), ..first };
            let (answer, after) = fire_after(seconds, of.clone(), vec![first]);
            (answer, after.and_then(|after| after.fallback).map(|fallback| fallback.at))
        };
        for (status, tried, sent, time) in
            [(Sending, 25, None, 45), (Queued, 25, None, 45), (Sent, 25, Some(33), 53), (Sent, 0, Some(0), 20)]
        {
            assert_eq!(fire(time - 1, status, Some(tried), sent), (Err(Unclaimed::Waiting), Some(then(time))));
            assert_eq!(fire(time, status, Some(tried), sent), (Ok(Some(Fired::NotDelivered)), Some(then(time))));
        }
        assert_eq!(fire(100, Queued, None, None), (Err(Unclaimed::Waiting), Some(then(105))), "nobody has tried it");
    }
}
