//! Projects and their keys: what the authenticator and the command line ask of a store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::Result;
use crate::otp::channel::Mode;
use crate::otp::ids::ProjectId;
use crate::otp::rows::Counters;
use crate::otp::settings::ProjectSettings;
use crate::otp::time::Timestamp;

/// A tenant, whole.
#[derive(Debug, Clone)]
pub struct Project {
    pub id: ProjectId,
    pub name: String,
    /// It has sandbox keys only and sends nothing for real.
    pub sandbox: bool,
    pub settings: Arc<ProjectSettings>,
    pub counters: Counters,
    pub created: Timestamp,
}

/// A key as it is kept: its secret part only as a hash.
#[derive(Clone)]
pub struct ApiKey {
    pub id: Uuid,
    pub project: ProjectId,
    pub mode: Mode,
    /// It may bring codes of its caller's own.
    pub own_codes: bool,
    /// The part of the key that finds it; no secret.
    pub prefix: String,
    pub hash: [u8; 32],
    pub created: Timestamp,
    pub revoked: Option<Timestamp>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({} of {})", self.prefix, self.project)
    }
}

#[async_trait]
pub trait Projects {
    async fn create_project(&self, project: &Project) -> Result<()>;
    /// Writes name, settings and token count; the counters of what was used are left alone.
    async fn update_project(&self, project: &Project) -> Result<()>;
    async fn find_project(&self, id: Uuid) -> Result<Option<Project>>;
    /// All projects, oldest first.
    async fn list_projects(&self) -> Result<Vec<Project>>;
    async fn create_key(&self, key: &ApiKey) -> Result<()>;
    /// The key with this prefix and its project, revoked or not.
    async fn find_key(&self, prefix: &str) -> Result<Option<(ApiKey, Project)>>;
    async fn list_keys(&self, project: ProjectId) -> Result<Vec<ApiKey>>;
    /// Answers whether there was such a key that was not revoked.
    async fn revoke_key(&self, prefix: &str, now: Timestamp) -> Result<bool>;
}
