//! Looking back: lists and timelines, statistics, and the sandbox inbox.

use std::collections::HashMap;

use async_trait::async_trait;
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::rows::{AttemptRow, Blob, DispatchKey, DispatchRow, ReceiptRow, VerificationRow, index, known};
use super::{SqliteBackend, fetch, json};
use crate::otp::changes::Dimension;
use crate::otp::channel::{Channel, Mode};
use crate::otp::ids::{DispatchId, ProjectId, VerificationId};
use crate::otp::rows::{Dispatch, Index, Verification};
use crate::otp::status::DispatchStatus;
use crate::otp::time::Timestamp;
use crate::store::records::{Count, Page, Record, RecordFilter, Records, SandboxMessage, Timeline};
use crate::store::{Result, StoreError};

/// A filter as statements take it: what is null does not filter.
#[derive(Serialize)]
struct Filter<'a> {
    project: Uuid,
    modes: Vec<i16>,
    channel: Option<i16>,
    verified: Option<bool>,
    status: Option<i16>,
    record: Option<&'a str>,
    /// Ids from this one on, and before that one.
    from: Uuid,
    before: Uuid,
}

impl<'a> Filter<'a> {
    fn new(filter: &'a RecordFilter, before: Option<VerificationId>) -> Self {
        let until = filter.until.map(VerificationId::floor);
        let before = [until, before].into_iter().flatten().min();
        let from = filter.from.map_or(Uuid::nil(), |from| VerificationId::floor(from).as_uuid());
        Self {
            project: filter.project.as_uuid(),
            modes: codes(filter.modes),
            channel: filter.channel.map(Channel::code),
            verified: filter.verified,
            status: filter.status.map(DispatchStatus::code),
            record: filter.record.as_deref(),
            from,
            before: before.map_or(Uuid::max(), |before| before.as_uuid()),
        }
    }
}

fn codes(modes: &[Mode]) -> Vec<i16> {
    modes.iter().map(|mode| mode.code()).collect()
}

/// A statement over the verifications that a filter lets through. A record id has a text of its own: only where its
/// condition is a plain one does the index on it serve.
macro_rules! matching {
    ($select:literal, $record:literal, $end:literal) => {
        concat!(
            $select,
            " from verifications
             where project_id = unhex($1->>'project', '-')
               and id >= unhex($1->>'from', '-')
               and id < unhex($1->>'before', '-')
               and mode in (select value from json_each($1, '$.modes'))
               and ($1->>'channel' is null or channel = $1->>'channel')
               and ($1->>'verified' is null or (state = 1) = ($1->>'verified') and budget > 0)
               and ($1->>'status' is null or exists (
                       select 1
                         from dispatches
                        where verification_id = id
                          and newest
                          and status = $1->>'status'))",
            $record,
            $end
        )
    };
}

const LIST: &str = matching!("select *", "", " order by id desc limit $2 offset $3");
const LIST_BY_RECORD: &str =
    matching!("select *", " and record_id = $1->>'record' and record_id <> ''", " order by id desc limit $2 offset $3");
const COUNT: &str = matching!("select count(*) from (select 1", "", " limit $2)");
const COUNT_BY_RECORD: &str =
    matching!("select count(*) from (select 1", " and record_id = $1->>'record' and record_id <> ''", " limit $2)");

const TIMELINE: &str = "
    select *
      from verifications
     where id = $1
       and project_id = $2
       and mode in (select value from json_each($3))";

const DISPATCHES: &str = "
    select *
      from dispatches
     where (verification_id, n) in (select unhex(value->>0, '-'), value->>1 from json_each($1))";

const NEWEST: &str = "
    select *
      from dispatches
     where verification_id in (select unhex(value, '-') from json_each($1))
       and newest";

const STATS: &str = "
    select dimension, value, sum(count)
      from stats_hourly
     where project_id = $1
       and mode in (select value from json_each($2))
       and hour >= $3
       and hour < $4
       and dimension in (select value from json_each($5))
     group by dimension, value
    having sum(count) <> 0
     order by dimension, value";

