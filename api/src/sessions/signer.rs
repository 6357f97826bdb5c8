//! The keys that tokens are signed with, read from the store and remembered for a moment, so that a rotation is seen
//! everywhere within two seconds.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::clock::Clock;
use common::session_keys;
use common::store::Store;
use common::store::sessions::SessionKey;
use common::vault::Vault;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tracing::{info, warn};

use super::verifier::VerifyingKeys;
use crate::error::ApiError;
use crate::openapi::session::{KeySet, PublishedKey};

const CACHED: Duration = Duration::from_millis(1500);

/// Who signs, and with what.
pub(super) struct Signer {
    store: Store,
    clock: Clock,
    vault: Vault,
    /// HS256 for access tokens. Proofs are EdDSA always: others check them.
    secret: Option<SecretString>,
    ring: Cache<(), Arc<Ring>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

/// The keys as they are at a moment.
pub(super) struct Ring {
    kid: String,
    signing: EncodingKey,
    published: Vec<SessionKey>,
    verifying: Arc<HashMap<String, DecodingKey>>,
}

impl Signer {
    pub(super) fn new(store: Store, clock: Clock, vault: Vault, secret: Option<SecretString>) -> Self {
        let ring = Cache::builder().max_capacity(1).time_to_live(CACHED).build();
        Self { store, clock, vault, secret, ring }
    }

    /// Signs what the public keys alone must prove.
    pub(super) async fn sign_proof(&self, kind: &str, claims: &impl Serialize) -> Result<String, ApiError> {
        let ring = self.ring().await?;
        let header =
            Header { typ: Some(kind.to_owned()), kid: Some(ring.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        signed(&header, claims, &ring.signing)
    }

    /// Signs an access token.
    pub(super) async fn sign(&self, kind: &str, claims: &impl Serialize) -> Result<String, ApiError> {
        let Some(secret) = &self.secret else { return self.sign_proof(kind, claims).await };
        let header = Header { typ: Some(kind.to_owned()), ..Header::new(Algorithm::HS256) };
        signed(&header, claims, &EncodingKey::from_secret(secret.expose_secret().as_bytes()))
    }

    /// What access tokens are checked with.
    pub(super) async fn verifying_keys(&self) -> Result<VerifyingKeys, ApiError> {
        match &self.secret {
            Some(secret) => {
                Ok(VerifyingKeys::HS256(Arc::new(DecodingKey::from_secret(secret.expose_secret().as_bytes()))))
            }
            None => Ok(VerifyingKeys::EdDSA(Arc::clone(&self.ring().await?.verifying))),
        }
    }

    /// The published keys, as a JSON Web Key Set (RFC 7517; Ed25519 as in RFC 8037, section 2).
    pub(super) async fn jwks(&self) -> Result<KeySet, ApiError> {
        let ring = self.ring().await?;
        let keys = ring.published.iter().map(|key| PublishedKey {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            usage: "sig",
            kid: key.kid.clone(),
            x: URL_SAFE_NO_PAD.encode(key.public),
        });
        Ok(KeySet { keys: keys.collect() })
    }

    async fn ring(&self) -> Result<Arc<Ring>, ApiError> {
        let ring = self.ring.try_get_with((), self.load()).await;
        ring.map_err(|error: Arc<ApiError>| (*error).clone())
    }

    async fn load(&self) -> Result<Arc<Ring>, ApiError> {
        let (now, keys) = (self.clock.now(), self.vault.keys());
        let mut all = self.store.session_keys().await?;
        let usable = |all: &[SessionKey]| -> Vec<SessionKey> {
            all.iter().filter(|key| session_keys::open(keys, key).is_ok()).cloned().collect()
        };
        if session_keys::signing(&usable(&all), now).is_none() {
            let key = session_keys::generate(keys, now, now).map_err(unusable)?;
            self.store.add_session_key(&key).await?;
            info!(session.kid = key.kid, "made a key to sign sessions with");
            all.push(key);
        }
        let usable = usable(&all);
        let signing = session_keys::signing(&usable, now).ok_or_else(ApiError::unavailable)?;
        let private = session_keys::open(keys, signing).map_err(unusable)?;
        let published: Vec<_> = session_keys::published(&all, now).into_iter().cloned().collect();
        let verifying = published.iter().map(|key| (key.kid.clone(), DecodingKey::from_ed_der(&key.public)));
        Ok(Arc::new(Ring {
            kid: signing.kid.clone(),
            signing: EncodingKey::from_ed_der(&private),
            verifying: Arc::new(verifying.collect()),
            published,
        }))
    }
}

fn signed(header: &Header, claims: &impl Serialize, key: &EncodingKey) -> Result<String, ApiError> {
    encode(header, claims, key).map_err(|error| {
        warn!(%error, "a token could not be signed");
        ApiError::unavailable()
    })
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn unusable(error: common::keys::KeyError) -> ApiError {
    warn!(%error, "a key to sign sessions with cannot be used");
    ApiError::unavailable()
}
