//! Lists, timelines, statistics and the sandbox inbox.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, Transaction, query};

use super::columns::{Columns, column, mode_codes};
use super::dispatches::{self, dispatch_columns};
use super::patience::answered;
use super::verifications::{self, verification_columns};
use super::{PgBackend, attempts, listing, partitions, receipts, stats};
use crate::otp::changes::Dimension;
use crate::otp::channel::{Channel, Mode};
use crate::otp::ids::{DispatchId, ProjectId, VerificationId};
use crate::otp::rows::{Dispatch, Index, Verification};
use crate::otp::status::DispatchStatus;
use crate::otp::time::Timestamp;
use crate::store::Result;
use crate::store::records::{Count, Page, Record, RecordFilter, Records, SandboxMessage, Timeline};

impl PgBackend {
    /// For statements whose best plan is another one for each filter.
    async fn begin_planned(&self) -> Result<Transaction<'static, Postgres>> {
        let begin = "begin read only; set local plan_cache_mode = force_custom_plan";
        Ok(self.pool.begin_with(begin).await?)
    }

    /// For statements that walk an index in its order, whose plans would else be made for few rows and sort them. What the
    /// first one finds the next one sees as it was.
    async fn begin_listing(&self) -> Result<Transaction<'static, Postgres>> {
        let begin = "begin isolation level repeatable read read only;
                     set local enable_bitmapscan = off; set local enable_sort = off";
        Ok(self.pool.begin_with(begin).await?)
    }
}

async fn find_verification(
    connection: &mut PgConnection,
    project: ProjectId,
    modes: &[Mode],
    id: VerificationId,
) -> Result<Option<Verification>> {
    let row = query(concat!(
        "select ",
        verification_columns!(),
        " from verifications v
         where v.id = $1 and v.project_id = $2 and v.mode = any($3::smallint[])"
    ))
    .bind(id.as_uuid())
    .bind(project.as_uuid())
    .bind(mode_codes(modes))
    .fetch_optional(connection)
    .await?;
    row.map(|row| verifications::read_columns(&mut Columns::of(&row))).transpose()
}

#[async_trait]
impl Records for PgBackend {
    async fn list_records(&self, filter: &RecordFilter, page: Page) -> Result<Vec<Record>> {
        answered(async {
            let mut tx = self.begin_listing().await?;
            let ids = listing::page(&mut tx, filter, page).await?;
            let records = listing::records(&mut tx, filter.project, &ids).await?;
            tx.commit().await?;
            Ok(records)
        })
        .await
    }

    async fn count_records(&self, filter: &RecordFilter, at_most: u32) -> Result<u32> {
        answered(async {
            let mut tx = self.begin_listing().await?;
            let count = listing::count(&mut tx, filter, at_most).await?;
            tx.commit().await?;
            Ok(count)
        })
        .await
    }

    async fn listed_since(&self) -> Result<Option<Timestamp>> {
        partitions::kept_since(&mut *self.pool.acquire().await?).await
    }

    async fn timeline(&self, project: ProjectId, modes: &[Mode], id: VerificationId) -> Result<Option<Timeline>> {
        answered(async {
            let mut connection = self.pool.acquire().await?;
            let Some(verification) = find_verification(&mut connection, project, modes, id).await? else {
                return Ok(None);
            };
            Ok(Some(Timeline {
                verification,
                dispatches: dispatches::of_verification(&mut connection, id).await?,
                attempts: attempts::of_verification(&mut connection, id).await?,
                receipts: receipts::of_verification(&mut connection, id).await?,
            }))
        })
        .await
    }

    async fn stats(
        &self,
        project: ProjectId,
        modes: &[Mode],
        dimensions: &[Dimension],
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Vec<Count>> {
        let mut connection = self.pool.acquire().await?;
        answered(stats::sum(&mut connection, project, modes, dimensions, from, until)).await
    }

    async fn list_dispatches(&self, statuses: &[DispatchStatus], limit: u32) -> Result<Vec<Dispatch>> {
        let (pending, ended): (Vec<_>, Vec<_>) = statuses.iter().partition(|status| status.is_pending());
        let mut tx = self.begin_planned().await?;
        let mut found = dispatches::pending(&mut tx, &pending, limit).await?;
        found.extend(dispatches::ended(&mut tx, &ended, limit).await?);
        tx.commit().await?;
        found.sort_unstable_by_key(|dispatch| std::cmp::Reverse(dispatch.id));
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn find_dispatch(&self, id: DispatchId) -> Result<Option<(Dispatch, Verification)>> {
        let row = query(concat!(
            "select ",
            dispatch_columns!(),
            ", ",
            verification_columns!(),
            " from dispatches d
             join verifications v on v.id = d.verification_id
             where d.verification_id = $1 and d.n = $2"
        ))
        .bind(id.verification.as_uuid())
        .bind(id.n)
        .fetch_optional(&self.pool)
        .await?;
        let read = |row: PgRow| {
            let mut row = Columns::of(&row);
            Ok((dispatches::read_columns(&mut row)?, verifications::read_columns(&mut row)?))
        };
        row.map(read).transpose()
    }

    async fn keep_messages(&self, messages: &[SandboxMessage]) -> Result<()> {
        let rows: Vec<&SandboxMessage> = messages.iter().collect();
        query(
            "insert into sandbox_messages (id, project_id, mode, channel, target, sealed, created_at)
             select * from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::smallint[], $5::bytea[], $6::bytea[],
                                  $7::bigint[])
             on conflict (id) do nothing",
        )
        .bind(column(&rows, |row| row.id))
        .bind(column(&rows, |row| row.project.as_uuid()))
        .bind(column(&rows, |row| row.mode.code()))
        .bind(column(&rows, |row| row.channel.code()))
        .bind(column(&rows, |row| row.target.as_slice()))
        .bind(column(&rows, |row| row.sealed.0.as_slice()))
        .bind(column(&rows, |row| row.created.as_ms()))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn sandbox_messages(
        &self,
        project: ProjectId,
        modes: &[Mode],
        targets: Option<&[Index]>,
        limit: u32,
    ) -> Result<Vec<SandboxMessage>> {
        let rows = query(
            "select id, project_id, mode, channel, target, sealed, created_at
             from sandbox_messages
             where project_id = $1 and mode = any($2::smallint[])
               and ($3::bytea[] is null or target = any($3))
             order by created_at desc, id desc
             limit $4",
        )
        .bind(project.as_uuid())
        .bind(mode_codes(modes))
        .bind(targets.map(|targets| targets.iter().map(Index::as_slice).collect::<Vec<_>>()))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(sandbox_message).collect()
    }
}

fn sandbox_message(row: &PgRow) -> Result<SandboxMessage> {
    let mut row = Columns::of(row);
    Ok(SandboxMessage {
        id: row.take()?,
        project: row.project()?,
        mode: row.mode()?,
        channel: row.code(Channel::from_code)?,
        target: row.bytes()?,
        sealed: row.sealed()?,
        created: row.time()?,
    })
}
