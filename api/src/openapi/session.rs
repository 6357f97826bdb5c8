//! The shapes of sessions: who am I, log out, renew, and the published keys.
//!
//! They hold tokens, and so those that do are not `Debug`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{CLOSED, Door, SESSION};

/// The keys that tokens and proofs are checked with.
pub(crate) const KEYS: Door = Door {
    name: "sessions",
    about: "Access tokens: whose they are, ending their session, and the keys that tokens and proofs are checked with.",
    credentials: &[],
    refusals: &[],
};

/// Who presents an access token, of the project that `doors.login.project` names.
pub(crate) const ME: Door = Door { credentials: &[SESSION], refusals: &[CLOSED], ..KEYS };

/// Ends a session of any project whose people log in through a door without a key.
pub(crate) const LOGOUT: Door = ME;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Me {
    /// The same person in the same project, for ever.
    #[schema(format = Uuid)]
    pub(crate) id: String,
    #[schema(example = "PRJ_019803f17d3c7a519f0e2b7b6d6f3c1a")]
    pub(crate) project: String,
    /// How the code travelled.
    #[schema(example = "sms")]
    pub(crate) channel: String,
    /// Seconds since the Unix epoch.
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LoggedOut {
    #[schema(example = "Logged out")]
    pub(crate) message: &'static str,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct RefreshRequest {
    /// The newest refresh token of the session.
    #[schema(min_length = 1)]
    refresh_token: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Ended {
    /// Always true.
    pub(crate) ended: bool,
}

/// A JSON Web Key Set (RFC 7517).
#[derive(Serialize, ToSchema)]
pub(crate) struct KeySet {
    pub(crate) keys: Vec<PublishedKey>,
}

/// An Ed25519 key (RFC 8037, section 2).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PublishedKey {
    #[schema(example = "OKP")]
    pub(crate) kty: &'static str,
    #[schema(example = "Ed25519")]
    pub(crate) crv: &'static str,
    #[schema(example = "EdDSA")]
    pub(crate) alg: &'static str,
    #[schema(rename = "use", example = "sig")]
    #[serde(rename = "use")]
    pub(crate) usage: &'static str,
    /// What tokens call it.
    pub(crate) kid: String,
    /// The public key in base64url.
    pub(crate) x: String,
}
