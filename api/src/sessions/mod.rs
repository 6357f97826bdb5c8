//! Sessions: who has verified a target stays known by a short access token and a refresh token that works once.
//!
//! A session or a user comes only from a verification that a session door opened, or a v1 send with `"session": true`.

mod claims;
mod refresh;
pub(crate) mod routes;
mod signer;
mod verifier;

use std::time::Duration;

use axum::http::StatusCode;
use common::clock::Clock;
use common::keys::IndexKind;
use common::otp::channel::{Channel, Mode};
use common::otp::rows::{Dispatch, Verification};
use common::otp::target::Target;
use common::store::Store;
use common::store::projects::Project;
use common::store::sessions::Session;
use common::tenancy::Tenant;
use common::vault::Vault;
use secrecy::SecretString;
use tracing::warn;
use uuid::Uuid;

use claims::{audience, new_jti, proof_audience, seconds};
use refresh::RefreshToken;
use signer::Signer;

pub use claims::{ACCESS_LIFE, AccessClaims, PROOF_LIFE, ProofClaims, target_hash};
pub use verifier::{ACCESS_TYPE, BadKeys, BadToken, CheckTokens, PROOF_TYPE, SignedIn, Verifier};

use crate::chain;
use crate::core::Api;
use crate::error::ApiError;

/// How long a session lives after it was last renewed.
const SESSION_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the configuration says of tokens.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    pub issuer: String,
    /// Access tokens are HS256 under this secret; without one they are EdDSA.
    pub secret: Option<SecretString>,
}

/// What opens, renews and checks sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    issuer: String,
    signer: Signer,
}

/// What a session's user gets. Not `Debug`: whoever has it is that user.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) user: Uuid,
}

impl Sessions {
    pub(crate) fn new(settings: SessionSettings, store: Store, clock: Clock, vault: Vault) -> Self {
        Self { issuer: settings.issuer, signer: Signer::new(store, clock, vault, settings.secret) }
    }
}

/// A right answer: at what, and what its code went to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passed<'a> {
    pub(crate) verification: &'a Verification,
    pub(crate) dispatches: &'a [Dispatch],
    /// What was asked about.
    pub(crate) target: &'a Target,
}

impl Passed<'_> {
    /// Whether this may open a session or give a proof: not with a code that the caller brought, who could be anybody with
    /// it, nor with one that went to others too; and not from the sandbox, except to a sandbox project's own tokens.
    fn counts(self, tenant: &Tenant) -> bool {
        let (is_live, is_ours) = (self.verification.mode == Mode::Live, !self.verification.own_code);
        is_ours && (is_live || tenant.project.sandbox) && chain::went_to_target_alone(self.dispatches)
    }

    fn channel(self) -> Channel {
        chain::channel(self.verification, self.dispatches)
    }
}

/// Opens a session for whoever has just verified a target; `None` where this verification may not.
pub(crate) async fn open(api: &Api, tenant: &Tenant, passed: Passed<'_>) -> Result<Option<Tokens>, ApiError> {
    let target = passed.target;
    if !passed.verification.session || !passed.counts(tenant) {
        return Ok(None);
    }
    let (store, now, project) = (&api.parts.store, api.parts.clock.now(), tenant.id());
    let (of, canonical) = (project.as_uuid(), target.canonical().as_bytes());
    let index = api.parts.vault.keys().indexes(IndexKind::User, &[of.as_bytes(), canonical]);
    let user = store.user_of(project, &index, Uuid::now_v7(), now).await?;
    let session = Session {
        id: Uuid::now_v7(),
        project,
        user,
        channel: passed.channel(),
        generation: 0,
        created: now,
        expires: now + SESSION_LIFE,
        ended: None,
    };
    store.create_session(&session).await?;
    issue(api, &tenant.project, &session).await.map(Some)
}

