//! What tokens say. None holds a target: a proof has a hash of it, salted by the token's own id.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::otp::time::Timestamp;
use common::store::projects::Project;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long an access token is good.
pub const ACCESS_LIFE: Duration = Duration::from_secs(15 * 60);
/// How long a proof is good.
pub const PROOF_LIFE: Duration = Duration::from_secs(5 * 60);

/// The claims of an access token (RFC 7519, section 4.1; `sid` as in OpenID Connect Front-Channel Logout, section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The user's id: the same person in the same project, for ever.
    pub sub: String,
    pub iss: String,
    /// The project's id; of a sandbox project, `sandbox:` and that.
    pub aud: String,
    /// Seconds since the Unix epoch.
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    /// The session, which a logout ends.
    pub sid: String,
    pub project: String,
    /// How the code travelled: `sms`, `email` or `whatsapp`. Of several, one by which it is known to have arrived, else the
    /// last one.
    pub channel: String,
}

/// The claims of a proof: somebody who holds the target answered with its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofClaims {
    pub iss: String,
    /// `proof:` and the project's id; of a sandbox project, `sandbox:proof:` and that.
    pub aud: String,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    pub project: String,
    pub channel: String,
    /// All channels by which the code may have travelled, always to the one target.
    #[serde(default)]
    pub channels: Vec<String>,
    /// [`target_hash`] of the target.
    pub target_hash: String,
    /// The verification's id.
    pub verification: String,
}

/// What ties a proof to its target: SHA-256 over the proof's `jti`, a dot and the target in canonical form (E.164, or
/// the address in lower case), in base64url without padding. It says nothing to who does not know the target already,
/// but phone numbers are few: whoever has the proof can try them all.
#[must_use]
pub fn target_hash(jti: &str, canonical: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{jti}.{canonical}").as_bytes()))
}

/// Whom access tokens of this project are for.
pub(super) fn audience(project: &Project) -> String {
    format!("{}{}", sandbox(project), project.id)
}

pub(super) fn proof_audience(project: &Project) -> String {
    format!("{}proof:{}", sandbox(project), project.id)
}

/// Tokens of a sandbox project open nothing of others.
const fn sandbox(project: &Project) -> &'static str {
    if project.sandbox { "sandbox:" } else { "" }
}

pub(super) fn new_jti() -> String {
    Uuid::now_v7().simple().to_string()
}

pub(super) const fn seconds(at: Timestamp) -> i64 {
    at.as_ms().div_euclid(1000)
}
