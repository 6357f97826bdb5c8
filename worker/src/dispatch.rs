//! One job from claim to finish, a straight line. What follows from an outcome is decided in `decide`.

mod fire;

use std::sync::Arc;
use std::time::Duration;

use common::batch::{BatchError, Batcher, Pace};
use common::clock::Clock;
use common::config::Routed;
use common::otp::claim::{Claim, Claimed, Unclaimed};
use common::otp::finish::{Call, Failure, Finish, Finished, Handed, Next};
use common::otp::fire::Fire;
use common::otp::ids::AttemptId;
use common::otp::provider_error::Cause;
use common::otp::rows::{Dispatch, Verification};
use common::otp::target::Target;
use common::otp::time::Timestamp;
use common::queue::Job;
use common::retry::RetryPolicy;
use common::store::{Store, StoreError};
use common::tenancy::Directory;
use common::vault::{Vault, VaultError};
use providers::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::decide::{self, Situation};
use crate::message::{Filling, Templates};
use crate::place::Place;
use crate::route::{Picked, Route, Routes, Tried};
use crate::slot::Slot;
use crate::telemetry;

/// What a lease adds to the provider's time, for everything around the call.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// How long what a provider has said waits for what others say: nobody waits for it to be written.
const GATHERED: Pace = Pace { gathered: Duration::from_millis(5), at_once: 1 };
/// When a job is tried again, give or take a half, whose provider had no place for it.
const CROWDED_DELAY: Duration = Duration::from_secs(1);

/// Everything a job needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

/// What a worker is made of.
#[derive(Debug)]
pub struct Parts {
    pub store: Store,
    pub clock: Clock,
    pub directory: Directory,
    pub vault: Vault,
    pub routes: Arc<Routes>,
    pub provider_timeout: Duration,
    /// The public URL of `/receipts`, where receipts can come.
    pub receipts_url: Option<String>,
    pub stop: CancellationToken,
}

#[derive(Debug)]
struct Inner {
    parts: Parts,
    templates: Templates,
    claims: Batcher<Claim, Result<Claimed, Unclaimed>>,
    fires: Batcher<Fire, Result<Claimed, Unclaimed>>,
    finishes: Batcher<Finish, Finished>,
}

/// Whether the job's outcome is committed, so that its message may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Committed,
    /// The program stops while the store is away: the broker keeps the message.
    Undecided,
}

/// Why no provider could be called.
enum NoCall {
    /// None is fit now.
    NoProvider,
    /// The message cannot be made here and now: its key is missing, or the store is away.
    Unready(String),
    /// The provider is busy with as many messages as it may have at once.
    Crowded,
    /// The lease has too little left to be sure of it.
    TooLate,
}

