//! The rows of one verification in memory: decisions are written to them as a store would.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use common::otp::accept::{self, Accept};
use common::otp::cancel::{self, ByHand};
use common::otp::chain::Planned;
use common::otp::changes::{Changes, Dimension};
use common::otp::channel::{Channel, Mode};
use common::otp::claim::{self, Claim, Claimed, Unclaimed};
use common::otp::code::Code;
use common::otp::finish::{self, Call, Failure, Finish, Finished, Handed, Next};
use common::otp::fire::{self, Fire, TargetLimit};
use common::otp::guess::{self, Guess};
use common::otp::ids::{AttemptId, DispatchId, ProjectId, VerificationId};
use common::otp::limits::Window;
use common::otp::provider_error::Cause;
use common::otp::receipt;
use common::otp::relay;
use common::otp::retry;
use common::otp::rows::{
    Attempt, Counters, Dispatch, Due, Index, Indexes, LimitTimes, OpenTarget, OpenTargetKey, Receipt, Sealed, State,
    Verification,
};
use common::otp::settings::ProjectSettings;
use common::otp::status::ReceiptStatus;
use common::otp::time::Timestamp;
use common::tenancy::new_project_id;

const T0: Timestamp = Timestamp::from_ms(1_752_402_600_000);
pub(crate) const LEASE: Duration = Duration::from_secs(15);
const TARGET: Index = [1; 16];

pub(crate) struct Rows {
    pub(crate) now: Timestamp,
    project: ProjectId,
    counters: Counters,
    id: Option<VerificationId>,
    verifications: HashMap<VerificationId, Verification>,
    dispatches: BTreeMap<DispatchId, Dispatch>,
    attempts: HashMap<AttemptId, Attempt>,
    due: BTreeMap<DispatchId, Due>,
    limits: HashMap<Index, LimitTimes>,
    open_targets: HashMap<OpenTargetKey, OpenTarget>,
    statuses: BTreeMap<String, i64>,
    /// Attempts that a worker has claimed and not reported, however long ago.
    held: Vec<AttemptId>,
}

impl Rows {
    pub(crate) fn new(tokens: i64) -> Self {
        Self {
            now: T0,
            project: new_project_id(),
            counters: Counters { tokens: Some(tokens), used: 0, rate: Timestamp::default() },
            id: None,
            verifications: HashMap::new(),
            dispatches: BTreeMap::new(),
            attempts: HashMap::new(),
            due: BTreeMap::new(),
            limits: HashMap::new(),
            open_targets: HashMap::new(),
            statuses: BTreeMap::new(),
            held: Vec::new(),
        }
    }

    pub(crate) fn verification(&self) -> &Verification {
        &self.verifications[&self.id.expect("one was opened")]
    }

