//! Accepting sends: a batch of requests against the rows they touch, decided one by one in the order they came.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

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

/// One request to send. It carries a whole new verification, used unless it turns out to be a resend.
#[derive(Debug, Clone)]
pub struct Accept {
    pub settings: Arc<ProjectSettings>,
    pub target: Indexes,
    pub limits: Vec<Limit>,
    pub idempotency: Option<Idempotency>,
    pub candidate: Verification,
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

    /// Where its open verification stands, newest key first.
    pub fn open_target_keys(&self) -> impl Iterator<Item = OpenTargetKey> + '_ {
        self.target.all().map(|target| OpenTargetKey {
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
    let mut decider = Decider { now, found, changes: Changes::default() };
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
        let open = self.open(request);
        let resend = open.as_ref().filter(|open| self.is_resend(request, open));
        if let Some(open) = &open {
            self.may_send_again(request, open)?;
        }
        let taken = self.take_limits(request)?;
        self.has_token(request)?;

        let (verification, dispatch) = match resend {
            Some(open) => self.resend(request, open),
            None => self.start(request, open.as_ref()),
        };
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

    fn open(&self, request: &Accept) -> Option<Verification> {
        let pointers = request.open_target_keys().filter_map(|key| self.found.open_targets.get(&key));
        let mut verifications = pointers.filter_map(|pointer| self.found.verifications.get(&pointer.verification));
        verifications.find(|verification| verification.is_open(self.now)).cloned()
    }

    fn is_resend(&self, request: &Accept, open: &Verification) -> bool {
        let left = open.expires.since(self.now);
        !request.settings.new_code_on_resend && left >= schedule::too_short_to_resend(open.life())
    }

    fn may_send_again(&self, request: &Accept, open: &Verification) -> Result<(), Refusal> {
        if open.guesses_left(self.now) == 0 {
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
            let mut times = self.times(limit);
            for (time, window) in times.iter_mut().zip(&limit.windows) {
                *time =
                    window.take(*time, self.now).map_err(|exhausted| Refusal::Limited { by: limit.name, exhausted })?;
                standings.push(window.standing(*time, self.now));
            }
            limits.push((limit.key.newest, times));
        }
        Ok(Taken { limits, rate, standing: tightest(standings) })
    }

    /// A subject's windows under whichever key has counted most.
    fn times(&self, limit: &Limit) -> LimitTimes {
        let rows = limit.key.all().filter_map(|key| self.found.limits.get(&key));
        rows.fold(LimitTimes::default(), |most, row| std::array::from_fn(|i| most[i].max(row[i])))
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
        let mut before = None;
        for dispatch in self.found.dispatches.entry(open.id).or_default() {
            if dispatch.newest {
                before = Some(dispatch.clone());
                dispatch.newest = false;
                self.changes.put_dispatch(&dispatch.clone(), dispatch.clone());
            }
        }
        let dispatch = new_dispatch(&verification, request.candidate.channel, self.now);
        self.changes.stats.moved(before.as_ref(), &dispatch);
        self.changes.put_verification(verification.clone());
        (verification, dispatch)
    }

    fn start(&mut self, request: &Accept, open: Option<&Verification>) -> (Verification, Dispatch) {
        let mut verification = request.candidate.clone();
        if let Some(old) = open {
            let left = old.guesses_left(self.now);
            verification.carried = Some(CarriedGuesses { left, until: old.expires });
            self.supersede(old);
        }
        let dispatch = new_dispatch(&verification, verification.channel, self.now);
        self.changes.stats.opened(&verification);
        self.changes.stats.moved(None, &dispatch);
        self.changes.new_verifications.insert(verification.id, verification.clone());
        for key in request.open_target_keys().take(1) {
            let row = OpenTarget { key: key.clone(), verification: verification.id, expires: verification.expires };
            self.found.open_targets.insert(key.clone(), row.clone());
            self.changes.open_targets.insert(key, row);
        }
        (verification, dispatch)
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
        self.changes.new_dispatches.insert(id, dispatch.clone());
        self.found.dispatches.entry(verification.id).or_default().push(dispatch);
        self.found.verifications.insert(verification.id, verification.clone());
        Accepted { dispatch: id, expires_in, standing: taken.standing, replayed: false, deadline }
    }
}

fn new_dispatch(verification: &Verification, channel: Channel, now: Timestamp) -> Dispatch {
    Dispatch {
        id: verification.newest_dispatch(),
        project: verification.project,
        mode: verification.mode,
        channel,
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
    }
}
