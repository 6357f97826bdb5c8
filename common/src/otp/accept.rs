//! Accepting sends: a batch of requests against the rows they touch, decided one by one in the order they came.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::chain::{self, Planned};
use super::changes::Changes;
use super::channel::{Channel, Mode};
use super::close;
use super::ids::{DispatchId, ProjectId, VerificationId};
use super::limits::{Exhausted, Standing, tightest};
use super::rows::{
    CarriedGuesses, Charge, Counters, Dispatch, Due, IdempotencyKey, Index, Indexes, Limit, LimitName, LimitTimes,
    OpenTarget, OpenTargetKey, Remembered, State, Verification,
};
use super::schedule;
use super::settings::ProjectSettings;
use super::status::DispatchStatus;
use super::time::Timestamp;

/// How long the first reply to an idempotency key is given again.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Why what waits behind an earlier send of a verification ends.
const SENT_AGAIN: &str = "sent again";

/// One request to send. It carries a whole new verification, used unless it turns out to be a resend.
#[derive(Debug, Clone)]
pub struct Accept {
    pub settings: Arc<ProjectSettings>,
    pub target: Indexes,
    /// Blind indexes of a record id that has one open verification at most, whatever its target: a send to another
    /// target supersedes.
    pub subject: Option<Indexes>,
    pub limits: Vec<Limit>,
    pub idempotency: Option<Idempotency>,
    pub candidate: Verification,
    /// What goes out, one after the other, where the one before it does not arrive.
    pub fallbacks: Vec<Planned>,
}

#[derive(Debug, Clone)]
pub struct Idempotency {
    pub key: Indexes,
    /// Keyed hashes of the canonical request, under the newest root first.
    pub requests: Vec<[u8; 32]>,
}

impl Accept {
    #[must_use]
    pub const fn project(&self) -> ProjectId {
        self.candidate.project
    }

    fn mode(&self) -> Mode {
        self.candidate.mode
    }

    /// Every pointer it may follow or write: of its target, and of its subject where it has one.
    pub fn open_target_keys(&self) -> impl Iterator<Item = OpenTargetKey> + '_ {
        std::iter::once(&self.target).chain(&self.subject).flat_map(|indexes| self.pointers(indexes))
    }

    /// Where an open verification of these indexes stands, newest key first.
    fn pointers<'a>(&'a self, indexes: &'a Indexes) -> impl Iterator<Item = OpenTargetKey> + 'a {
        indexes.all().map(|target| OpenTargetKey {
            project: self.project(),
            target,
            record: self.candidate.record.clone(),
            mode: self.mode(),
        })
    }

    pub fn idempotency_keys(&self) -> impl Iterator<Item = IdempotencyKey> + '_ {
        let keys = self.idempotency.iter().flat_map(|idempotency| idempotency.key.all());
        keys.map(|key| IdempotencyKey { project: self.project(), mode: self.mode(), key })
    }
}

/// What the reply tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub dispatch: DispatchId,
    /// Seconds that the code still lives, rounded up.
    pub expires_in: i32,
    /// The tightest limit; absent on a replay and where no limit applies.
    pub standing: Option<Standing>,
    /// The reply to an earlier request with this idempotency key: nothing was sent for this one.
    pub replayed: bool,
    pub deadline: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The idempotency key was used for another request.
    KeyReused,
    Limited {
        by: LimitName,
        exhausted: Exhausted,
    },
    /// The open verification has no guess left; until then.
    TooManyAttempts {
        retry_after: Duration,
    },
    /// The open verification has been sent as often as it may.
    TooManySends {
        retry_after: Duration,
    },
    InsufficientTokens,
}

/// The rows a batch touches. `Decider` keeps them as the batch changes them.
#[derive(Debug, Default)]
pub struct Found {
    pub limits: HashMap<Index, LimitTimes>,
    pub remembered: HashMap<IdempotencyKey, Remembered>,
    pub open_targets: HashMap<OpenTargetKey, OpenTarget>,
    pub verifications: HashMap<VerificationId, Verification>,
    pub dispatches: HashMap<VerificationId, Vec<Dispatch>>,
    pub projects: HashMap<ProjectId, Counters>,
}

/// Decides a batch. A refused request changes nothing.
#[must_use]
pub fn decide(now: Timestamp, found: Found, batch: &[Accept]) -> (Vec<Result<Accepted, Refusal>>, Changes) {
    let mut decider = Decider { now, found, changes: Changes::at(now) };
    let answers = batch.iter().map(|request| decider.one(request)).collect();
    (answers, decider.changes)
}

struct Decider {
    now: Timestamp,
    found: Found,
    changes: Changes,
}

/// The windows a request would move, and where they would stand.
struct Taken {
    limits: Vec<(Index, LimitTimes)>,
    rate: Timestamp,
    standing: Option<Standing>,
}

