//! Decisions over a batch of 64, and what is made for each send.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use common::keys::{IndexKind, Keyring};
use common::otp::accept::{self, Accept, Idempotency};
use common::otp::channel::{Channel, Mode};
use common::otp::claim::{self, Claim};
use common::otp::code::Code;
use common::otp::finish::{self, Call, Finish, Handed, Next};
use common::otp::guess::{self, Guess};
use common::otp::ids::{AttemptId, ProjectId, VerificationId};
use common::otp::rows::{Counters, Dispatch, Limit, LimitName, OpenTarget, Sealed, State, Verification};
use common::otp::settings::ProjectSettings;
use common::otp::target::{Strictness, Target};
use common::otp::time::Timestamp;
use common::tenancy::new_project_id;
use secrecy::SecretString;

use super::Repeat;

const BATCH: usize = 64;
/// 2025-07-13T10:30:00Z.
pub(super) const NOW: Timestamp = Timestamp::from_ms(1_752_402_600_000);
const LEASE: Duration = Duration::from_secs(15);

struct World {
    keys: Keyring,
    project: ProjectId,
    settings: Arc<ProjectSettings>,
}

impl World {
    fn new() -> Self {
        let keys = Keyring::new(&SecretString::from("07".repeat(32)), &[]).expect("a root key");
        Self { keys, project: new_project_id(), settings: Arc::new(ProjectSettings::default()) }
    }

    /// Sends to so many targets, with limits and an idempotency key each, as the v1 door makes them.
    fn sends(&self) -> Vec<Accept> {
        (0..BATCH).map(|n| self.send(&format!("+49151{n:08}"), n)).collect()
    }

    fn send(&self, target: &str, n: usize) -> Accept {
        let id = VerificationId::new(NOW);
        let code = Code::parse("012345").expect("a code");
        let project = self.project.as_uuid();
        let index = |kind| self.keys.indexes(kind, &[project.as_bytes(), target.as_bytes()]);
        let candidate = Verification {
            id,
            project: self.project,
            mode: Mode::Live,
            channel: Channel::Sms,
            country: Some("DE".to_owned()),
            record: String::new(),
            locale: "en".to_owned(),
            target: Sealed(vec![7; 48]),
            target_tag: index(IndexKind::TargetLimit).newest,
            key_id: self.keys.newest_id(),
            code_hash: self.keys.code_hash(self.project, id, &code),
            code: Some(Sealed(vec![7; 40])),
            guesses: 0,
            budget: self.settings.guesses.into(),
            carried: None,
            sends: 1,
            expires: NOW + self.settings.life(),
            state: State::Open,
            closed: None,
            session: false,
            own_code: false,
        };
        let limit = Limit {
            name: LimitName::Target,
            key: index(IndexKind::TargetLimit),
            windows: self.settings.target_windows().into(),
        };
        let key = self.keys.indexes(IndexKind::Idempotency, &[project.as_bytes(), &n.to_be_bytes()]);
        Accept {
            settings: Arc::clone(&self.settings),
            target: index(IndexKind::Target),
            subject: None,
            limits: vec![limit],
            idempotency: Some(Idempotency { key, requests: vec![[7; 32]] }),
            candidate,
            fallbacks: vec![],
        }
    }

    /// What the store finds for sends to targets that nobody has sent to.
    fn before(&self) -> accept::Found {
        let counters = Counters { tokens: None, used: 0, rate: Timestamp::default() };
        accept::Found { projects: [(self.project, counters)].into(), ..accept::Found::default() }
    }

    /// Verifications and their dispatches as they are after a batch of sends.
    fn accepted(&self) -> Vec<(Accept, Dispatch)> {
        let sends = self.sends();
        let (_, changes) = accept::decide(NOW, self.before(), &sends);
        let dispatches = changes.new_dispatches;
        let of =
            |send: &Accept| dispatches.values().find(|dispatch| dispatch.id.verification == send.candidate.id).cloned();
        sends.iter().filter_map(|send| Some((send.clone(), of(send)?))).collect()
    }
}

pub(super) fn accept() -> Repeat {
    let world = World::new();
    let sends = world.sends();
    Box::new(move || {
        black_box(accept::decide(NOW, world.before(), &sends));
    })
}

