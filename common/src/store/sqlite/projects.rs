//! The tables `projects` and `api_keys`.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::FromRow;
use uuid::Uuid;

use super::rows::Blob;
use super::{SqliteBackend, json};
use crate::otp::channel::Mode;
use crate::otp::ids::ProjectId;
use crate::otp::rows::Counters;
use crate::otp::time::Timestamp;
use crate::store::projects::{ApiKey, Project, Projects};
use crate::store::{Result, StoreError};

#[derive(Debug, FromRow)]
struct ProjectRow {
    id: Uuid,
    name: String,
    sandbox: bool,
    settings: String,
    tokens: Option<i64>,
    tokens_used: i64,
    rate_at: i64,
    created_at: i64,
}

impl TryFrom<ProjectRow> for Project {
    type Error = StoreError;

    fn try_from(row: ProjectRow) -> Result<Self> {
        let settings = serde_json::from_str(&row.settings);
        let settings = settings.map_err(|error| StoreError::Refused(format!("projects.settings: {error}")))?;
        Ok(Self {
            id: ProjectId::from_row(row.id),
            name: row.name,
            sandbox: row.sandbox,
            settings: Arc::new(settings),
            counters: Counters { tokens: row.tokens, used: row.tokens_used, rate: Timestamp::from_ms(row.rate_at) },
            created: Timestamp::from_ms(row.created_at),
        })
    }
}

#[derive(Debug, FromRow)]
struct KeyRow {
    id: Uuid,
    project_id: Uuid,
    mode: i16,
    own_codes: bool,
    prefix: String,
    hash: Blob,
    created_at: i64,
    revoked_at: Option<i64>,
}

impl TryFrom<KeyRow> for ApiKey {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self> {
        Ok(Self {
            id: row.id,
            project: ProjectId::from_row(row.project_id),
            mode: Mode::from_code(row.mode),
            own_codes: row.own_codes,
            prefix: row.prefix,
            hash: row.hash.exactly("api_keys.hash")?,
            created: Timestamp::from_ms(row.created_at),
            revoked: row.revoked_at.map(Timestamp::from_ms),
        })
    }
}

const CREATE_PROJECT: &str = "
    insert into projects (id, name, sandbox, settings, tokens, tokens_used, rate_at, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)";

const UPDATE_PROJECT: &str = "
    update projects
       set name     = $2,
           settings = $3,
           tokens   = $4
     where id = $1";

const CREATE_KEY: &str = "
    insert into api_keys (id, project_id, mode, own_codes, prefix, hash, created_at, revoked_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)";

const REVOKE_KEY: &str = "
    update api_keys
       set revoked_at = $2
     where prefix = $1
       and revoked_at is null";

#[async_trait]
impl Projects for SqliteBackend {
    async fn create_project(&self, project: &Project) -> Result<()> {
        let query = sqlx::query(CREATE_PROJECT)
            .bind(project.id.as_uuid())
            .bind(&project.name)
            .bind(project.sandbox)
            .bind(json(&*project.settings)?)
            .bind(project.counters.tokens)
            .bind(project.counters.used)
            .bind(project.counters.rate.as_ms())
            .bind(project.created.as_ms());
        query.execute(&self.writes).await?;
        Ok(())
    }

    async fn update_project(&self, project: &Project) -> Result<()> {
        let query = sqlx::query(UPDATE_PROJECT)
            .bind(project.id.as_uuid())
            .bind(&project.name)
            .bind(json(&*project.settings)?)
            .bind(project.counters.tokens);
        query.execute(&self.writes).await?;
        Ok(())
    }

    async fn find_project(&self, id: Uuid) -> Result<Option<Project>> {
        let query = sqlx::query_as("select * from projects where id = $1").bind(id);
        let row: Option<ProjectRow> = query.fetch_optional(&self.reads).await?;
        row.map(TryFrom::try_from).transpose()
    }

    async fn list_projects(&self) -> Result<Vec<Project>> {
        let query = sqlx::query_as("select * from projects order by created_at, id");
        let rows: Vec<ProjectRow> = query.fetch_all(&self.reads).await?;
        rows.into_iter().map(TryFrom::try_from).collect()
    }

    async fn create_key(&self, key: &ApiKey) -> Result<()> {
        let query = sqlx::query(CREATE_KEY)
            .bind(key.id)
            .bind(key.project.as_uuid())
            .bind(key.mode.code())
            .bind(key.own_codes)
            .bind(&key.prefix)
            .bind(&key.hash[..])
            .bind(key.created.as_ms())
            .bind(key.revoked.map(Timestamp::as_ms));
        query.execute(&self.writes).await?;
        Ok(())
    }

    async fn find_key(&self, prefix: &str) -> Result<Option<(ApiKey, Project)>> {
        let query = sqlx::query_as("select * from api_keys where prefix = $1").bind(prefix);
        let Some(row): Option<KeyRow> = query.fetch_optional(&self.reads).await? else { return Ok(None) };
        let project = self.find_project(row.project_id).await?;
        let key = ApiKey::try_from(row)?;
        Ok(project.map(|project| (key, project)))
    }

    async fn list_keys(&self, project: ProjectId) -> Result<Vec<ApiKey>> {
        let query = sqlx::query_as("select * from api_keys where project_id = $1 order by created_at, id");
        let rows: Vec<KeyRow> = query.bind(project.as_uuid()).fetch_all(&self.reads).await?;
        rows.into_iter().map(TryFrom::try_from).collect()
    }

    async fn revoke_key(&self, prefix: &str, now: Timestamp) -> Result<bool> {
        let done = sqlx::query(REVOKE_KEY).bind(prefix).bind(now.as_ms()).execute(&self.writes).await?;
        Ok(done.rows_affected() > 0)
    }
}
