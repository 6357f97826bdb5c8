//! Checking access tokens: the one place that reads a token somebody presents.
//!
//! [`SignedIn`] is an axum extractor for any service. Such a service fetches `/.well-known/jwks.json` now and then, hands
//! it to a [`Verifier`], and says in [`CheckTokens`] how its state checks a token:
//!
//! ```
//! use api::sessions::{AccessClaims, BadToken, CheckTokens, SignedIn, Verifier};
//! use axum::http::request::Parts;
//!
//! #[derive(Clone)]
//! struct Shop { tokens: Verifier }
//!
//! impl CheckTokens for Shop {
//!     async fn check(&self, _: &Parts, token: &str) -> Result<AccessClaims, BadToken> {
//!         self.tokens.check(token)
//!     }
//! }
//!
//! async fn cart(SignedIn(claims): SignedIn) -> String {
//!     format!("the cart of {}", claims.sub)
//! }
//!
//! let tokens = Verifier::new("https://otp.example.com", "PRJ_0198f3c2a1b47c0d8e5f112233445566");
//! tokens.set_keys(r#"{"keys":[]}"#).expect("a key set");
//! let app: axum::Router = axum::Router::new().route("/cart", axum::routing::get(cart)).with_state(Shop { tokens });
//! # let _ = app;
//! ```

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use common::clock::Clock;
use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::json;

use super::claims::{AccessClaims, seconds};

/// The `typ` of access tokens (RFC 9068, section 2.1) and of proofs: one is never taken for the other.
pub const ACCESS_TYPE: &str = "at+jwt";
pub const PROOF_TYPE: &str = "proof+jwt";
/// How far clocks may be apart, in seconds.
const LEEWAY: i64 = 30;

/// Why there is nobody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// There is no `Authorization` header.
    #[error("Missing credentials")]
    Missing,
    /// Another scheme, or a token that is empty, malformed, expired, forged or somebody else's.
    #[error("Invalid credentials")]
    Invalid,
    /// It cannot be checked now.
    #[error("Service temporarily unavailable")]
    Unavailable,
}

impl IntoResponse for BadToken {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Missing | Self::Invalid => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(json!({ "message": self.to_string() }))).into_response()
    }
}

/// How the state of a router checks the token of a request.
pub trait CheckTokens {
    /// The token's claims, if it is good.
    fn check(&self, parts: &Parts, token: &str) -> impl Future<Output = Result<AccessClaims, BadToken>> + Send;
}

/// Whoever presents a good access token as `Authorization: Bearer …`; anybody else gets a 401.
#[derive(Debug, Clone)]
pub struct SignedIn(pub AccessClaims);

impl<S: CheckTokens + Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = BadToken;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, BadToken> {
        let token = bearer(&parts.headers)?.to_owned();
        state.check(parts, &token).await.map(Self)
    }
}

/// The token of a bearer header. Schemes are case-insensitive (RFC 9110, section 11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, BadToken> {
    let header = headers.get(AUTHORIZATION).ok_or(BadToken::Missing)?;
    let (scheme, token) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(BadToken::Invalid)?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty();
    if is_bearer { Ok(token.trim()) } else { Err(BadToken::Invalid) }
}

/// The keys that tokens may be signed with, by what tokens call them.
#[derive(Clone)]
pub(super) enum VerifyingKeys {
    EdDSA(Arc<HashMap<String, DecodingKey>>),
    HS256(Arc<DecodingKey>),
}

/// Checks a token's signature, type, issuer, audience and life. The algorithm is ours to choose, never the token's.
pub(super) fn check(
    token: &str,
    keys: &VerifyingKeys,
    issuer: &str,
    audience: &str,
    now: i64,
) -> Result<AccessClaims, BadToken> {
    let invalid = |_| BadToken::Invalid;
    let header = decode_header(token).map_err(invalid)?;
    if header.typ.as_deref() != Some(ACCESS_TYPE) {
        return Err(BadToken::Invalid);
    }
    let (algorithm, key) = match keys {
        VerifyingKeys::EdDSA(keys) => (Algorithm::EdDSA, header.kid.as_ref().and_then(|kid| keys.get(kid))),
        VerifyingKeys::HS256(key) => (Algorithm::HS256, Some(&**key)),
    };
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Its life is measured by our clock below, which is the store's.
    validation.validate_exp = false;
    let claims = decode::<AccessClaims>(token, key.ok_or(BadToken::Invalid)?, &validation).map_err(invalid)?.claims;
    let is_alive = now < claims.exp.saturating_add(LEEWAY) && claims.iat <= now + LEEWAY;
    if is_alive { Ok(claims) } else { Err(BadToken::Invalid) }
}

/// Checks tokens offline, for services that have only the published keys. Cheap to clone; clones share their keys.
#[derive(Clone)]
pub struct Verifier {
    issuer: Arc<str>,
    audience: Arc<str>,
    keys: Arc<RwLock<VerifyingKeys>>,
    clock: Clock,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({}, {})", self.issuer, self.audience)
    }
}

/// What [`Verifier::set_keys`] was given is no JSON Web Key Set.
#[derive(Debug, thiserror::Error)]
#[error("not a JSON Web Key Set (RFC 7517): {0}")]
pub struct BadKeys(String);

impl Verifier {
    /// For tokens of `issuer` to `audience`, which is the project's id. It refuses all until it has keys.
    #[must_use]
    pub fn new(issuer: &str, audience: &str) -> Self {
        let keys = Arc::new(RwLock::new(VerifyingKeys::EdDSA(Arc::default())));
        Self { issuer: issuer.into(), audience: audience.into(), keys, clock: Clock::default() }
    }

    /// Takes the body of `/.well-known/jwks.json`, in place of what was there.
    ///
    /// # Errors
    /// When it is no key set; the keys from before are kept.
    pub fn set_keys(&self, jwks: &str) -> Result<(), BadKeys> {
        let set: JwkSet = serde_json::from_str(jwks).map_err(|error| BadKeys(error.to_string()))?;
        let keys = set.keys.iter().filter_map(|key| {
            let is_ed25519 = matches!(key.algorithm, AlgorithmParameters::OctetKeyPair(_));
            let kid = key.common.key_id.clone().filter(|_| is_ed25519)?;
            Some((kid, DecodingKey::from_jwk(key).ok()?))
        });
        let keys = VerifyingKeys::EdDSA(Arc::new(keys.collect()));
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The claims of a good token. A session that was ended is not known here: its tokens are good until they expire.
    ///
    /// # Errors
    /// When it is not good.
    pub fn check(&self, token: &str) -> Result<AccessClaims, BadToken> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        check(token, &keys, &self.issuer, &self.audience, seconds(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_bearer_header_holds_a_token() {
        let of = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            value.map(|value| headers.insert(AUTHORIZATION, HeaderValue::from_static(value)));
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of(Some("Bearer abc")), Ok("abc".to_owned()));
        assert_eq!(of(Some("bearer  abc")), Ok("abc".to_owned()));
        assert_eq!(of(None), Err(BadToken::Missing));
        for bad in ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearerabc"] {
            assert_eq!(of(Some(bad)), Err(BadToken::Invalid), "{bad:?}");
        }
    }
}