// What waits is found by its due row, what ended unsent by an index of its own: neither goes through all dispatches.
const LIST_DISPATCHES: &str = "
    select *
      from (select dispatches.*
              from due
             cross join dispatches using (verification_id, n)
             where status in (0, 1, 7)
             union all
            select *
              from dispatches indexed by dispatches_unsent
             where status in (5, 6))
     where status in (select value from json_each($1))
     order by verification_id desc, n desc
     limit $2";

const KEEP_MESSAGES: &str = "
    insert into sandbox_messages (id, project_id, mode, channel, target, sealed, created_at)
    select unhex(value->>'id', '-'), unhex(value->>'project_id', '-'), value->>'mode', value->>'channel',
           unhex(value->>'target', '-'), unhex(value->>'sealed'), value->>'created_at'
      from jsonb_each($1)";

const MESSAGES: &str = "
    select *
      from sandbox_messages
     where project_id = $1
       and mode in (select value from json_each($2))
       and ($3 is null or target in (select unhex(value, '-') from json_each($3)))
     order by created_at desc, id desc
     limit $4";

#[derive(Debug, Serialize, FromRow)]
struct MessageRow {
    id: Uuid,
    project_id: Uuid,
    mode: i16,
    channel: i16,
    target: Uuid,
    sealed: Blob,
    created_at: i64,
}

impl From<&SandboxMessage> for MessageRow {
    fn from(of: &SandboxMessage) -> Self {
        Self {
            id: of.id,
            project_id: of.project.as_uuid(),
            mode: of.mode.code(),
            channel: of.channel.code(),
            target: index(of.target),
            sealed: Blob::from(&of.sealed),
            created_at: of.created.as_ms(),
        }
    }
}

impl TryFrom<MessageRow> for SandboxMessage {
    type Error = StoreError;

    fn try_from(row: MessageRow) -> Result<Self> {
        Ok(Self {
            id: row.id,
            project: ProjectId::from_row(row.project_id),
            mode: Mode::from_code(row.mode),
            channel: known(Channel::from_code(row.channel), "sandbox_messages.channel")?,
            target: row.target.into_bytes(),
            sealed: row.sealed.into(),
            created: Timestamp::from_ms(row.created_at),
        })
    }
}

#[async_trait]
impl Records for SqliteBackend {
    async fn list_records(&self, filter: &RecordFilter, page: Page) -> Result<Vec<Record>> {
        let sql = if filter.record.is_some() { LIST_BY_RECORD } else { LIST };
        let mut tx = self.reads.begin().await?;
        let query = sqlx::query_as(sql).bind(json(&Filter::new(filter, page.before))?).bind(page.limit);
        let rows: Vec<VerificationRow> = query.bind(page.offset).fetch_all(&mut *tx).await?;
        let verifications: Vec<Verification> = rows.into_iter().map(TryFrom::try_from).collect::<Result<_>>()?;

        let ids: Vec<_> = verifications.iter().map(|verification| verification.id.as_uuid()).collect();
        let rows: Vec<DispatchRow> = fetch(&mut tx, NEWEST, &ids).await?;
        let keyed = |row| Dispatch::try_from(row).map(|dispatch| (dispatch.id.verification, dispatch));
        let mut newest: HashMap<_, _> = rows.into_iter().map(keyed).collect::<Result<_>>()?;
        let with_newest = |verification: Verification| {
            let dispatch = newest.remove(&verification.id)?;
            Some(Record { verification, dispatch })
        };
        Ok(verifications.into_iter().filter_map(with_newest).collect())
    }

    async fn count_records(&self, filter: &RecordFilter, at_most: u32) -> Result<u32> {
        let sql = if filter.record.is_some() { COUNT_BY_RECORD } else { COUNT };
        let query = sqlx::query_scalar(sql).bind(json(&Filter::new(filter, None))?).bind(at_most);
        Ok(query.fetch_one(&self.reads).await?)
    }

    async fn listed_since(&self) -> Result<Option<Timestamp>> {
        // Rows go in small steps, so at no time is it known how many of an hour are left.
        Ok(None)
    }

