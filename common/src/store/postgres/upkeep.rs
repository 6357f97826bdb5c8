//! Schema, time, day keys, leases and forgetting.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{ConnectOptions, Connection, PgConnection, query};
use uuid::Uuid;

use super::columns::Columns;
use super::{PgBackend, days, partitions, schema, sweep};
use crate::otp::ids::{ProjectId, VerificationId};
use crate::otp::rows::Sealed;
use crate::otp::settings::ProjectSettings;
use crate::otp::time::{DAY_MS, Timestamp};
use crate::store::Result;
use crate::store::upkeep::{Backlog, Upkeep};

#[async_trait]
impl Upkeep for PgBackend {
    async fn migrate(&self) -> Result<()> {
        schema::migrate(self.unhurried.clone()).await?;
        self.rotate(self.now().await?).await
    }

    async fn is_migrated(&self) -> Result<bool> {
        schema::is_current(&self.pool.get()).await
    }

    async fn now(&self) -> Result<Timestamp> {
        let row = query("select (extract(epoch from clock_timestamp()) * 1000)::bigint").fetch_one(&self.pool).await?;
        Columns::of(&row).time()
    }

    async fn find_day_key(&self, project: ProjectId, day: i64) -> Result<Option<Sealed>> {
        let row = query("select sealed from day_keys where project_id = $1 and day = $2")
            .bind(project.as_uuid())
            .bind(day)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Columns::of(&row).sealed()).transpose()
    }

    async fn create_day_key(&self, project: ProjectId, day: i64, sealed: &Sealed) -> Result<Sealed> {
        // Updating to what is there answers the row that is kept, whoever made it.
        let row = query(
            "insert into day_keys (project_id, day, sealed) values ($1, $2, $3)
             on conflict (project_id, day) do update set sealed = day_keys.sealed
             returning sealed",
        )
        .bind(project.as_uuid())
        .bind(day)
        .bind(sealed.0.as_slice())
        .fetch_one(&self.pool)
        .await?;
        Columns::of(&row).sealed()
    }

    async fn shred_day_keys(&self, now: Timestamp) -> Result<u64> {
        let deleted = query(
            "delete from day_keys
             using projects
             where projects.id = day_keys.project_id
               and day_keys.day + coalesce((projects.settings ->> 'retention_days')::bigint, $2) < $1",
        )
        .bind(now.day())
        .bind(i64::from(ProjectSettings::default().retention_days))
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }

    async fn void_leases(&self, now: Timestamp) -> Result<u64> {
        // No lease is older than a code can live, so a day's partitions are enough.
        let ended = query(
            "with ended as (
                 update dispatches set lease_until = $1
                 where verification_id >= $2 and lease_until > $1
                 returning verification_id, n
             ), hurried as (
                 update due set due_at = least(due.due_at, $1)
                 from ended
                 where due.verification_id = ended.verification_id and due.n = ended.n
             )
             select count(*) from ended",
        )
        .bind(now.as_ms())
        .bind(VerificationId::floor(Timestamp::from_ms(now.as_ms() - DAY_MS)).as_uuid())
        .fetch_one(&self.pool)
        .await?;
        Ok(Columns::of(&ended).take::<i64>()?.unsigned_abs())
    }

    async fn backlog(&self, now: Timestamp) -> Result<Backlog> {
        let row = query(
            "select count(*), min(due_at)
             from (select due_at from due where due_at <= $1 order by due_at limit 10000) as waiting",
        )
        .bind(now.as_ms())
        .fetch_one(&self.pool)
        .await?;
        let mut row = Columns::of(&row);
        let due = row.take::<i64>()?.unsigned_abs();
        let oldest = row.time_if_any()?.map_or(Duration::ZERO, |oldest| now.since(oldest));
        Ok(Backlog { due, oldest })
    }

    async fn erase_codes(&self, from: VerificationId, until: VerificationId) -> Result<u64> {
        let now = self.now().await?.max(until.created());
        let (mut from, mut erased) = (from, 0);
        loop {
            let (step, last) = erase_some_codes(&mut *self.pool.acquire().await?, from, until, now).await?;
            erased += step;
            let Some(last) = last else { return Ok(erased) };
            from = VerificationId::from_uuid(Uuid::from_u128(last.as_uuid().as_u128().saturating_add(1)));
        }
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64> {
        let mut connection = self.pool.acquire().await?;
        let retention = partitions::longest_retention(&mut connection).await?;
        sweep::sweep(&mut connection, now, retention).await
    }

    async fn rotate(&self, now: Timestamp) -> Result<()> {
        let mut connection = self.unhurried.connect().await?;
        partitions::rotate(&mut connection, now).await?;
        days::close(&mut connection, now).await?;
        Ok(connection.close().await?)
    }
}

/// Looks at the next verifications from `from` on; answers how many codes it erased and where it came to.
async fn erase_some_codes(
    connection: &mut PgConnection,
    from: VerificationId,
    until: VerificationId,
    now: Timestamp,
) -> Result<(u64, Option<VerificationId>)> {
    let row = query(
        "with page as materialized (
             select id, code is not null and (state <> 0 or expires_at <= $3) as is_over
             from verifications
             where id >= $1 and id < $2
             order by id
             limit 5000
         ), over as (
             select v.id
             from page
             join verifications v on v.id = page.id and v.id >= $1 and v.id < $2
             where page.is_over
             order by v.id
             for no key update of v skip locked
         ), erased as (
             update verifications v set code = null from over
             where v.id = over.id and v.id >= $1 and v.id < $2
             returning v.id
         )
         select (select count(*) from erased), (select id from page order by id desc limit 1)",
    )
    .bind(from.as_uuid())
    .bind(until.as_uuid())
    .bind(now.as_ms())
    .fetch_one(connection)
    .await?;
    let mut row = Columns::of(&row);
    let erased = row.take::<i64>()?.unsigned_abs();
    Ok((erased, row.take::<Option<Uuid>>()?.map(VerificationId::from_uuid)))
}