impl Decider {
    fn one(&mut self, request: &Accept) -> Result<Accepted, Refusal> {
        if let Some(remembered) = self.replay(request)? {
            return Ok(remembered);
        }
        let open = self.open(request, &request.target);
        // Its subject's, where that went to another target.
        let other = request.subject.as_ref().and_then(|subject| self.open(request, subject));
        let other = other.filter(|other| open.as_ref().is_none_or(|open| open.id != other.id));
        let resend = open.as_ref().filter(|open| self.is_resend(request, open));
        for open in open.iter().chain(&other) {
            self.may_send_again(request, open)?;
        }
        let taken = self.take_limits(request)?;
        self.has_token(request)?;

        let (verification, dispatch) = match resend {
            Some(open) => {
                other.iter().for_each(|other| self.supersede(other));
                self.resend(request, open)
            }
            None => self.start(request, open.iter().chain(&other)),
        };
        self.point(request, &verification);
        Ok(self.record(request, taken, &verification, dispatch))
    }

    fn replay(&self, request: &Accept) -> Result<Option<Accepted>, Refusal> {
        let Some(idempotency) = &request.idempotency else { return Ok(None) };
        let remembered = request.idempotency_keys().find_map(|key| self.found.remembered.get(&key));
        let Some(first) = remembered.filter(|first| self.now.since(first.created) < REMEMBERED) else {
            return Ok(None);
        };
        if !idempotency.requests.contains(&first.request) {
            return Err(Refusal::KeyReused);
        }
        Ok(Some(Accepted {
            dispatch: first.dispatch,
            expires_in: first.expires_in,
            standing: None,
            replayed: true,
            deadline: self.now,
        }))
    }

    fn open(&self, request: &Accept, indexes: &Indexes) -> Option<Verification> {
        let pointers = request.pointers(indexes).filter_map(|key| self.found.open_targets.get(&key));
        let mut verifications = pointers.filter_map(|pointer| self.found.verifications.get(&pointer.verification));
        verifications.find(|verification| verification.is_open(self.now)).cloned()
    }

    /// A code of the caller's own supersedes what is open and is never sent again.
    fn is_resend(&self, request: &Accept, open: &Verification) -> bool {
        let left = open.expires.since(self.now);
        let needs_session = request.candidate.session && !open.session;
        !request.candidate.own_code
            && !needs_session
            && !request.settings.new_code_on_resend
            && left >= schedule::too_short_to_resend(open.life())
    }

    fn may_send_again(&self, request: &Accept, open: &Verification) -> Result<(), Refusal> {
        if open.guesses_left(self.now) == 0 && !open.is_relayed() {
            return Err(Refusal::TooManyAttempts { retry_after: open.guesses_return(self.now) });
        }
        let retry_after = open.expires.since(self.now);
        if open.sends >= i16::from(request.settings.sends) && self.is_resend(request, open) {
            return Err(Refusal::TooManySends { retry_after });
        }
        Ok(())
    }

    /// Asks every window and moves none: the moves are kept until the request is accepted.
    fn take_limits(&self, request: &Accept) -> Result<Taken, Refusal> {
        let counters = self.found.projects.get(&request.project());
        let stored = counters.map_or(Timestamp::default(), |counters| counters.rate);
        let window = request.settings.rate_window();
        let rate = window
            .take(stored, self.now)
            .map_err(|exhausted| Refusal::Limited { by: LimitName::Project, exhausted })?;
        let mut standings = vec![window.standing(rate, self.now)];
        let mut limits = Vec::with_capacity(request.limits.len());
        for limit in &request.limits {
            let mut times = limit.key.times(&self.found.limits);
            for (time, window) in times.iter_mut().zip(&limit.windows) {
                *time =
                    window.take(*time, self.now).map_err(|exhausted| Refusal::Limited { by: limit.name, exhausted })?;
                standings.push(window.standing(*time, self.now));
            }
            limits.push((limit.key.newest, times));
        }
        Ok(Taken { limits, rate, standing: tightest(standings) })
    }

    fn has_token(&self, request: &Accept) -> Result<(), Refusal> {
        let counters = self.found.projects.get(&request.project()).ok_or(Refusal::InsufficientTokens)?;
        match counters.tokens {
            Some(tokens) if counters.used >= tokens => Err(Refusal::InsufficientTokens),
            _ => Ok(()),
        }
    }

