//! The tables `projects` and `api_keys`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, query};
use uuid::Uuid;

use super::PgBackend;
use super::columns::Columns;
use super::writes::Writes;
use crate::otp::changes::ProjectChange;
use crate::otp::ids::ProjectId;
use crate::otp::rows::Counters;
use crate::otp::time::Timestamp;
use crate::store::Result;
use crate::store::projects::{ApiKey, Project, Projects};

/// What [`project`] takes, in its order, of a table named `p`.
macro_rules! project_columns {
    () => {
        "p.id, p.name, p.sandbox, p.settings, p.tokens, p.tokens_used, p.rate_at, p.created_at"
    };
}

/// What [`api_key`] takes, in its order, of a table named `k`.
macro_rules! key_columns {
    () => {
        "k.id, k.project_id, k.mode, k.own_codes, k.prefix, k.hash, k.created_at, k.revoked_at"
    };
}

fn project(row: &mut Columns<'_>) -> Result<Project> {
    Ok(Project {
        id: row.project()?,
        name: row.take()?,
        sandbox: row.take()?,
        settings: Arc::new(row.take::<Json<_>>()?.0),
        counters: counters(row)?,
        created: row.time()?,
    })
}

pub(super) fn counters(row: &mut Columns<'_>) -> Result<Counters> {
    Ok(Counters { tokens: row.take()?, used: row.take()?, rate: row.time()? })
}

fn api_key(row: &mut Columns<'_>) -> Result<ApiKey> {
    Ok(ApiKey {
        id: row.take()?,
        project: row.project()?,
        mode: row.mode()?,
        own_codes: row.take()?,
        prefix: row.take()?,
        hash: row.bytes()?,
        created: row.time()?,
        revoked: row.time_if_any()?,
    })
}

pub(super) async fn lock(connection: &mut PgConnection, ids: &[ProjectId]) -> Result<HashMap<ProjectId, Counters>> {
    let rows = query(
        "select id, tokens, tokens_used, rate_at
         from projects
         where id = any($1::uuid[])
         order by id
         for no key update",
    )
    .bind(ids.iter().map(ProjectId::as_uuid).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let read = |mut row: Columns<'_>| Ok((row.project()?, counters(&mut row)?));
    rows.iter().map(|row| read(Columns::of(row))).collect()
}

/// Moves the counters of projects that are locked.
pub(super) fn count(writes: &mut Writes, changes: &BTreeMap<ProjectId, ProjectChange>) {
    if changes.is_empty() {
        return;
    }
    writes
        .statement(
            "update projects
             set tokens_used = tokens_used + ($2::bigint[])[array_position($1::uuid[], id)],
                 rate_at = coalesce(($3::bigint[])[array_position($1::uuid[], id)], rate_at)
             where id = any($1::uuid[])",
        )
        .bind(changes.keys().map(ProjectId::as_uuid).collect::<Vec<_>>())
        .bind(changes.values().map(|change| change.used).collect::<Vec<_>>())
        .bind(changes.values().map(|change| change.rate.map(Timestamp::as_ms)).collect::<Vec<_>>());
}

#[async_trait]
impl Projects for PgBackend {
    async fn create_project(&self, project: &Project) -> Result<()> {
        query(
            "insert into projects (id, name, sandbox, settings, tokens, tokens_used, rate_at, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(project.id.as_uuid())
        .bind(&project.name)
        .bind(project.sandbox)
        .bind(Json(&*project.settings))
        .bind(project.counters.tokens)
        .bind(project.counters.used)
        .bind(project.counters.rate.as_ms())
        .bind(project.created.as_ms())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn update_project(&self, project: &Project) -> Result<()> {
        query("update projects set name = $2, settings = $3, tokens = $4 where id = $1")
            .bind(project.id.as_uuid())
            .bind(&project.name)
            .bind(Json(&*project.settings))
            .bind(project.counters.tokens)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn find_project(&self, id: Uuid) -> Result<Option<Project>> {
        let row = query(concat!("select ", project_columns!(), " from projects p where p.id = $1"))
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| project(&mut Columns::of(&row))).transpose()
    }

    async fn list_projects(&self) -> Result<Vec<Project>> {
        let rows = query(concat!("select ", project_columns!(), " from projects p order by p.created_at, p.id"))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| project(&mut Columns::of(row))).collect()
    }

    async fn create_key(&self, key: &ApiKey) -> Result<()> {
        query(
            "insert into api_keys (id, project_id, mode, own_codes, prefix, hash, created_at, revoked_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(key.id)
        .bind(key.project.as_uuid())
        .bind(key.mode.code())
        .bind(key.own_codes)
        .bind(&key.prefix)
        .bind(key.hash.as_slice())
        .bind(key.created.as_ms())
        .bind(key.revoked.map(Timestamp::as_ms))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn find_key(&self, prefix: &str) -> Result<Option<(ApiKey, Project)>> {
        let row = query(concat!(
            "select ",
            key_columns!(),
            ", ",
            project_columns!(),
            " from api_keys k
             join projects p on p.id = k.project_id
             where k.prefix = $1"
        ))
        .bind(prefix)
        .fetch_optional(&self.pool)
        .await?;
        let read = |row: PgRow| {
            let mut row = Columns::of(&row);
            Ok((api_key(&mut row)?, project(&mut row)?))
        };
        row.map(read).transpose()
    }

    async fn list_keys(&self, project: ProjectId) -> Result<Vec<ApiKey>> {
        let rows = query(concat!(
            "select ",
            key_columns!(),
            " from api_keys k where k.project_id = $1 order by k.created_at, k.id"
        ))
        .bind(project.as_uuid())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| api_key(&mut Columns::of(row))).collect()
    }

    async fn revoke_key(&self, prefix: &str, now: Timestamp) -> Result<bool> {
        let revoked = query("update api_keys set revoked_at = $2 where prefix = $1 and revoked_at is null")
            .bind(prefix)
            .bind(now.as_ms())
            .execute(&self.pool)
            .await?;
        Ok(revoked.rows_affected() > 0)
    }
}