/// Choosing what each guess is at, and comparing: every second one is right.
pub(super) fn guess() -> Repeat {
    let world = World::new();
    let accepted = world.accepted();
    let guesses: Vec<Guess> = accepted
        .iter()
        .enumerate()
        .map(|(n, (send, _))| Guess {
            project: world.project,
            modes: Mode::Live.visible(),
            target: send.target.clone(),
            record: None,
            by_id: None,
            code: Code::parse(if n % 2 == 0 { "012345" } else { "999999" }).expect("a code"),
            erase: false,
            limits: send.limits.clone(),
        })
        .collect();
    let open_targets = accepted.iter().filter_map(|(send, _)| {
        let key = send.open_target_keys().next()?;
        let target = key.target;
        Some((target, vec![OpenTarget { key, verification: send.candidate.id, expires: send.candidate.expires }]))
    });
    let open_targets = open_targets.collect();
    let verifications = accepted.iter().map(|(send, _)| (send.candidate.id, send.candidate.clone()));
    let found = guess::Found { open_targets, verifications: verifications.collect(), ..guess::Found::default() };
    let dispatches = accepted.iter().map(|(send, dispatch)| (send.candidate.id, vec![dispatch.clone()]));
    let dispatches: std::collections::HashMap<_, _> = dispatches.collect();
    Box::new(move || {
        let chosen = guess::choose(NOW, &found, &guesses);
        let matches = |verification: &Verification, code: &Code| world.keys.code_matches(verification, code);
        let ending = guess::may_end(&found.verifications, &guesses, &chosen, matches);
        let of = |id: VerificationId| Some((id, dispatches.get(&id)?.clone()));
        let dispatches = ending.into_iter().filter_map(of).collect();
        let found = guess::Found { verifications: found.verifications.clone(), dispatches, ..guess::Found::default() };
        black_box(guess::decide(NOW, found, &guesses, chosen, matches));
    })
}

pub(super) fn claim() -> Repeat {
    let accepted = World::new().accepted();
    let claims = accepted.iter().map(|(_, dispatch)| Claim { attempt: first(dispatch), lease: LEASE });
    let claims: Vec<_> = claims.collect();
    Box::new(move || {
        let mut found = claim::Found::default();
        for (send, dispatch) in &accepted {
            found.dispatches.insert(dispatch.id, dispatch.clone());
            found.verifications.insert(send.candidate.id, send.candidate.clone());
        }
        black_box(claim::decide(NOW, found, &claims));
    })
}

/// Messages that a provider has taken, at the ends of their first attempts.
pub(super) fn finish() -> Repeat {
    let accepted = World::new().accepted();
    let finishes: Vec<_> = accepted.iter().enumerate().map(|(n, (_, dispatch))| taken(first(dispatch), n)).collect();
    Box::new(move || {
        let mut found = finish::Found::default();
        for (send, dispatch) in &accepted {
            let held = Dispatch { attempt: 1, lease: Some(NOW + LEASE), ..dispatch.clone() };
            found.dispatches.insert(held.id, held);
            found.verifications.insert(send.candidate.id, send.candidate.clone());
        }
        black_box(finish::decide(NOW, found, &finishes));
    })
}

const fn first(dispatch: &Dispatch) -> AttemptId {
    AttemptId { dispatch: dispatch.id, n: 1 }
}

fn taken(attempt: AttemptId, n: usize) -> Finish {
    let call = Call {
        provider: "acme".to_owned(),
        chosen: "route sms: the only provider".to_owned(),
        started: NOW,
        finished: NOW,
        outcome: Ok(Handed { message_id: Some(format!("m{n}")), delivered: false }),
    };
    Finish { attempt, call: Some(call), next: Next::Done }
}

/// Codes drawn, hashed and sealed. So many, because the crypto library begins with work of no fixed length: it gathers chance.
pub(super) fn codes() -> Repeat {
    let world = World::new();
    let id = VerificationId::new(NOW);
    Box::new(move || {
        for _ in 0..1000 {
            let code = Code::generate(&mut rand::rng(), 6);
            black_box(world.keys.code_hash(world.project, id, &code));
            black_box(world.keys.seal_code(id, &code)).expect("sealed");
        }
    })
}

pub(super) fn phone() -> Repeat {
    Box::new(|| {
        let parsed = Target::parse(Channel::Sms, black_box("+4915112345678"), None, Strictness::Valid { magic: false });
        black_box(parsed).expect("a phone number");
    })
}
