//! People who have logged in: who they are, how long they stay logged in, and the keys that sign their tokens.

use std::fmt;

use async_trait::async_trait;
use uuid::Uuid;

use super::Result;
use crate::otp::channel::Channel;
use crate::otp::ids::ProjectId;
use crate::otp::rows::{Indexes, Sealed};
use crate::otp::time::Timestamp;

/// A person who stays logged in. Each renewal moves it to the next generation, so a refresh token works once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: Uuid,
    pub project: ProjectId,
    pub user: Uuid,
    /// How the code travelled that began it.
    pub channel: Channel,
    pub generation: i32,
    pub created: Timestamp,
    pub expires: Timestamp,
    /// Ended before its time: by its user, or because a spent refresh token was shown.
    pub ended: Option<Timestamp>,
}

/// An Ed25519 key that signs tokens from a moment on, until another one does: `session_keys` has the rules.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey {
    /// What tokens and the published key set call it.
    pub kid: String,
    /// The private key, as `session_keys::open` reads it.
    pub sealed: Sealed,
    pub public: [u8; 32],
    pub created: Timestamp,
    pub signs_from: Timestamp,
    pub revoked: Option<Timestamp>,
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({})", self.kid)
    }
}

#[async_trait]
pub trait Sessions {
    /// The user who holds this target in this project: found under any of the indexes, else made as `new`. Two who ask
    /// at once get the same one.
    async fn user_of(&self, project: ProjectId, target: &Indexes, new: Uuid, now: Timestamp) -> Result<Uuid>;
    async fn create_session(&self, session: &Session) -> Result<()>;
    async fn find_session(&self, id: Uuid) -> Result<Option<Session>>;
    /// Moves a session on from `generation`, to live until `expires`, if it is at that generation, has not ended and
    /// has not expired; answers whether it did. Of several at once one succeeds.
    async fn renew_session(&self, id: Uuid, generation: i32, expires: Timestamp, now: Timestamp) -> Result<bool>;
    /// Answers whether there was such a session that had not ended before.
    async fn end_session(&self, id: Uuid, now: Timestamp) -> Result<bool>;
    /// All signing keys, the one that signs last first: by `signs_from`, then by `kid`.
    async fn session_keys(&self) -> Result<Vec<SessionKey>>;
    async fn add_session_key(&self, key: &SessionKey) -> Result<()>;
    /// Makes every key void that is not yet, but for `except`; answers how many.
    async fn revoke_session_keys(&self, except: &str, now: Timestamp) -> Result<u64>;
}
