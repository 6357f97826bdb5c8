//! The table `open_targets`: which verification a target stands for. `shared.rs` locks it for opening one.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, query};
use uuid::Uuid;

use super::columns::{Columns, column};
use super::writes::Writes;
use crate::otp::ids::ProjectId;
use crate::otp::rows::{Index, OpenTarget, OpenTargetKey};
use crate::store::Result;

/// The pointers of these targets, whatever their record ids and modes.
pub(super) async fn of_targets(
    connection: &mut PgConnection,
    targets: &[(ProjectId, Index)],
) -> Result<Vec<OpenTarget>> {
    let rows = query(
        "select o.project_id, o.target, o.record_id, o.mode, o.verification_id, o.expires_at
         from unnest($1::uuid[], $2::bytea[]) as wanted (project_id, target)
         join open_targets o on o.project_id = wanted.project_id and o.target = wanted.target",
    )
    .bind(targets.iter().map(|(project, _)| project.as_uuid()).collect::<Vec<_>>())
    .bind(targets.iter().map(|(_, target)| target.as_slice()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    rows.iter().map(open_target).collect()
}

const UPDATE: &str = "update open_targets o
    set verification_id = new.verification_id, expires_at = new.expires_at
    from unnest($1::uuid[], $2::bytea[], $3::text[], $4::smallint[], $5::uuid[], $6::bigint[])
         as new (project_id, target, record_id, mode, verification_id, expires_at)
    where o.project_id = new.project_id and o.target = new.target
      and o.record_id = new.record_id and o.mode = new.mode";

const INSERT: &str = "insert into open_targets (project_id, target, record_id, mode, verification_id, expires_at)
    select * from unnest($1::uuid[], $2::bytea[], $3::text[], $4::smallint[], $5::uuid[], $6::bigint[]) as new
    order by 1, 2, 3, 4";

/// Rows that this transaction has locked.
pub(super) fn update(writes: &mut Writes, rows: &[&OpenTarget]) {
    write(writes, UPDATE, rows);
}

/// Rows that were not there.
pub(super) fn insert(writes: &mut Writes, rows: &[&OpenTarget]) {
    write(writes, INSERT, rows);
}

fn write(writes: &mut Writes, sql: &'static str, rows: &[&OpenTarget]) {
    if rows.is_empty() {
        return;
    }
    let Parts { projects, targets, records, modes } = parts(rows.iter().map(|row| &row.key));
    writes
        .statement(sql)
        .bind(projects)
        .bind(targets)
        .bind(records)
        .bind(modes)
        .bind(column(rows, |row| row.verification.as_uuid()))
        .bind(column(rows, |row| row.expires.as_ms()));
}

fn open_target(row: &PgRow) -> Result<OpenTarget> {
    let mut row = Columns::of(row);
    Ok(OpenTarget { key: key(&mut row)?, verification: row.verification()?, expires: row.time()? })
}

fn key(row: &mut Columns<'_>) -> Result<OpenTargetKey> {
    Ok(OpenTargetKey { project: row.project()?, target: row.bytes()?, record: row.take()?, mode: row.mode()? })
}

/// The columns of some keys.
pub(super) struct Parts<'a> {
    pub(super) projects: Vec<Uuid>,
    pub(super) targets: Vec<&'a [u8]>,
    pub(super) records: Vec<&'a str>,
    pub(super) modes: Vec<i16>,
}

pub(super) fn parts<'a>(keys: impl Iterator<Item = &'a OpenTargetKey> + Clone) -> Parts<'a> {
    Parts {
        projects: keys.clone().map(|key| key.project.as_uuid()).collect(),
        targets: keys.clone().map(|key| key.target.as_slice()).collect(),
        records: keys.clone().map(|key| key.record.as_str()).collect(),
        modes: keys.map(|key| key.mode.code()).collect(),
    }
}
