//! The send core: a request that a door has read becomes a verification, its dispatch and a job.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use common::keys::{IndexKind, Keyring};
use common::otp::accept::{Accept, Accepted, Idempotency, Refusal};
use common::otp::channel::{Channel, Mode};
use common::otp::code::Code;
use common::otp::ids::{AttemptId, VerificationId};
use common::otp::limits::Window;
use common::otp::rows::{Limit, LimitName, State, Verification};
use common::otp::target::Target;
use common::otp::time::Timestamp;
use common::queue::Job;
use common::tenancy::Tenant;

use crate::chain::{self, Entry};
use crate::core::Api;
use crate::error::{ApiError, limit_code};
use crate::telemetry;

/// Whose code goes out.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// Made here, uniformly.
    Ours,
    /// The caller's, checked here: it supersedes what is open.
    Own(Code),
    /// The caller's, checked there: delivered, and no guesses are taken here.
    Relayed(Code),
}

/// A send as the core understands it.
#[derive(Debug, Clone)]
pub(crate) struct Send {
    pub(crate) target: Target,
    pub(crate) channel: Channel,
    /// The caller's reference; empty for none.
    pub(crate) record: String,
    /// The record id has one open verification at most, and a cooldown of its own.
    pub(crate) is_subject: bool,
    pub(crate) locale: Option<String>,
    pub(crate) ttl: Option<u32>,
    /// Digits, where a door does not leave that to the project.
    pub(crate) code_length: Option<u8>,
    pub(crate) origin: Origin,
    /// Success may open a session.
    pub(crate) session: bool,
    /// The end user's address, where it is to be limited.
    pub(crate) client_ip: Option<IpAddr>,
    /// Windows of the door's own over that address.
    pub(crate) door_limit: Option<(&'static str, Window)>,
    pub(crate) idempotency_key: Option<String>,
    /// What it falls back on; `None` leaves that to the project.
    pub(crate) fallback: Option<Vec<Entry>>,
}

impl Send {
    /// A send with the project's defaults.
    pub(crate) fn new(target: Target, channel: Channel) -> Self {
        Self {
            target,
            channel,
            record: String::new(),
            is_subject: false,
            locale: None,
            ttl: None,
            code_length: None,
            origin: Origin::Ours,
            session: false,
            client_ip: None,
            door_limit: None,
            idempotency_key: None,
            fallback: None,
        }
    }
}

/// Accepts a send: when this returns `Ok`, it is committed.
pub(crate) async fn send(api: &Api, tenant: &Tenant, send: Send) -> Result<Accepted, ApiError> {
    let (channel, mode) = (send.channel, tenant.mode);
    let result = accept(api, tenant, send).await;
    match &result {
        Ok(accepted) if accepted.replayed => {}
        Ok(accepted) => {
            telemetry::accepted(channel, mode);
            let attempt = AttemptId { dispatch: accepted.dispatch, n: 1 };
            api.parts.queue.publish(Job { attempt, deadline: accepted.deadline });
        }
        Err(error) => telemetry::refused(error.code),
    }
    result
}

async fn accept(api: &Api, tenant: &Tenant, send: Send) -> Result<Accepted, ApiError> {
    let settings = &tenant.project.settings;
    if let Some(country) = send.target.country().filter(|_| !settings.reaches(&send.target)) {
        return Err(ApiError::field(format!("target is in {country}, where this project does not send")));
    }
    let chain = chain::of(api, tenant, &send)?;
    if tenant.mode == Mode::Live && !api.parts.live_channels.contains(&send.channel) {
        return Err(ApiError::no_provider(send.channel.as_str()));
    }
    let request = request(api, tenant, &send, &chain).await?;
    api.accepts.call(request).await?.map_err(|refusal| refused(&refusal))
}

async fn request(api: &Api, tenant: &Tenant, send: &Send, chain: &[Entry]) -> Result<Accept, ApiError> {
    let (keys, project) = (api.parts.vault.keys(), tenant.id());
    let canonical = send.target.canonical().as_bytes();
    let project_bytes = project.as_uuid();
    let parts: [&[u8]; 2] = [project_bytes.as_bytes(), canonical];
    // Whoever chooses idempotency keys must not meet the names that hooks give their messages.
    let named = match send.origin {
        Origin::Ours | Origin::Own(_) => IndexKind::Idempotency,
        Origin::Relayed(_) => IndexKind::RelayedMessage,
    };
    let key = send.idempotency_key.as_ref().map(|key| Idempotency {
        key: keys.indexes(named, &[project_bytes.as_bytes(), key.as_bytes()]),
        requests: fingerprint(keys, tenant, send),
    });
    let test_code = test_code(tenant, &send.target, api.parts.clock.now());
    let subject = [project_bytes.as_bytes().as_slice(), send.record.as_bytes()];
    let limits = limits(keys, tenant, send, test_code.is_some());
    let candidate = candidate(api, tenant, send, test_code).await?;
    Ok(Accept {
        settings: Arc::clone(&tenant.project.settings),
        target: keys.indexes(IndexKind::Target, &parts),
        subject: send.is_subject.then(|| keys.indexes(IndexKind::Subject, &subject)),
        limits,
        idempotency: key,
        fallbacks: chain::planned(api, tenant, candidate.id, chain).await?,
        candidate,
    })
}

/// The code that a sandbox project has configured for this target, while it is good.
pub(crate) fn test_code(tenant: &Tenant, target: &Target, now: Timestamp) -> Option<Code> {
    let project = &tenant.project;
    project.sandbox.then(|| project.settings.test_code(target.canonical(), now)).flatten()
}

async fn candidate(api: &Api, tenant: &Tenant, send: &Send, test_code: Option<Code>) -> Result<Verification, ApiError> {
    let (vault, settings, project) = (&api.parts.vault, &tenant.project.settings, tenant.id());
    let now = api.parts.clock.now();
    let id = VerificationId::new(now);
    let (code, budget) = match &send.origin {
        Origin::Ours => (None, settings.guesses.into()),
        Origin::Own(code) => (Some(code.clone()), settings.guesses.into()),
        Origin::Relayed(code) => (Some(code.clone()), 0),
    };
    let length = send.code_length.unwrap_or(settings.code_length);
    let code = code.or(test_code).unwrap_or_else(|| Code::generate(&mut rand::rng(), length));
    let day = vault.day_key(project, id).await?;
    let sealed = |error: common::keys::KeyError| ApiError::from(common::vault::VaultError::from(error));
    Ok(Verification {
        id,
        project,
        mode: tenant.mode,
        channel: send.channel,
        country: send.target.country().map(str::to_owned),
        record: send.record.clone(),
        locale: send.locale.clone().unwrap_or_else(|| settings.locale.clone()),
        target: day.seal_target(id, send.target.delivered()).map_err(sealed)?,
        target_tag: day.tag(send.target.canonical()),
        key_id: vault.keys().newest_id(),
        code_hash: vault.keys().code_hash(project, id, &code),
        code: Some(vault.keys().seal_code(id, &code).map_err(sealed)?),
        guesses: 0,
        budget,
        carried: None,
        sends: 1,
        expires: now + Duration::from_secs(send.ttl.unwrap_or(settings.ttl).into()),
        state: State::Open,
        closed: None,
        session: send.session,
        own_code: !matches!(send.origin, Origin::Ours),
    })
}

/// The subjects that this send is counted against. Magic targets and test numbers have no target's limits.
fn limits(keys: &Keyring, tenant: &Tenant, send: &Send, is_test: bool) -> Vec<Limit> {
    let (project, mode) = (tenant.id().as_uuid(), tenant.mode.as_str().as_bytes());
    let settings = &tenant.project.settings;
    let limit = |name, kind, parts: &[&[u8]], windows: Vec<Window>| {
        let parts = [&[project.as_bytes().as_slice(), mode], parts].concat();
        Limit { name, key: keys.indexes(kind, &parts), windows }
    };
    let mut limits = Vec::with_capacity(3);
    if let Some(ip) = send.client_ip {
        let network = crate::extract::network(ip);
        if let Some((door, window)) = send.door_limit {
            limits.push(limit(LimitName::Ip, IndexKind::IpLimit, &[&network, door.as_bytes()], vec![window]));
        }
        let windows = vec![Window::new(20, Duration::from_secs(600)), Window::new(60, Duration::from_secs(86_400))];
        limits.push(limit(LimitName::Ip, IndexKind::IpLimit, &[&network], windows));
    }
    if send.is_subject {
        let [cooldown, ..] = settings.target_windows();
        limits.push(limit(LimitName::Record, IndexKind::SubjectLimit, &[send.record.as_bytes()], vec![cooldown]));
    }
    let is_free = is_test || (tenant.mode == Mode::Sandbox && send.target.is_magic());
    if !is_free {
        let windows = settings.target_windows().to_vec();
        let key = keys.target_limit(tenant.id(), tenant.mode, send.target.canonical());
        limits.push(Limit { name: LimitName::Target, key, windows });
    }
    limits
}

/// What makes two requests the same: the parsed fields. Absent and empty ones differ; the chain counts where one was asked
/// for, so that the others stay what they were before there were any. Whoever relays codes repeats
/// itself under one key with other words: there the key alone says it.
fn fingerprint(keys: &Keyring, tenant: &Tenant, send: &Send) -> Vec<[u8; 32]> {
    let project = tenant.id().as_uuid();
    let own = match &send.origin {
        Origin::Ours => None,
        Origin::Own(code) => Some(code.reveal()),
        Origin::Relayed(_) => return keys.hashes(b"relayed", &[project.as_bytes()]),
    };
    let ttl = send.ttl.map(|ttl| ttl.to_string());
    let ip = send.client_ip.map(|ip| ip.to_string());
    let present = [send.locale.is_some(), ttl.is_some(), ip.is_some(), own.is_some(), send.session].map(u8::from);
    let chain = chain::fingerprint(send.fallback.as_deref());
    let parts: [&[u8]; 9] = [
        project.as_bytes(),
        send.target.canonical().as_bytes(),
        send.channel.as_str().as_bytes(),
        send.record.as_bytes(),
        &present,
        send.locale.as_deref().unwrap_or_default().as_bytes(),
        ttl.as_deref().unwrap_or_default().as_bytes(),
        ip.as_deref().unwrap_or_default().as_bytes(),
        own.unwrap_or_default().as_bytes(),
    ];
    let parts: Vec<_> = parts.into_iter().chain(chain.as_ref().map(String::as_bytes)).collect();
    keys.hashes(b"request", &parts)
}

fn refused(refusal: &Refusal) -> ApiError {
    match refusal {
        Refusal::KeyReused => {
            let message = "Idempotency-Key was used for another request";
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", message)
        }
        Refusal::Limited { by, exhausted } => {
            let code = limit_code(*by, exhausted.standing.limit);
            ApiError::limited(code, exhausted.retry_after, Some(exhausted.standing))
        }
        Refusal::TooManyAttempts { retry_after } => ApiError::limited("too_many_attempts", *retry_after, None),
        Refusal::TooManySends { retry_after } => ApiError::limited("too_many_sends", *retry_after, None),
        Refusal::InsufficientTokens => {
            ApiError::new(StatusCode::BAD_REQUEST, "insufficient_tokens", "Insufficient tokens")
        }
    }
}
