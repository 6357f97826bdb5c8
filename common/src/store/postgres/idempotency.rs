//! The table `idempotency_keys`: first replies, kept for a day.

use uuid::Uuid;

use super::columns::column;
use super::writes::Writes;
use crate::otp::rows::{IdempotencyKey, Remembered};

const UPDATE: &str = "update idempotency_keys k
    set request = new.request, verification_id = new.verification_id, dispatch_n = new.dispatch_n,
        expires_in = new.expires_in, created_at = new.created_at
    from unnest($1::uuid[], $2::smallint[], $3::bytea[], $4::bytea[], $5::uuid[], $6::smallint[], $7::integer[],
                $8::bigint[])
         as new (project_id, mode, key, request, verification_id, dispatch_n, expires_in, created_at)
    where k.project_id = new.project_id and k.mode = new.mode and k.key = new.key";

const INSERT: &str = "insert into idempotency_keys
        (project_id, mode, key, request, verification_id, dispatch_n, expires_in, created_at)
    select * from unnest($1::uuid[], $2::smallint[], $3::bytea[], $4::bytea[], $5::uuid[], $6::smallint[],
                         $7::integer[], $8::bigint[]) as new
    order by 1, 2, 3";

/// Rows that this transaction has locked: replies that had had their day.
pub(super) fn update(writes: &mut Writes, rows: &[&Remembered]) {
    write(writes, UPDATE, rows);
}

/// Rows that were not there.
pub(super) fn insert(writes: &mut Writes, rows: &[&Remembered]) {
    write(writes, INSERT, rows);
}

fn write(writes: &mut Writes, sql: &'static str, rows: &[&Remembered]) {
    if rows.is_empty() {
        return;
    }
    let (projects, modes, indexes) = parts(rows.iter().map(|row| &row.key));
    writes
        .statement(sql)
        .bind(projects)
        .bind(modes)
        .bind(indexes)
        .bind(column(rows, |row| row.request.as_slice()))
        .bind(column(rows, |row| row.dispatch.verification.as_uuid()))
        .bind(column(rows, |row| row.dispatch.n))
        .bind(column(rows, |row| row.expires_in))
        .bind(column(rows, |row| row.created.as_ms()));
}

/// The columns of some keys.
pub(super) fn parts<'a>(
    keys: impl Iterator<Item = &'a IdempotencyKey> + Clone,
) -> (Vec<Uuid>, Vec<i16>, Vec<&'a [u8]>) {
    (
        keys.clone().map(|key| key.project.as_uuid()).collect(),
        keys.clone().map(|key| key.mode.code()).collect(),
        keys.map(|key| key.key.as_slice()).collect(),
    )
}
