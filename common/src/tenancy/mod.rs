//! The authenticator: the one place where a key and a project name become a tenant.

mod keys;

use std::fmt;
use std::time::Duration;

use moka::future::Cache;
use uuid::Uuid;

pub use keys::{new_key, new_twilio_key};

use self::keys::Presented;
use crate::otp::channel::Mode;
use crate::otp::ids::{ProjectId, parse_project_name};
use crate::store::projects::{ApiKey, Project};
use crate::store::{Store, StoreError};

/// How long another process's change may go unseen here, a little under the promised 2 s.
const CACHED: Duration = Duration::from_millis(1500);
const CACHE_SIZE: u64 = 10_000;

/// Who is asking: a project and what its key may do.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub project: Project,
    pub mode: Mode,
    /// May bring codes of its own.
    pub own_codes: bool,
}

impl Tenant {
    #[must_use]
    pub const fn id(&self) -> ProjectId {
        self.project.id
    }

    /// Whether a live key looks at something of the sandbox: its code was in the inbox, not with a person.
    #[must_use]
    pub const fn is_foreign(&self, mode: Mode) -> bool {
        matches!((self.mode, mode), (Mode::Live, Mode::Sandbox))
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
        self.tenant_of(key.and_then(Presented::key)).await
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

    /// The tenant of an account SID and its auth token.
    ///
    /// # Errors
    /// [`AuthError::Key`] when they are not a valid pair; otherwise the store is away.
    pub async fn authenticate_twilio(&self, account_sid: &str, auth_token: &str) -> Result<Tenant, AuthError> {
        self.tenant_of(Presented::twilio(account_sid, auth_token)).await
    }

    async fn tenant_of(&self, presented: Option<Presented>) -> Result<Tenant, AuthError> {
        let presented = presented.ok_or(AuthError::Key)?;
        let (key, project) = self.find_key(&presented.prefix).await?.ok_or(AuthError::Key)?;
        // blake3::Hash compares in constant time.
        if presented.hash != blake3::Hash::from_bytes(key.hash) || key.revoked.is_some() {
            return Err(AuthError::Key);
        }
        Ok(Tenant { project, mode: key.mode, own_codes: key.own_codes })
    }

    /// Who a door without keys acts for: the project that it is bound to, live unless that is a sandbox project.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn door(&self, project: Uuid) -> Result<Option<Tenant>, StoreError> {
        let tenant = |project: Project| {
            let mode = if project.sandbox { Mode::Sandbox } else { Mode::Live };
            Tenant { project, mode, own_codes: false }
        };
        Ok(self.find_project(project).await?.map(tenant))
    }

    /// A project by its id, for workers.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn project(&self, id: ProjectId) -> Result<Option<Project>, StoreError> {
        self.find_project(id.as_uuid()).await
    }

    async fn find_project(&self, id: Uuid) -> Result<Option<Project>, StoreError> {
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

/// A new project; only its row in the store makes it one.
#[must_use]
pub fn new_project_id() -> ProjectId {
    ProjectId::from_row(Uuid::now_v7())
}
