//! The send core: a request that a door has read becomes a verification, its dispatch and a job.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use common::keys::{IndexKind, Keyring};
use common::otp::accept::{Accept, Accepted, Idempotency, Refusal};
use common::otp::channel::{Channel, Mode};
use common::otp::code::Code;
use common::otp::ids::{AttemptId, ProjectId, VerificationId};
use common::otp::limits::Window;
use common::otp::rows::{Limit, LimitName, State, Verification};
use common::otp::target::Target;
use common::queue::Job;
use common::tenancy::Tenant;

use crate::core::Api;
use crate::error::{ApiError, limit_code};
use crate::telemetry;

/// A send as the core understands it.
#[derive(Debug, Clone)]
pub(crate) struct Send {
    pub(crate) target: Target,
    pub(crate) channel: Channel,
    /// The caller's reference; empty for none.
    pub(crate) record: String,
    pub(crate) locale: Option<String>,
    pub(crate) ttl: Option<u32>,
    /// The end user's address, where it is to be limited.
    pub(crate) client_ip: Option<IpAddr>,
    pub(crate) idempotency_key: Option<String>,
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
    if let Some(country) = send.target.country().filter(|_| !send.target.is_magic())
        && !settings.allows_country(country)
    {
        return Err(ApiError::field(format!("target is in {country}, where this project does not send")));
    }
    if tenant.mode == Mode::Live && !api.parts.live_channels.contains(&send.channel) {
        return Err(ApiError::no_provider(send.channel.as_str()));
    }
    let request = request(api, tenant, &send).await?;
    api.accepts.call(request).await?.map_err(|refusal| refused(&refusal))
}

async fn request(api: &Api, tenant: &Tenant, send: &Send) -> Result<Accept, ApiError> {
    let (keys, project, mode) = (api.parts.vault.keys(), tenant.id(), tenant.mode);
    let canonical = send.target.canonical().as_bytes();
    let project_bytes = project.as_uuid();
    let parts: [&[u8]; 2] = [project_bytes.as_bytes(), canonical];
    let key = send.idempotency_key.as_ref().map(|key| Idempotency {
        key: keys.indexes(IndexKind::Idempotency, &[project_bytes.as_bytes(), key.as_bytes()]),
        requests: fingerprint(keys, tenant, send),
    });
    Ok(Accept {
        settings: Arc::clone(&tenant.project.settings),
        target: keys.indexes(IndexKind::Target, &parts),
        limits: limits(api, tenant, send, mode, project),
        idempotency: key,
        candidate: candidate(api, tenant, send).await?,
    })
}

async fn candidate(api: &Api, tenant: &Tenant, send: &Send) -> Result<Verification, ApiError> {
    let (vault, settings, project) = (&api.parts.vault, &tenant.project.settings, tenant.id());
    let now = api.parts.clock.now();
    let id = VerificationId::new(now);
    let code = Code::generate(&mut rand::rng(), settings.code_length);
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
        budget: settings.guesses.into(),
        carried: None,
        sends: 1,
        expires: now + Duration::from_secs(send.ttl.unwrap_or(settings.ttl).into()),
        state: State::Open,
        closed: None,
        session: false,
    })
}

fn limits(api: &Api, tenant: &Tenant, send: &Send, mode: Mode, project: ProjectId) -> Vec<Limit> {
    let (keys, project) = (api.parts.vault.keys(), project.as_uuid());
    let mut limits = Vec::with_capacity(2);
    if let Some(ip) = send.client_ip {
        limits.push(Limit {
            name: LimitName::Ip,
            key: keys.indexes(
                IndexKind::IpLimit,
                &[project.as_bytes(), mode.as_str().as_bytes(), &crate::extract::network(ip)],
            ),
            windows: vec![Window::new(20, Duration::from_secs(600)), Window::new(60, Duration::from_secs(86_400))],
        });
    }
    if !(mode == Mode::Sandbox && send.target.is_magic()) {
        let parts: [&[u8]; 3] = [project.as_bytes(), mode.as_str().as_bytes(), send.target.canonical().as_bytes()];
        limits.push(Limit {
            name: LimitName::Target,
            key: keys.indexes(IndexKind::TargetLimit, &parts),
            windows: tenant.project.settings.target_windows().to_vec(),
        });
    }
    limits
}

/// What makes two requests the same: the parsed fields. Absent and empty ones differ.
fn fingerprint(keys: &Keyring, tenant: &Tenant, send: &Send) -> Vec<[u8; 32]> {
    let project = tenant.id().as_uuid();
    let ttl = send.ttl.map(|ttl| ttl.to_string());
    let ip = send.client_ip.map(|ip| ip.to_string());
    let present = [send.locale.is_some(), ttl.is_some(), ip.is_some()].map(u8::from);
    let parts: [&[u8]; 8] = [
        project.as_bytes(),
        send.target.canonical().as_bytes(),
        send.channel.as_str().as_bytes(),
        send.record.as_bytes(),
        &present,
        send.locale.as_deref().unwrap_or_default().as_bytes(),
        ttl.as_deref().unwrap_or_default().as_bytes(),
        ip.as_deref().unwrap_or_default().as_bytes(),
    ];
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
