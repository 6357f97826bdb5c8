//! The authenticator: the one place where a key and a project name become a tenant.

use std::fmt;
use std::time::Duration;

use moka::future::Cache;
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::otp::channel::Mode;
use crate::otp::ids::{ProjectId, parse_project_name};
use crate::otp::time::Timestamp;
use crate::store::projects::{ApiKey, Project};
use crate::store::{Store, StoreError};

/// How long another process's change may go unseen here, a little under the promised 2 s.
const CACHED: Duration = Duration::from_millis(1500);
const CACHE_SIZE: u64 = 10_000;
const PREFIX_LEN: usize = 12;
const SECRET_LEN: usize = 40;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Who is asking: a project and what its key may see.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub project: Project,
    pub mode: Mode,
}

impl Tenant {
    #[must_use]
    pub const fn id(&self) -> ProjectId {
        self.project.id
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    /// Missing, malformed, unknown and revoked keys look alike.
    #[error("Invalid API key")]
    Key,
    /// Missing, unknown and foreign projects look alike.
    #[error("Invalid project ID or access denied")]
    Project,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Projects and keys with a short memory. Unknown keys are not remembered.
#[derive(Clone)]
pub struct Directory {
    store: Store,
    keys: Cache<String, (ApiKey, Project)>,
    projects: Cache<Uuid, Project>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Directory")
    }
}

impl Directory {
    #[must_use]
    pub fn new(store: Store) -> Self {
        let keys = Cache::builder().max_capacity(CACHE_SIZE).time_to_live(CACHED).build();
        let projects = Cache::builder().max_capacity(CACHE_SIZE).time_to_live(CACHED).build();
        Self { store, keys, projects }
    }

    /// The tenant of a key, whatever project is named: for doors where the key alone says it.
    ///
    /// # Errors
    /// When the key is not a valid one, or the store is away.
    pub async fn authenticate_key(&self, key: Option<&str>) -> Result<Tenant, AuthError> {
        let presented = key.and_then(PresentedKey::parse).ok_or(AuthError::Key)?;
        let (key, project) = self.find_key(&presented.prefix).await?.ok_or(AuthError::Key)?;
        // blake3::Hash compares in constant time.
        if presented.hash != blake3::Hash::from_bytes(key.hash) || key.revoked.is_some() {
            return Err(AuthError::Key);
        }
        Ok(Tenant { project, mode: key.mode })
    }

    /// The tenant of a key, who must have named the key's own project.
    ///
    /// # Errors
    /// When key and project do not fit, or the store is away.
    pub async fn authenticate(&self, key: Option<&str>, project: Option<&str>) -> Result<Tenant, AuthError> {
        let tenant = self.authenticate_key(key).await?;
        let named = project.and_then(parse_project_name);
        if named == Some(tenant.id().as_uuid()) { Ok(tenant) } else { Err(AuthError::Project) }
    }

    /// A project by its id, for workers.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn project(&self, id: ProjectId) -> Result<Option<Project>, StoreError> {
        let id = id.as_uuid();
        if let Some(project) = self.projects.get(&id).await {
            return Ok(Some(project));
        }
        let project = self.store.find_project(id).await?;
        if let Some(project) = &project {
            self.projects.insert(id, project.clone()).await;
        }
        Ok(project)
    }

    async fn find_key(&self, prefix: &str) -> Result<Option<(ApiKey, Project)>, StoreError> {
        if let Some(found) = self.keys.get(prefix).await {
            return Ok(Some(found));
        }
        let found = self.store.find_key(prefix).await?;
        if let Some(found) = &found {
            self.keys.insert(prefix.to_owned(), found.clone()).await;
        }
        Ok(found)
    }
}

struct PresentedKey {
    prefix: String,
    hash: blake3::Hash,
}

impl PresentedKey {
    /// `otpd_live_` or `otpd_sandbox_`, 12 characters that find it, `_`, 40 that are secret.
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("otpd_live_").or_else(|| text.strip_prefix("otpd_sandbox_"))?;
        let (prefix, secret) = rest.split_once('_')?;
        let is_word = |word: &str, len| word.len() == len && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_word(prefix, PREFIX_LEN) && is_word(secret, SECRET_LEN))
            .then(|| Self { prefix: prefix.to_owned(), hash: blake3::hash(text.as_bytes()) })
    }
}

/// A new key: the text is shown once, the row keeps its hash.
#[must_use]
pub fn new_key(project: ProjectId, mode: Mode, now: Timestamp) -> (SecretString, ApiKey) {
    let prefix = random_word(PREFIX_LEN);
    let text = SecretString::from(format!("otpd_{}_{prefix}_{}", mode.as_str(), random_word(SECRET_LEN)));
    let hash = *blake3::hash(text.expose_secret().as_bytes()).as_bytes();
    let key = ApiKey { id: Uuid::now_v7(), project, mode, prefix, hash, created: now, revoked: None };
    (text, key)
}

/// A new project; only its row in the store makes it one.
#[must_use]
pub fn new_project_id() -> ProjectId {
    ProjectId::from_row(Uuid::now_v7())
}

fn random_word(length: usize) -> String {
    let mut random = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_back_and_its_row_holds_no_secret() {
        let (text, row) = new_key(new_project_id(), Mode::Live, Timestamp::from_ms(0));
        let presented = PresentedKey::parse(text.expose_secret()).expect("key");
        assert_eq!(presented.prefix, row.prefix);
        assert_eq!(presented.hash, blake3::Hash::from_bytes(row.hash));
        assert!(!format!("{row:?}").contains(text.expose_secret()));
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in ["", "otpd_live_", "otpd_live_abc_def", "sk_live_xxxxxxxxxxxx_y"] {
            assert!(PresentedKey::parse(text).is_none(), "{text}");
        }
    }
}
