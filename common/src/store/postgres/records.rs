//! Lists, timelines, statistics and the sandbox inbox.

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Transaction, query};
use uuid::Uuid;

use super::columns::{Columns, column, mode_codes};
use super::dispatches::{self, dispatch_columns};
use super::patience::answered;
use super::verifications::{self, verification_columns};
use super::{PgBackend, attempts, receipts, stats};
use crate::otp::channel::{Channel, Mode};
use crate::otp::ids::{DispatchId, ProjectId, VerificationId};
use crate::otp::rows::{Dispatch, Index, Verification};
use crate::otp::status::DispatchStatus;
use crate::otp::time::Timestamp;
use crate::store::Result;
use crate::store::records::{Count, Page, Record, RecordFilter, Records, SandboxMessage, Timeline};

/// What [`bind_filter`] binds, on a verification `v` and its newest dispatch `d`.
macro_rules! filtered {
    () => {
        " from verifications v
         join dispatches d on d.verification_id = v.id and d.newest
         where v.project_id = $1
           and v.mode = any($2::smallint[])
           and v.id >= $3 and v.id < $4
           and ($5::smallint is null or v.channel = $5)
           and ($6::boolean is null or (v.state = 1) = $6 and v.budget > 0)
           and ($7::smallint is null or d.status = $7)
           and ($8::text is null or v.record_id = $8)"
    };
}

fn bind_filter<'q>(
    query: Query<'q, Postgres, PgArguments>,
    filter: &'q RecordFilter,
    before: Option<VerificationId>,
) -> Query<'q, Postgres, PgArguments> {
    let floor = |at: Timestamp| VerificationId::floor(at).as_uuid();
    let until = filter.until.map_or(Uuid::max(), floor);
    query
        .bind(filter.project.as_uuid())
        .bind(mode_codes(filter.modes))
        .bind(filter.from.map_or(Uuid::nil(), floor))
        .bind(before.map_or(until, |before| until.min(before.as_uuid())))
        .bind(filter.channel.map(Channel::code))
        .bind(filter.verified)
        .bind(filter.status.map(DispatchStatus::code))
        .bind(filter.record.as_deref())
}

impl PgBackend {
    /// For statements whose best plan is another one for each filter.
    async fn begin_planned(&self) -> Result<Transaction<'static, Postgres>> {
        let begin = "begin read only; set local plan_cache_mode = force_custom_plan";
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
        let list = query(concat!(
            "select ",
            verification_columns!(),
            ", ",
            dispatch_columns!(),
            filtered!(),
            " order by v.id desc limit $9 offset $10"
        ));
        let list = bind_filter(list, filter, page.before).bind(i64::from(page.limit)).bind(i64::from(page.offset));
        let rows = answered(async {
            let mut tx = self.begin_planned().await?;
            let rows = list.fetch_all(&mut *tx).await?;
            tx.commit().await?;
            Ok(rows)
        });
        let rows = rows.await?;
        let read = |mut row: Columns<'_>| {
            let verification = verifications::read_columns(&mut row)?;
            Ok(Record { verification, dispatch: dispatches::read_columns(&mut row)? })
        };
        rows.iter().map(|row| read(Columns::of(row))).collect()
    }

    async fn count_records(&self, filter: &RecordFilter, at_most: u32) -> Result<u32> {
        let count = query(concat!("select count(*) from (select 1", filtered!(), " limit $9) as matches"));
        let row = answered(async {
            let mut tx = self.begin_planned().await?;
            let row = bind_filter(count, filter, None).bind(i64::from(at_most)).fetch_one(&mut *tx).await?;
            tx.commit().await?;
            Ok(row)
        });
        let row = row.await?;
        Ok(u32::try_from(Columns::of(&row).take::<i64>()?).unwrap_or(at_most))
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
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Vec<Count>> {
        answered(async { stats::sum(&mut *self.pool.acquire().await?, project, modes, from, until).await }).await
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
