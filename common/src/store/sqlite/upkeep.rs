//! Keeping the file in shape: its schema, day keys, leases and the backlog.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::Migration;
use uuid::Uuid;

use super::rows::Blob;
use super::{MIGRATIONS, SqliteBackend, json, sweep};
use crate::clock::Clock;
use crate::otp::ids::{ProjectId, VerificationId};
use crate::otp::rows::Sealed;
use crate::otp::time::Timestamp;
use crate::store::Result;
use crate::store::projects::{Project, Projects};
use crate::store::upkeep::{Backlog, Upkeep};

const HAS_MIGRATIONS: &str = "select count(*) from sqlite_schema where name = '_sqlx_migrations'";

const APPLIED: &str = "select version, checksum from _sqlx_migrations where success";

const CREATE_DAY_KEY: &str = "
    insert into day_keys (project_id, day, sealed)
    values ($1, $2, $3)
        on conflict (project_id, day) do nothing";

const FIND_DAY_KEY: &str = "select sealed from day_keys where project_id = $1 and day = $2";

// Every project comes as a pair: its id, and the first day that it keeps.
const SHRED_DAY_KEYS: &str = "
    delete from day_keys
     where (project_id, day) in (
               select project_id, day
                 from json_each($1) as kept
                cross join day_keys
                where project_id = unhex(kept.value->>0, '-')
                  and day < kept.value->>1)";

// Whatever a worker holds has a due row until it is done.
const HELD_ARE_DUE: &str = "
    update due
       set due_at = min(due_at, $1)
     where exists (
               select 1
                 from dispatches
                where dispatches.verification_id = due.verification_id
                  and dispatches.n = due.n
                  and lease_until is not null)";

const VOID_LEASES: &str = "
    update dispatches
       set lease_until = min(lease_until, $1)
     where (verification_id, n) in (select verification_id, n from due where due_at <= $1)
       and lease_until is not null";

const BACKLOG: &str = "select count(*), min(due_at) from due where due_at <= $1";

const ERASE_CODES: &str = "
    update verifications
       set code = null
     where id >= $1
       and id < $2
       and expires_at <= $3
       and code is not null";

#[async_trait]
impl Upkeep for SqliteBackend {
    async fn migrate(&self) -> Result<()> {
        Ok(MIGRATIONS.run(&self.writes).await?)
    }

    /// A newer program's migrations may have been applied, too.
    async fn is_migrated(&self) -> Result<bool> {
        let tables: i64 = sqlx::query_scalar(HAS_MIGRATIONS).fetch_one(&self.reads).await?;
        if tables == 0 {
            return Ok(false);
        }
        let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as(APPLIED).fetch_all(&self.reads).await?;
        let applied: HashMap<_, _> = applied.into_iter().collect();
        let is_applied = |one: &Migration| applied.get(&one.version).is_some_and(|sum| **sum == *one.checksum);
        Ok(MIGRATIONS.iter().all(is_applied))
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(Clock::default().now())
    }

    async fn find_day_key(&self, project: ProjectId, day: i64) -> Result<Option<Sealed>> {
        let query = sqlx::query_scalar(FIND_DAY_KEY).bind(project.as_uuid()).bind(day);
        let sealed: Option<Blob> = query.fetch_optional(&self.reads).await?;
        Ok(sealed.map(Into::into))
    }

    async fn create_day_key(&self, project: ProjectId, day: i64, sealed: &Sealed) -> Result<Sealed> {
        let mut tx = self.begin_immediate().await?;
        let query = sqlx::query(CREATE_DAY_KEY).bind(project.as_uuid()).bind(day).bind(&sealed.0);
        query.execute(&mut *tx).await?;
        let query = sqlx::query_scalar(FIND_DAY_KEY).bind(project.as_uuid()).bind(day);
        let kept: Blob = query.fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(kept.into())
    }

    async fn shred_day_keys(&self, now: Timestamp) -> Result<u64> {
        let projects = self.list_projects().await?;
        let first_kept =
            |project: &Project| (project.id.as_uuid(), now.day() - i64::from(project.settings.retention_days));
        let first_kept: Vec<(Uuid, i64)> = projects.iter().map(first_kept).collect();
        let done = sqlx::query(SHRED_DAY_KEYS).bind(json(&first_kept)?).execute(&self.writes).await?;
        Ok(done.rows_affected())
    }

    async fn void_leases(&self, now: Timestamp) -> Result<u64> {
        let mut tx = self.begin_immediate().await?;
        sqlx::query(HELD_ARE_DUE).bind(now.as_ms()).execute(&mut *tx).await?;
        let done = sqlx::query(VOID_LEASES).bind(now.as_ms()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }

    async fn backlog(&self, now: Timestamp) -> Result<Backlog> {
        let query = sqlx::query_as(BACKLOG).bind(now.as_ms());
        let (due, oldest): (i64, Option<i64>) = query.fetch_one(&self.reads).await?;
        let oldest = oldest.map_or(Duration::ZERO, |oldest| now.since(Timestamp::from_ms(oldest)));
        Ok(Backlog { due: due.unsigned_abs(), oldest })
    }

    async fn erase_codes(&self, from: VerificationId, until: VerificationId) -> Result<u64> {
        let query = sqlx::query(ERASE_CODES).bind(from.as_uuid()).bind(until.as_uuid()).bind(self.now().await?.as_ms());
        Ok(query.execute(&self.writes).await?.rows_affected())
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64> {
        sweep::sweep(self, now).await
    }

    async fn rotate(&self, now: Timestamp) -> Result<()> {
        sweep::rotate(self, now).await
    }
}