    async fn timeline(&self, project: ProjectId, modes: &[Mode], id: VerificationId) -> Result<Option<Timeline>> {
        let mut tx = self.reads.begin().await?;
        let query = sqlx::query_as(TIMELINE).bind(id.as_uuid()).bind(project.as_uuid()).bind(json(&codes(modes))?);
        let Some(row): Option<VerificationRow> = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
        let query = sqlx::query_as("select * from dispatches where verification_id = $1 order by n");
        let dispatches: Vec<DispatchRow> = query.bind(id.as_uuid()).fetch_all(&mut *tx).await?;
        let query = sqlx::query_as("select * from attempts where verification_id = $1 order by dispatch_n, n");
        let attempts: Vec<AttemptRow> = query.bind(id.as_uuid()).fetch_all(&mut *tx).await?;
        let query = sqlx::query_as("select * from receipts where verification_id = $1 order by received_at, id");
        let receipts: Vec<ReceiptRow> = query.bind(id.as_uuid()).fetch_all(&mut *tx).await?;
        Ok(Some(Timeline {
            verification: row.try_into()?,
            dispatches: dispatches.into_iter().map(TryFrom::try_from).collect::<Result<_>>()?,
            attempts: attempts.into_iter().map(TryFrom::try_from).collect::<Result<_>>()?,
            receipts: receipts.into_iter().map(TryFrom::try_from).collect::<Result<_>>()?,
        }))
    }

    async fn stats(
        &self,
        project: ProjectId,
        modes: &[Mode],
        dimensions: &[Dimension],
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Vec<Count>> {
        let dimensions: Vec<_> = dimensions.iter().map(|dimension| dimension.code()).collect();
        let query = sqlx::query_as(STATS)
            .bind(project.as_uuid())
            .bind(json(&codes(modes))?)
            .bind(from.map_or(i64::MIN, Timestamp::as_ms))
            .bind(until.map_or(i64::MAX, Timestamp::as_ms))
            .bind(json(&dimensions)?);
        let rows: Vec<(i16, String, i64)> = query.fetch_all(&self.reads).await?;
        let counted = |(dimension, value, count)| {
            Ok(Count { dimension: known(Dimension::from_code(dimension), "stats_hourly.dimension")?, value, count })
        };
        rows.into_iter().map(counted).collect()
    }

    async fn list_dispatches(&self, statuses: &[DispatchStatus], limit: u32) -> Result<Vec<Dispatch>> {
        let statuses: Vec<_> = statuses.iter().map(|status| status.code()).collect();
        let query = sqlx::query_as(LIST_DISPATCHES).bind(json(&statuses)?).bind(limit);
        let rows: Vec<DispatchRow> = query.fetch_all(&self.reads).await?;
        rows.into_iter().map(TryFrom::try_from).collect()
    }

    async fn find_dispatch(&self, id: DispatchId) -> Result<Option<(Dispatch, Verification)>> {
        let mut tx = self.reads.begin().await?;
        let dispatches: Vec<DispatchRow> = fetch(&mut tx, DISPATCHES, &[DispatchKey::from(&id)]).await?;
        let query = sqlx::query_as("select * from verifications where id = $1").bind(id.verification.as_uuid());
        let verification: Option<VerificationRow> = query.fetch_optional(&mut *tx).await?;
        let found = dispatches.into_iter().next().zip(verification);
        found.map(|(dispatch, verification)| Ok((dispatch.try_into()?, verification.try_into()?))).transpose()
    }

    async fn keep_messages(&self, messages: &[SandboxMessage]) -> Result<()> {
        let rows: Vec<_> = messages.iter().map(MessageRow::from).collect();
        sqlx::query(KEEP_MESSAGES).bind(json(&rows)?).execute(&self.writes).await?;
        Ok(())
    }

    async fn sandbox_messages(
        &self,
        project: ProjectId,
        modes: &[Mode],
        targets: Option<&[Index]>,
        limit: u32,
    ) -> Result<Vec<SandboxMessage>> {
        let targets = targets.map(|targets| targets.iter().copied().map(index).collect::<Vec<_>>());
        let query = sqlx::query_as(MESSAGES)
            .bind(project.as_uuid())
            .bind(json(&codes(modes))?)
            .bind(targets.map(|targets| json(&targets)).transpose()?)
            .bind(limit);
        let rows: Vec<MessageRow> = query.fetch_all(&self.reads).await?;
        rows.into_iter().map(TryFrom::try_from).collect()
    }
}