/// Spends a refresh token for new tokens of its session. One that was spent before ends the session for everybody.
pub(crate) async fn renew(api: &Api, tenant: &Tenant, text: &str) -> Result<Tokens, ApiError> {
    let (store, now) = (&api.parts.store, api.parts.clock.now());
    let (token, session) = find(api, tenant, text).await?;
    let is_newest = token.generation == session.generation;
    if is_newest && store.renew_session(session.id, token.generation, now + SESSION_LIFE, now).await? {
        let renewed = Session { generation: token.generation + 1, ..session };
        return issue(api, &tenant.project, &renewed).await;
    }
    // Spent before, or by somebody else a moment ago: one of the two is a thief.
    if store.end_session(session.id, now).await? {
        warn!(session.id = %session.id, "a spent refresh token was shown: its session is ended");
    }
    Err(invalid())
}

/// Ends the session of a refresh token.
pub(crate) async fn end(api: &Api, tenant: &Tenant, text: &str) -> Result<(), ApiError> {
    let (_, session) = find(api, tenant, text).await?;
    api.parts.store.end_session(session.id, api.parts.clock.now()).await?;
    Ok(())
}

/// The session of a token that this tenant may use. A sandbox key of a live project has no sessions.
async fn find(api: &Api, tenant: &Tenant, text: &str) -> Result<(RefreshToken, Session), ApiError> {
    if tenant.mode == Mode::Sandbox && !tenant.project.sandbox {
        return Err(invalid());
    }
    let token = RefreshToken::read(api.parts.vault.keys(), text).ok_or_else(invalid)?;
    let session = api.parts.store.find_session(token.session).await?.ok_or_else(invalid)?;
    let is_alive = session.ended.is_none() && api.parts.clock.now() < session.expires;
    if is_alive && session.project == tenant.id() { Ok((token, session)) } else { Err(invalid()) }
}

fn invalid() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "invalid_refresh_token", "Invalid refresh token")
}

async fn issue(api: &Api, project: &Project, session: &Session) -> Result<Tokens, ApiError> {
    let now = api.parts.clock.now();
    let claims = AccessClaims {
        sub: session.user.to_string(),
        iss: api.sessions.issuer.clone(),
        aud: audience(project),
        iat: seconds(now),
        exp: seconds(now + ACCESS_LIFE),
        jti: new_jti(),
        sid: session.id.to_string(),
        project: project.id.to_string(),
        channel: session.channel.as_str().to_owned(),
    };
    let refresh = RefreshToken { session: session.id, generation: session.generation };
    Ok(Tokens {
        access: api.sessions.signer.sign(ACCESS_TYPE, &claims).await?,
        refresh: refresh.write(api.parts.vault.keys()),
        user: session.user,
    })
}

/// A proof that a target was verified just now; `None` where this verification proves nothing.
pub(crate) async fn prove(api: &Api, tenant: &Tenant, passed: Passed<'_>) -> Result<Option<String>, ApiError> {
    if !passed.counts(tenant) {
        return Ok(None);
    }
    let channels = chain::channels(passed.dispatches);
    let (now, jti) = (api.parts.clock.now(), new_jti());
    let claims = ProofClaims {
        iss: api.sessions.issuer.clone(),
        aud: proof_audience(&tenant.project),
        iat: seconds(now),
        exp: seconds(now + PROOF_LIFE),
        project: tenant.id().to_string(),
        channel: passed.channel().as_str().to_owned(),
        channels: channels.into_iter().map(|channel| channel.as_str().to_owned()).collect(),
        target_hash: target_hash(&jti, passed.target.canonical()),
        verification: passed.verification.id.to_string(),
        jti,
    };
    api.sessions.signer.sign_proof(PROOF_TYPE, &claims).await.map(Some)
}

/// The claims of an access token of this project whose session has not ended.
pub(crate) async fn check(api: &Api, project: &Project, token: &str) -> Result<AccessClaims, BadToken> {
    let away = |_| BadToken::Unavailable;
    let keys = api.sessions.signer.verifying_keys().await.map_err(away)?;
    let now = api.parts.clock.now();
    let claims = verifier::check(token, &keys, &api.sessions.issuer, &audience(project), seconds(now))?;
    let id = Uuid::try_parse(&claims.sid).map_err(|_| BadToken::Invalid)?;
    let session = api.parts.store.find_session(id).await.map_err(|_| BadToken::Unavailable)?;
    let is_open = session.is_some_and(|session| session.ended.is_none() && session.project == project.id);
    if is_open { Ok(claims) } else { Err(BadToken::Invalid) }
}