impl Worker {
    /// Starts the batchers of claims, fires and finishes.
    ///
    /// # Errors
    /// When a built-in template is wrong.
    pub fn new(parts: Parts, tasks: &TaskTracker) -> Result<Self, minijinja::Error> {
        let (store, clock) = (parts.store.clone(), parts.clock.clone());
        let claims = Batcher::start("claim", tasks, move |batch: Arc<[Claim]>| {
            let (store, now) = (store.clone(), clock.now());
            async move { store.claim(now, &batch).await }
        });
        let (store, clock) = (parts.store.clone(), parts.clock.clone());
        let fires = Batcher::start("fire", tasks, move |batch: Arc<[Fire]>| {
            let (store, now) = (store.clone(), clock.now());
            async move { store.fire(now, &batch).await }
        });
        let (store, clock) = (parts.store.clone(), parts.clock.clone());
        let finishes = Batcher::start_at("finish", tasks, GATHERED, move |batch: Arc<[Finish]>| {
            let (store, now) = (store.clone(), clock.now());
            async move { store.finish(now, &batch).await }
        });
        let inner = Inner { parts, templates: Templates::new()?, claims, fires, finishes };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Works on a job until its dispatch waits or has ended.
    pub async fn run(&self, job: Job) -> Ended {
        self.work(job).await.unwrap_or_else(|ended| ended)
    }

    /// `Err` when the store was of no help. A fallback whose turn it is then is not left to the relay.
    async fn work(&self, job: Job) -> Result<Ended, Ended> {
        let mut next = Some(job.attempt);
        while let Some(attempt) = next {
            next = self.deliver(attempt).await?.filter(|_| !self.inner.parts.stop.is_cancelled());
        }
        Ok(Ended::Committed)
    }

    /// One dispatch, from this attempt on; answers the first one of its fallback.
    async fn deliver(&self, attempt: AttemptId) -> Result<Option<AttemptId>, Ended> {
        let Ok(claimed) = self.claim(attempt).await? else { return Ok(None) };
        let mut claimed = Box::new(claimed);
        loop {
            let finish = self.attempt(&claimed).await;
            match self.finish(finish).await? {
                Finished::Current { next: Some(next), .. } => claimed = next,
                Finished::Current { fallback, .. } => {
                    return Ok(fallback.map(|dispatch| AttemptId { dispatch, n: 1 }));
                }
                Finished::Late | Finished::Unknown => return Ok(None),
            }
        }
    }

    fn lease(&self) -> Duration {
        self.inner.parts.provider_timeout + LEASE_MARGIN
    }

    fn now(&self) -> Timestamp {
        self.inner.parts.clock.now()
    }

    async fn claim(&self, attempt: AttemptId) -> Result<Result<Claimed, Unclaimed>, Ended> {
        let claim = Claim { attempt, lease: self.lease() };
        let stopping = || self.inner.parts.stop.is_cancelled();
        let mut answer = self.insist("claim", stopping, || self.inner.claims.call(claim)).await?;
        if matches!(answer, Err(Unclaimed::Waiting)) {
            answer = self.fire(attempt.dispatch).await?;
        }
        telemetry::claimed(match &answer {
            Ok(_) => "claimed",
            Err(Unclaimed::Taken) => "taken",
            Err(Unclaimed::Over) => "over",
            Err(Unclaimed::Waiting) => "waiting",
            Err(Unclaimed::Unknown) => "unknown",
        });
        Ok(answer)
    }

    /// What a provider has said is written even while the program stops, for as long as it may take.
    async fn finish(&self, finish: Finish) -> Result<Finished, Ended> {
        let finished = self.insist("finish", || false, || self.inner.finishes.call(finish.clone())).await?;
        if let Finished::Current { dispatch, .. } = &finished {
            match &finish.call {
                Some(Call { outcome: Ok(_), provider, finished, .. }) => {
                    telemetry::handed_over(provider, dispatch, *finished);
                }
                _ if !dispatch.status.is_pending() => telemetry::ended(dispatch.status),
                _ => {}
            }
        }
        Ok(finished)
    }

    /// Calls the store until it answers or nobody wants to know. What it refuses for good ends here too: the lease
    /// ends, and the relay brings the next attempt.
    async fn insist<T, F>(&self, what: &str, given_up: impl Fn() -> bool, call: impl Fn() -> F) -> Result<T, Ended>
    where
        F: Future<Output = Result<T, BatchError>>,
    {
        let mut delays = RetryPolicy::RECONNECT.delays();
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(BatchError::Store(StoreError::Refused(reason))) => {
                    error!(otp.operation = what, error = reason, "the store refused a job's step; its lease will end");
                    return Err(Ended::Committed);
                }
                Err(error) => debug!(otp.operation = what, %error, "the store is away; trying again"),
            }
            if given_up() {
                return Err(Ended::Undecided);
            }
            tokio::time::sleep(delays.next_delay()).await;
        }
    }

    /// One attempt: the message, a provider, its answer, and what follows.
    async fn attempt(&self, claimed: &Claimed) -> Finish {
        let attempt = claimed.attempt();
        let message = match self.message(claimed).await {
            Ok(message) => message,
            Err(problem) => return self.without_call(claimed, problem),
        };
        let route = self.route(&message);
        let place = Place::new(message.channel, message.target.country().unwrap_or_default());
        match self.call(claimed, message, route, &place).await {
            Ok(call) => {
                let mut tried = claimed.dispatch.tried.clone();
                tried.push(call.provider.clone());
                let another_is_fit = route.has_fit(&place, &tried, self.now());
                let next = decide::after_attempt(&call.outcome, self.situation(claimed, another_is_fit));
                log_attempt(claimed, &call, &next);
                Finish { attempt, call: Some(call), next }
            }
            Err(problem) => self.without_call(claimed, problem),
        }
    }

    fn without_call(&self, claimed: &Claimed, problem: NoCall) -> Finish {
        let attempt = claimed.attempt();
        let next = match problem {
            NoCall::NoProvider => decide::without_provider(self.situation(claimed, false)),
            NoCall::Unready(reason) => {
                error!(otp.attempt = %attempt, reason, "the message cannot be made");
                decide::without_provider(self.situation(claimed, false))
            }
            // Whoever was tried before may be fit again by then: it must not wait for this one alone.
            NoCall::Crowded if !claimed.dispatch.tried.is_empty() => {
                decide::without_provider(self.situation(claimed, false))
            }
            NoCall::Crowded => Next::HandBack { at: self.now() + CROWDED_DELAY.mul_f64(0.5 + rand::random::<f64>()) },
            NoCall::TooLate => Next::HandBack { at: self.now() },
        };
        Finish { attempt, call: None, next }
    }

    fn route(&self, message: &Message) -> &Route {
        let routed = Routed {
            project: message.project.as_uuid(),
            channel: message.channel,
            country: message.target.country(),
            target: message.target.canonical(),
        };
        self.inner.parts.routes.of(message.mode, &routed)
    }

    fn situation<'a>(&self, claimed: &'a Claimed, another_is_fit: bool) -> Situation<'a> {
        let (dispatch, now) = (&claimed.dispatch, self.now());
        Situation {
            dispatch,
            now,
            deadline: claimed.verification.deadline(),
            another_is_fit,
            lease: self.lease(),
            dice: rand::random(),
        }
    }

    async fn call(&self, claimed: &Claimed, mut message: Message, route: &Route, at: &Place) -> Result<Call, NoCall> {
        let dispatch = &claimed.dispatch;
        let tried = Tried { names: &dispatch.tried, last: dispatch.reason.as_deref() };
        let picked = route.pick(at, tried, self.now(), rand::random()).ok_or(NoCall::NoProvider)?;
        let slot = &picked.slot;
        message.callback = self.callback(slot, claimed.attempt());
        let place = slot.place().await;
        let call = match place {
            Some(_) => self.send(claimed, &picked, &message, at).await,
            None => Err(NoCall::Crowded),
        };
        if call.is_err() {
            slot.leave(at);
        }
        drop(place);
        call
    }

    async fn send(&self, claimed: &Claimed, picked: &Picked, message: &Message, at: &Place) -> Result<Call, NoCall> {
        let slot = &picked.slot;
        let timeout = self.inner.parts.provider_timeout;
        let started = self.now();
        let lease = claimed.dispatch.lease.unwrap_or(started);
        if started + timeout > lease || started >= claimed.verification.deadline() {
            return Err(NoCall::TooLate);
        }
        let sent = tokio::time::timeout(timeout, slot.provider.send(message)).await;
        let outcome = sent.unwrap_or_else(|_| Err(no_answer(timeout)));
        let finished = self.now();
        let cause = outcome.as_ref().err().map(|failure| &failure.cause);
        if !slot.is_played() {
            slot.record(at, started, finished, cause);
        }
        telemetry::attempted(slot.provider.name(), &claimed.dispatch, cause.map_or("ok", Cause::as_str));
        let provider = slot.provider.name().to_owned();
        Ok(Call { provider, chosen: picked.why.clone(), started, finished, outcome })
    }

    fn callback(&self, slot: &Slot, attempt: AttemptId) -> Option<String> {
        let base = self.inner.parts.receipts_url.as_deref()?;
        Some(format!("{base}/{}?attempt={attempt}", providers::receipts_path(&*slot.provider)))
    }

    /// Where a dispatch goes: to its own target, else to its verification's.
    async fn target(&self, dispatch: &Dispatch, verification: &Verification) -> Result<Option<Target>, VaultError> {
        let (id, sealed, country) = match &dispatch.target {
            Some(own) => (own.sealed_as, &own.sealed, &own.country),
            None => (verification.id, &verification.target, &verification.country),
        };
        self.inner.parts.vault.open_target(verification.project, id, sealed, country.clone()).await
    }

    async fn message(&self, claimed: &Claimed) -> Result<Message, NoCall> {
        let (verification, dispatch, parts) = (&claimed.verification, &claimed.dispatch, &self.inner.parts);
        let unready = |error: &dyn std::fmt::Display| NoCall::Unready(error.to_string());
        let sealed = verification.code.as_ref().ok_or(NoCall::TooLate)?;
        let code = parts.vault.keys().open_code(verification.id, sealed).map_err(|error| unready(&error))?;
        let target = self.target(dispatch, verification).await.map_err(|error| unready(&error))?;
        let target = target.ok_or_else(|| unready(&"its target has been forgotten"))?;
        let project = parts.directory.project(verification.project).await.map_err(|error| unready(&error))?;
        let project = project.ok_or_else(|| unready(&"its project is gone"))?;
        let remaining = verification.expires.since(self.now());
        let filling = Filling {
            project: &project.name,
            code: &code,
            remaining,
            host: project.settings.host.as_deref(),
            locale: &verification.locale,
        };
        let content = self.inner.templates.render(dispatch.channel, &filling).map_err(|error| unready(&error))?;
        Ok(Message {
            attempt: claimed.attempt(),
            project: verification.project,
            project_name: project.name,
            mode: dispatch.mode,
            channel: dispatch.channel,
            target,
            code,
            locale: verification.locale.clone(),
            content,
            remaining,
            callback: None,
        })
    }
}

fn no_answer(timeout: Duration) -> Failure {
    Failure { cause: Cause::Ambiguous, detail: format!("no answer within {} s", timeout.as_secs_f32()) }
}

fn log_attempt(claimed: &Claimed, call: &Call, next: &Next) {
    let (attempt, provider) = (claimed.attempt(), call.provider.as_str());
    let took_ms = call.finished.since(call.started).as_millis();
    match &call.outcome {
        Ok(Handed { message_id, .. }) => {
            debug!(otp.attempt = %attempt, provider.name = provider, took_ms, message_id, "handed over");
        }
        Err(failure) => {
            let (cause, detail) = (failure.cause.as_str(), failure.detail.as_str());
            match (&failure.cause, next) {
                (Cause::Misconfigured(what), _) => {
                    let advice = what.advice();
                    warn!(otp.attempt = %attempt, provider.name = provider, cause, detail, advice, "a provider is misconfigured");
                }
                (_, Next::GiveUp { reason, .. }) => {
                    info!(otp.attempt = %attempt, provider.name = provider, cause, detail, reason, "gave a dispatch up");
                }
                _ => {
                    info!(otp.attempt = %attempt, provider.name = provider, cause, detail, took_ms, "an attempt failed")
                }
            }
        }
    }
}
