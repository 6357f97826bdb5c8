//! The table `idempotency_keys`: first replies, kept for a day.

use std::collections::{BTreeSet, HashMap};

use sqlx::{PgConnection, query};
use uuid::Uuid;

use super::columns::{Columns, column};
use crate::otp::ids::DispatchId;
use crate::otp::rows::{IdempotencyKey, Remembered};
use crate::store::Result;

/// Locks the keys and makes those that are missing; answers which it made. Waits for whoever holds one.
pub(super) async fn lock(connection: &mut PgConnection, keys: &[IdempotencyKey]) -> Result<BTreeSet<IdempotencyKey>> {
    let (projects, modes, indexes) = parts(keys.iter());
    // `where false` locks a row that is there and leaves it alone; only rows that were made are returned.
    let rows = query(
        "insert into idempotency_keys (project_id, mode, key)
         select * from unnest($1::uuid[], $2::smallint[], $3::bytea[]) as wanted order by 1, 2, 3
         on conflict (project_id, mode, key) do update set request = idempotency_keys.request where false
         returning project_id, mode, key",
    )
    .bind(projects)
    .bind(modes)
    .bind(indexes)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| key(&mut Columns::of(row))).collect()
}

/// The keys that hold a reply.
pub(super) async fn read(
    connection: &mut PgConnection,
    keys: impl Iterator<Item = &IdempotencyKey> + Clone,
) -> Result<HashMap<IdempotencyKey, Remembered>> {
    let (projects, modes, indexes) = parts(keys);
    let rows = query(
        "select k.project_id, k.mode, k.key, k.request, k.verification_id, k.dispatch_n, k.expires_in, k.created_at
         from unnest($1::uuid[], $2::smallint[], $3::bytea[]) as wanted (project_id, mode, key)
         join idempotency_keys k
           on k.project_id = wanted.project_id and k.mode = wanted.mode and k.key = wanted.key
         where k.request is not null",
    )
    .bind(projects)
    .bind(modes)
    .bind(indexes)
    .fetch_all(connection)
    .await?;
    let read = |mut row: Columns<'_>| {
        let key = key(&mut row)?;
        let remembered = Remembered {
            key: key.clone(),
            request: row.bytes()?,
            dispatch: DispatchId { verification: row.verification()?, n: row.take()? },
            expires_in: row.take()?,
            created: row.time()?,
        };
        Ok((key, remembered))
    };
    rows.iter().map(|row| read(Columns::of(row))).collect()
}

pub(super) async fn write(connection: &mut PgConnection, rows: &[Remembered]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<&Remembered> = rows.iter().collect();
    let (projects, modes, indexes) = parts(rows.iter().map(|row| &row.key));
    query(
        "insert into idempotency_keys
             (project_id, mode, key, request, verification_id, dispatch_n, expires_in, created_at)
         select * from unnest($1::uuid[], $2::smallint[], $3::bytea[], $4::bytea[], $5::uuid[], $6::smallint[],
                              $7::integer[], $8::bigint[]) as new
         order by 1, 2, 3
         on conflict (project_id, mode, key) do update
         set request = excluded.request, verification_id = excluded.verification_id,
             dispatch_n = excluded.dispatch_n, expires_in = excluded.expires_in, created_at = excluded.created_at",
    )
    .bind(projects)
    .bind(modes)
    .bind(indexes)
    .bind(column(&rows, |row| row.request.as_slice()))
    .bind(column(&rows, |row| row.dispatch.verification.as_uuid()))
    .bind(column(&rows, |row| row.dispatch.n))
    .bind(column(&rows, |row| row.expires_in))
    .bind(column(&rows, |row| row.created.as_ms()))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn remove(connection: &mut PgConnection, keys: &BTreeSet<IdempotencyKey>) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let (projects, modes, indexes) = parts(keys.iter());
    query(
        "delete from idempotency_keys k
         using unnest($1::uuid[], $2::smallint[], $3::bytea[]) as gone (project_id, mode, key)
         where k.project_id = gone.project_id and k.mode = gone.mode and k.key = gone.key",
    )
    .bind(projects)
    .bind(modes)
    .bind(indexes)
    .execute(connection)
    .await?;
    Ok(())
}

fn key(row: &mut Columns<'_>) -> Result<IdempotencyKey> {
    Ok(IdempotencyKey { project: row.project()?, mode: row.mode()?, key: row.bytes()? })
}

fn parts<'a>(keys: impl Iterator<Item = &'a IdempotencyKey> + Clone) -> (Vec<Uuid>, Vec<i16>, Vec<&'a [u8]>) {
    (
        keys.clone().map(|key| key.project.as_uuid()).collect(),
        keys.clone().map(|key| key.mode.code()).collect(),
        keys.map(|key| key.key.as_slice()).collect(),
    )
}