    /// Of the one verification that is looked at.
    pub(crate) fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        self.dispatches.values()
    }

    pub(crate) const fn tokens_used(&self) -> i64 {
        self.counters.used
    }

    pub(crate) fn due(&self, id: DispatchId) -> bool {
        self.due.contains_key(&id)
    }

    /// How many there are in each status, without those that there are none of.
    pub(crate) fn counted(&self) -> Vec<(String, i64)> {
        self.statuses.iter().filter(|(_, count)| **count != 0).map(|(status, count)| (status.clone(), *count)).collect()
    }

    /// Sends, or sends again what is open. What would open another verification is left alone.
    pub(crate) fn send(&mut self, fallbacks: u8) {
        let request = self.request(fallbacks);
        let by_verification = self.id.map(|id| (id, self.dispatches.values().cloned().collect()));
        let found = accept::Found {
            open_targets: self.open_targets.clone(),
            verifications: self.verifications.clone(),
            dispatches: by_verification.into_iter().collect(),
            projects: [(self.project, self.counters)].into(),
            ..accept::Found::default()
        };
        let (answers, changes) = accept::decide(self.now, found, &[request]);
        let Ok(accepted) = &answers[0] else { return };
        if self.id.is_none_or(|id| id == accepted.dispatch.verification) {
            self.id = Some(accepted.dispatch.verification);
            self.write(&changes);
        }
    }

    fn request(&self, fallbacks: u8) -> Accept {
        let planned = |n| Planned { channel: Channel::ALL[n], after: Duration::from_secs(20), target: None };
        let candidate = Verification {
            id: VerificationId::new(self.now),
            project: self.project,
            mode: Mode::Live,
            channel: Channel::Sms,
            country: None,
            record: String::new(),
            locale: "en".to_owned(),
            target: Sealed(vec![1]),
            target_tag: TARGET,
            key_id: 1,
            code_hash: [1; 32],
            code: Some(Sealed(vec![1])),
            guesses: 0,
            budget: 5,
            carried: None,
            sends: 1,
            expires: self.now + Duration::from_secs(300),
            state: State::Open,
            closed: None,
            session: false,
            own_code: false,
        };
        Accept {
            settings: Arc::new(ProjectSettings::default()),
            target: only(TARGET),
            subject: None,
            limits: vec![],
            idempotency: None,
            candidate,
            fallbacks: (0..usize::from(fallbacks)).map(planned).collect(),
        }
    }

    fn nth(&self, n: u8) -> Dispatch {
        let count = self.dispatches.len();
        self.dispatches.values().nth(usize::from(n) % count).cloned().expect("one at least")
    }

    fn all(&self) -> HashMap<DispatchId, Dispatch> {
        self.dispatches.clone().into_iter().collect()
    }

    pub(crate) fn claim(&mut self, n: u8) -> Result<Claimed, Unclaimed> {
        let dispatch = self.nth(n);
        let attempt = AttemptId { dispatch: dispatch.id, n: dispatch.attempt + 1 };
        let found = claim::Found { dispatches: self.all(), verifications: self.verifications.clone() };
        let (mut answers, changes) = claim::decide(self.now, found, &[Claim { attempt, lease: LEASE }]);
        self.write(&changes);
        self.hold(answers.remove(0))
    }

    fn hold(&mut self, answer: Result<Claimed, Unclaimed>) -> Result<Claimed, Unclaimed> {
        self.held.extend(answer.as_ref().ok().map(Claimed::attempt));
        answer
    }

    /// The dispatch as it was, and what came of firing it; `None` where that is no fallback.
    pub(crate) fn fire(&mut self, n: u8, limited: bool) -> Option<(Dispatch, Result<Claimed, Unclaimed>)> {
        let before = self.nth(n);
        before.fallback?;
        let day = Window::new(1, Duration::from_secs(86_400));
        let limit = limited.then(|| TargetLimit { key: only([2; 16]), windows: [None, None, Some(day)] });
        let found = fire::Found {
            limits: self.limits.clone(),
            dispatches: self.all(),
            verifications: self.verifications.clone(),
            projects: [(self.project, self.counters)].into(),
        };
        let (mut answers, changes) =
            fire::decide(self.now, found, &[Fire { dispatch: before.id, lease: LEASE, limit }]);
        self.write(&changes);
        let answer = self.hold(answers.remove(0));
        Some((before, answer))
    }

    /// Reports one of the attempts that were claimed: `Ok` says whether it is known to have arrived.
    /// Answers the next attempt where that was claimed at once.
    pub(crate) fn finish(&mut self, n: u8, outcome: Result<bool, Cause>, next: Next) -> Option<DispatchId> {
        if self.held.is_empty() {
            return None;
        }
        let attempt = self.held.remove(usize::from(n) % self.held.len());
        let handed = |delivered| Handed { message_id: Some(attempt.to_string()), delivered };
        let outcome = outcome.map(handed).map_err(|cause| Failure { cause, detail: String::new() });
        let call =
            Call { provider: "acme".to_owned(), chosen: String::new(), started: self.now, finished: self.now, outcome };
        let found = finish::Found {
            dispatches: self.all(),
            verifications: self.verifications.clone(),
            attempts: self.attempts.clone(),
            parked: HashMap::new(),
        };
        let (mut answers, changes) = finish::decide(self.now, found, &[Finish { attempt, call: Some(call), next }]);
        self.write(&changes);
        let Finished::Current { next: Some(claimed), .. } = answers.remove(0) else { return None };
        self.hold(Ok(*claimed)).ok().map(|claimed| claimed.dispatch.id)
    }

    /// A receipt of the last attempt of a dispatch.
    pub(crate) fn receive(&mut self, n: u8, status: ReceiptStatus) {
        let dispatch = self.nth(n);
        let attempt = AttemptId { dispatch: dispatch.id, n: dispatch.attempt };
        let receipt = Receipt {
            id: uuid::Uuid::now_v7(),
            provider: "acme".to_owned(),
            message_id: attempt.to_string(),
            attempt: Some(attempt),
            status,
            detail: None,
            received: self.now,
        };
        let found = receipt::Found {
            message_ids: HashMap::new(),
            attempts: self.attempts.clone(),
            dispatches: self.all(),
            verifications: self.verifications.clone(),
        };
        let (_, changes) = receipt::decide(self.now, found, &[receipt]);
        self.write(&changes);
    }

    pub(crate) fn relay(&mut self) {
        let due = self.due.values().filter(|due| due.at <= self.now);
        let due: Vec<_> = due.map(|due| (due.clone(), self.dispatches[&due.dispatch].clone())).collect();
        let attempts = self.attempts.clone();
        let found = relay::Found { attempts, due, verifications: self.verifications.clone(), chains: self.all() };
        let (_, changes) = relay::decide(self.now, found, 100, || 0.5);
        self.write(&changes);
    }

    pub(crate) fn guess(&mut self, right: bool) {
        let id = self.verification().id;
        let guess = Guess {
            project: self.project,
            modes: Mode::Live.visible(),
            target: only(TARGET),
            record: None,
            by_id: None,
            code: Code::parse("123456").expect("a code"),
            erase: false,
            limits: vec![],
        };
        let dispatches = [(id, self.dispatches.values().cloned().collect())].into();
        let found = guess::Found { verifications: self.verifications.clone(), dispatches, ..guess::Found::default() };
        let (_, changes) = guess::decide(self.now, found, &[guess], vec![Ok(id)], |_, _| right);
        self.write(&changes);
    }

    pub(crate) fn cancel(&mut self) {
        let dispatches: Vec<_> = self.dispatches.values().cloned().collect();
        let (_, changes) = cancel::decide(self.now, self.verification(), &dispatches, ByHand::Cancel);
        self.write(&changes);
    }

    pub(crate) fn retry(&mut self, n: u8) {
        let dispatch = self.nth(n);
        if let Ok(changes) = retry::decide(self.now, &dispatch, &self.all(), self.verification(), self.counters) {
            self.write(&changes);
        }
    }

    fn write(&mut self, changes: &Changes) {
        self.limits.extend(changes.limits.clone());
        self.open_targets.extend(changes.open_targets.clone());
        self.verifications.extend(changes.new_verifications.clone());
        self.verifications.extend(changes.verifications.clone());
        self.dispatches.extend(changes.new_dispatches.clone());
        self.dispatches.extend(changes.dispatches.clone());
        self.attempts.extend(changes.attempts.clone());
        for id in &changes.done {
            self.due.remove(id);
        }
        self.due.extend(changes.due.clone());
        for change in changes.projects.values() {
            self.counters.used += change.used;
        }
        for (key, by) in changes.stats.sorted() {
            if key.dimension == Dimension::Status {
                *self.statuses.entry(key.value.clone()).or_default() += by;
            }
        }
    }
}

fn only(newest: Index) -> Indexes {
    Indexes { newest, older: Box::default() }
}
