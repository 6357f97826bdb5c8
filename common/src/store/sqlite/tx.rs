//! A transaction. It alone may write while it lasts, so every row it finds is as good as locked.

use std::collections::HashMap;
use std::hash::Hash;

use async_trait::async_trait;
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Sqlite, Transaction};
use uuid::Uuid;

use super::rows::{
    AttemptRow, DispatchKey, DispatchRow, DueJoin, IdempotencyRow, LimitRow, MessageIdRow, MessageKey, OpenTargetRow,
    ReceiptRow, VerificationRow, idempotency_key, index, open_target_key, verification_ids,
};
use super::{fetch, json, write};
use crate::otp::chain::Dispatches;
use crate::otp::changes::Changes;
use crate::otp::channel::Mode;
use crate::otp::ids::{AttemptId, DispatchId, ProjectId, VerificationId};
use crate::otp::rows::{
    Attempt, Counters, Dispatch, Due, IdempotencyKey, Index, LimitTimes, OpenTarget, OpenTargetKey, Receipt,
    Remembered, Verification,
};
use crate::otp::time::Timestamp;
use crate::store::{Result, Shared, StoreError, Tx, Verifications};

pub(super) struct SqliteTx(Transaction<'static, Sqlite>);

impl SqliteTx {
    pub(super) const fn new(transaction: Transaction<'static, Sqlite>) -> Self {
        Self(transaction)
    }

    async fn fetch<T>(&mut self, sql: &'static str, keys: &impl Serialize) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        fetch(&mut self.0, sql, keys).await
    }

    /// Rows by the keys that the domain knows them by.
    async fn map<T, K, V>(
        &mut self,
        sql: &'static str,
        keys: &impl Serialize,
        key: fn(&V) -> K,
    ) -> Result<HashMap<K, V>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
        V: TryFrom<T>,
        StoreError: From<V::Error>,
        K: Eq + Hash,
    {
        let rows: Vec<T> = self.fetch(sql, keys).await?;
        let keyed = |row| V::try_from(row).map(|value| (key(&value), value));
        Ok(rows.into_iter().map(keyed).collect::<std::result::Result<_, _>>()?)
    }
}

const LIMITS: &str = "
    select key, time0, time1, time2
      from limits
     where key in (select unhex(value, '-') from json_each($1))";

const IDEMPOTENCY_KEYS: &str = "
    select project_id, mode, key, request, verification_id, dispatch_n, expires_in, created_at
      from idempotency_keys
     where (project_id, mode, key) in (
               select unhex(value->>0, '-'), value->>1, unhex(value->>2, '-') from json_each($1))";

const OPEN_TARGETS: &str = "
    select project_id, target, record_id, mode, verification_id, expires_at
      from open_targets
     where (project_id, target, record_id, mode) in (
               select unhex(value->>0, '-'), unhex(value->>1, '-'), value->>2, value->>3 from json_each($1))";

const OPEN_TARGETS_OF: &str = "
    select project_id, target, record_id, mode, verification_id, expires_at
      from open_targets
     where (project_id, target) in (select unhex(value->>0, '-'), unhex(value->>1, '-') from json_each($1))";

const VERIFICATIONS: &str = "
    select *
      from verifications
     where id in (select unhex(value, '-') from json_each($1))";

const NEWEST_BY_RECORD: &str = "
    select id
      from verifications
     where project_id = $1
       and record_id = $2
       and record_id <> ''
       and mode in (select value from json_each($3))
     order by id desc
     limit 1";

const DISPATCHES_OF: &str = "
    select *
      from dispatches
     where verification_id in (select unhex(value, '-') from json_each($1))
     order by verification_id, n";

const DISPATCHES: &str = "
    select *
      from dispatches
     where (verification_id, n) in (select unhex(value->>0, '-'), value->>1 from json_each($1))";

const DUE: &str = "
    select dispatches.*, due_at, deadline, published
      from due
      join dispatches using (verification_id, n)
     where due_at <= $1
     order by deadline, verification_id, n
     limit $2";

const ATTEMPTS: &str = "
    select *
      from attempts
     where (verification_id, dispatch_n) in (select unhex(value->>0, '-'), value->>1 from json_each($1))";

const MESSAGE_IDS: &str = "
    select *
      from message_ids
     where (provider, message_id) in (select value->>0, value->>1 from json_each($1))";

const PARKED_RECEIPTS: &str = "
    select *
      from receipts
     where verification_id is null
       and (provider, message_id) in (select value->>0, value->>1 from json_each($1))
     order by received_at, id";

const JOINABLE_RECEIPTS: &str = "
    select receipts.*
      from receipts
      join message_ids using (provider, message_id)
     where receipts.verification_id is null
       and receipts.received_at >= $1
     order by receipts.received_at, receipts.id
     limit $2";

const PROJECTS: &str = "
    select id, tokens, tokens_used, rate_at
      from projects
     where id in (select unhex(value, '-') from json_each($1))";

#[async_trait]
impl Tx for SqliteTx {
    async fn lock_limits(&mut self, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>> {
        self.read_limits(keys).await
    }

    async fn read_limits(&mut self, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>> {
        let keys: Vec<Uuid> = keys.iter().copied().map(index).collect();
        let rows: Vec<LimitRow> = self.fetch(LIMITS, &keys).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    async fn lock_shared(
        &mut self,
        keys: &[IdempotencyKey],
        targets: &[OpenTargetKey],
        projects: &[ProjectId],
    ) -> Result<Shared> {
        let mut shared = Shared { projects: self.lock_projects(projects).await?, ..Shared::default() };
        if !keys.is_empty() {
            let keys: Vec<_> = keys.iter().map(idempotency_key).collect();
            let key = |row: &Remembered| row.key.clone();
            shared.remembered = self.map::<IdempotencyRow, _, _>(IDEMPOTENCY_KEYS, &keys, key).await?;
        }
        let keys: Vec<_> = targets.iter().map(open_target_key).collect();
        let rows: Vec<OpenTargetRow> = self.fetch(OPEN_TARGETS, &keys).await?;
        shared.open_targets = rows.into_iter().map(OpenTarget::from).map(|row| (row.key.clone(), row)).collect();
        Ok(shared)
    }

    async fn read_open_targets(&mut self, targets: &[(ProjectId, Index)]) -> Result<Vec<OpenTarget>> {
        let keys: Vec<_> = targets.iter().map(|(project, target)| (project.as_uuid(), index(*target))).collect();
        let rows: Vec<OpenTargetRow> = self.fetch(OPEN_TARGETS_OF, &keys).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    async fn lock_verifications(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Verification>> {
        self.read_verifications(ids).await
    }

    async fn read_verifications(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Verification>> {
        let ids = verification_ids(ids);
        self.map::<VerificationRow, _, _>(VERIFICATIONS, &ids, |row: &Verification| row.id).await
    }

    async fn newest_by_record(
        &mut self,
        project: ProjectId,
        modes: &[Mode],
        record: &str,
    ) -> Result<Option<VerificationId>> {
        let modes: Vec<_> = modes.iter().map(|mode| mode.code()).collect();
        let query = sqlx::query_scalar(NEWEST_BY_RECORD).bind(project.as_uuid()).bind(record).bind(json(&modes)?);
        let id: Option<Uuid> = query.fetch_optional(&mut *self.0).await?;
        Ok(id.map(VerificationId::from_uuid))
    }

    async fn lock_dispatches_of(&mut self, ids: &[VerificationId]) -> Result<HashMap<VerificationId, Vec<Dispatch>>> {
        let rows: Vec<DispatchRow> = self.fetch(DISPATCHES_OF, &verification_ids(ids)).await?;
        let mut lists: HashMap<VerificationId, Vec<Dispatch>> = HashMap::new();
        for row in rows {
            let dispatch = Dispatch::try_from(row)?;
            lists.entry(dispatch.id.verification).or_default().push(dispatch);
        }
        Ok(lists)
    }

    async fn lock_dispatches(&mut self, ids: &[DispatchId]) -> Result<(Dispatches, Verifications)> {
        let keys: Vec<_> = ids.iter().map(DispatchKey::from).collect();
        let dispatches = self.map::<DispatchRow, _, _>(DISPATCHES, &keys, |row: &Dispatch| row.id).await?;
        let mut ids: Vec<_> = ids.iter().map(|id| id.verification).collect();
        ids.dedup();
        Ok((dispatches, self.read_verifications(&ids).await?))
    }

    async fn lock_waiting_of(&mut self, ids: &[VerificationId]) -> Result<HashMap<DispatchId, Dispatch>> {
        let rows: Vec<DispatchRow> = self.fetch(DISPATCHES_OF, &verification_ids(ids)).await?;
        rows.into_iter().map(|row| Dispatch::try_from(row).map(|dispatch| (dispatch.id, dispatch))).collect()
    }

    async fn lock_due(&mut self, now: Timestamp, limit: u32) -> Result<Vec<(Due, Dispatch)>> {
        let query = sqlx::query_as(DUE).bind(now.as_ms()).bind(limit);
        let rows: Vec<DueJoin> = query.fetch_all(&mut *self.0).await?;
        rows.into_iter().map(TryFrom::try_from).collect()
    }

    async fn read_attempts(&mut self, dispatches: &[DispatchId]) -> Result<HashMap<AttemptId, Attempt>> {
        let keys: Vec<_> = dispatches.iter().map(DispatchKey::from).collect();
        self.map::<AttemptRow, _, _>(ATTEMPTS, &keys, |row: &Attempt| row.id).await
    }

    async fn read_message_ids(&mut self, ids: &[(String, String)]) -> Result<HashMap<(String, String), AttemptId>> {
        let keys: Vec<_> = ids.iter().map(MessageKey::from).collect();
        let rows: Vec<MessageIdRow> = self.fetch(MESSAGE_IDS, &keys).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    async fn parked_receipts(&mut self, ids: &[(String, String)]) -> Result<HashMap<(String, String), Vec<Receipt>>> {
        let keys: Vec<_> = ids.iter().map(MessageKey::from).collect();
        let rows: Vec<ReceiptRow> = self.fetch(PARKED_RECEIPTS, &keys).await?;
        let mut parked: HashMap<_, Vec<_>> = HashMap::new();
        for row in rows {
            let receipt = Receipt::try_from(row)?;
            parked.entry((receipt.provider.clone(), receipt.message_id.clone())).or_default().push(receipt);
        }
        Ok(parked)
    }

    async fn joinable_receipts(&mut self, since: Timestamp, limit: u32) -> Result<Vec<Receipt>> {
        let query = sqlx::query_as(JOINABLE_RECEIPTS).bind(since.as_ms()).bind(limit);
        let rows: Vec<ReceiptRow> = query.fetch_all(&mut *self.0).await?;
        rows.into_iter().map(TryFrom::try_from).collect()
    }

    async fn lock_projects(&mut self, ids: &[ProjectId]) -> Result<HashMap<ProjectId, Counters>> {
        let ids: Vec<_> = ids.iter().map(ProjectId::as_uuid).collect();
        let rows: Vec<(Uuid, Option<i64>, i64, i64)> = self.fetch(PROJECTS, &ids).await?;
        let counters = |(id, tokens, used, rate_at)| {
            (ProjectId::from_row(id), Counters { tokens, used, rate: Timestamp::from_ms(rate_at) })
        };
        Ok(rows.into_iter().map(counters).collect())
    }

    async fn write(&mut self, changes: &Changes) -> Result<()> {
        write::write(&mut self.0, changes).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        Ok(self.0.commit().await?)
    }
}