    fn resend(&mut self, request: &Accept, open: &Verification) -> (Verification, Dispatch) {
        let mut verification = open.clone();
        verification.sends += 1;
        let (mut before, mut last) = (None, 0);
        for dispatch in self.found.dispatches.entry(open.id).or_default() {
            last = last.max(dispatch.id.n);
            if dispatch.newest {
                before = Some(dispatch.clone());
                dispatch.newest = false;
                self.changes.put_dispatch(&dispatch.clone(), dispatch.clone());
            }
            // Whoever asks again begins anew, with the fallbacks that belong to that.
            if dispatch.status == DispatchStatus::Waiting {
                *dispatch = self.changes.end_unsent(dispatch, DispatchStatus::Expired, SENT_AGAIN);
            }
        }
        let dispatch = new_dispatch(&verification, last + 1, request.candidate.channel, self.now);
        self.changes.stats.moved(before.as_ref(), &dispatch);
        self.changes.put_verification(verification.clone());
        (verification, dispatch)
    }

    fn start<'a>(
        &mut self,
        request: &Accept,
        open: impl Iterator<Item = &'a Verification>,
    ) -> (Verification, Dispatch) {
        let mut verification = request.candidate.clone();
        for old in open {
            if !old.is_relayed() {
                let left = old.guesses_left(self.now);
                let fewer = verification.carried.filter(|carried| carried.left < left);
                verification.carried = fewer.or(Some(CarriedGuesses { left, until: old.expires }));
            }
            self.supersede(old);
        }
        let dispatch = new_dispatch(&verification, 1, verification.channel, self.now);
        self.changes.stats.opened(&verification);
        self.changes.stats.moved(None, &dispatch);
        self.changes.new_verifications.insert(verification.id, verification.clone());
        (verification, dispatch)
    }

    /// Points target and subject, under the newest key, at the verification they now stand for.
    fn point(&mut self, request: &Accept, verification: &Verification) {
        for indexes in std::iter::once(&request.target).chain(&request.subject) {
            let Some(key) = request.pointers(indexes).next() else { continue };
            let row = OpenTarget { key: key.clone(), verification: verification.id, expires: verification.expires };
            if self.found.open_targets.get(&key).is_none_or(|found| found.verification != verification.id) {
                self.found.open_targets.insert(key.clone(), row.clone());
                self.changes.open_targets.insert(key, row);
            }
        }
    }

    fn supersede(&mut self, old: &Verification) {
        let dispatches = self.found.dispatches.get(&old.id).map_or(&[][..], Vec::as_slice);
        let after = close::close(&mut self.changes, old, dispatches, State::Superseded, "superseded", self.now);
        self.found.verifications.insert(old.id, after);
    }

    fn record(&mut self, request: &Accept, taken: Taken, verification: &Verification, dispatch: Dispatch) -> Accepted {
        let remaining_ms = verification.expires.since(self.now).as_millis();
        let expires_in = i32::try_from(remaining_ms.div_ceil(1000)).unwrap_or(i32::MAX);
        for (key, times) in taken.limits {
            self.found.limits.insert(key, times);
            self.changes.limits.insert(key, times);
        }
        if let Some(counters) = self.found.projects.get_mut(&request.project()) {
            counters.used += 1;
            counters.rate = taken.rate;
        }
        let change = self.changes.project(request.project());
        change.used += 1;
        change.rate = Some(taken.rate);
        if let (Some(idempotency), Some(key)) = (&request.idempotency, request.idempotency_keys().next()) {
            let first = Remembered {
                key: key.clone(),
                request: idempotency.requests.first().copied().unwrap_or_default(),
                dispatch: dispatch.id,
                expires_in,
                created: self.now,
            };
            self.found.remembered.insert(key, first.clone());
            self.changes.remembered.push(first);
        }
        let (id, deadline) = (dispatch.id, verification.deadline());
        let due = Due { dispatch: id, at: self.now + schedule::FIRST_RELAY, deadline, published: 0 };
        self.changes.due.insert(id, due);
        for waiting in chain::plan(&dispatch, &request.fallbacks, deadline) {
            let at = waiting.fallback.map_or(deadline, |fallback| fallback.at);
            self.changes.due.insert(waiting.id, chain::due(&waiting, at, verification));
            self.add(waiting);
        }
        self.add(dispatch);
        self.found.verifications.insert(verification.id, verification.clone());
        Accepted { dispatch: id, expires_in, standing: taken.standing, replayed: false, deadline }
    }

    fn add(&mut self, dispatch: Dispatch) {
        self.changes.new_dispatches.insert(dispatch.id, dispatch.clone());
        self.found.dispatches.entry(dispatch.id.verification).or_default().push(dispatch);
    }
}

fn new_dispatch(verification: &Verification, n: i16, channel: Channel, now: Timestamp) -> Dispatch {
    Dispatch {
        id: DispatchId { verification: verification.id, n },
        project: verification.project,
        mode: verification.mode,
        channel,
        target: None,
        newest: true,
        status: DispatchStatus::Queued,
        attempt: 0,
        lease: None,
        first_attempt: None,
        pass: 0,
        tried: Vec::new(),
        ambiguous: 0,
        provider: None,
        reason: None,
        charge: Charge::Reserved,
        created: now,
        sent: None,
        delivered: None,
        fallback: None,
    }
}
