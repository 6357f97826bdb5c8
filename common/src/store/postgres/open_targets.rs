//! The table `open_targets`: which verification a target stands for, and the lock for opening one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, query};
use uuid::Uuid;

use super::columns::{Columns, column};
use crate::otp::ids::ProjectId;
use crate::otp::rows::{Index, OpenTarget, OpenTargetKey};
use crate::store::Result;

/// Locks the keys and makes those that are missing; answers which it made. Waits for whoever holds one.
pub(super) async fn lock(connection: &mut PgConnection, keys: &[OpenTargetKey]) -> Result<BTreeSet<OpenTargetKey>> {
    let Parts { projects, targets, records, modes } = parts(keys.iter());
    // `where false` locks a row that is there and leaves it alone; only rows that were made are returned.
    let rows = query(
        "insert into open_targets (project_id, target, record_id, mode)
         select * from unnest($1::uuid[], $2::bytea[], $3::text[], $4::smallint[]) as wanted order by 1, 2, 3, 4
         on conflict (project_id, target, record_id, mode) do update
         set expires_at = open_targets.expires_at where false
         returning project_id, target, record_id, mode",
    )
    .bind(projects)
    .bind(targets)
    .bind(records)
    .bind(modes)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| key(&mut Columns::of(row))).collect()
}

pub(super) async fn read(
    connection: &mut PgConnection,
    keys: impl Iterator<Item = &OpenTargetKey> + Clone,
) -> Result<HashMap<OpenTargetKey, OpenTarget>> {
    let Parts { projects, targets, records, modes } = parts(keys);
    let rows = query(
        "select o.project_id, o.target, o.record_id, o.mode, o.verification_id, o.expires_at
         from unnest($1::uuid[], $2::bytea[], $3::text[], $4::smallint[])
              as wanted (project_id, target, record_id, mode)
         join open_targets o
           on o.project_id = wanted.project_id and o.target = wanted.target
          and o.record_id = wanted.record_id and o.mode = wanted.mode
         where o.verification_id is not null",
    )
    .bind(projects)
    .bind(targets)
    .bind(records)
    .bind(modes)
    .fetch_all(connection)
    .await?;
    let keyed = |row| open_target(row).map(|row| (row.key.clone(), row));
    rows.iter().map(keyed).collect()
}

/// The pointers of these targets, whatever their record ids and modes.
pub(super) async fn of_targets(
    connection: &mut PgConnection,
    targets: &[(ProjectId, Index)],
) -> Result<Vec<OpenTarget>> {
    let rows = query(
        "select o.project_id, o.target, o.record_id, o.mode, o.verification_id, o.expires_at
         from unnest($1::uuid[], $2::bytea[]) as wanted (project_id, target)
         join open_targets o on o.project_id = wanted.project_id and o.target = wanted.target
         where o.verification_id is not null",
    )
    .bind(targets.iter().map(|(project, _)| project.as_uuid()).collect::<Vec<_>>())
    .bind(targets.iter().map(|(_, target)| target.as_slice()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    rows.iter().map(open_target).collect()
}

pub(super) async fn write(connection: &mut PgConnection, rows: &BTreeMap<OpenTargetKey, OpenTarget>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let Parts { projects, targets, records, modes } = parts(rows.keys());
    let rows: Vec<&OpenTarget> = rows.values().collect();
    query(
        "insert into open_targets (project_id, target, record_id, mode, verification_id, expires_at)
         select * from unnest($1::uuid[], $2::bytea[], $3::text[], $4::smallint[], $5::uuid[], $6::bigint[]) as new
         order by 1, 2, 3, 4
         on conflict (project_id, target, record_id, mode) do update
         set verification_id = excluded.verification_id, expires_at = excluded.expires_at",
    )
    .bind(projects)
    .bind(targets)
    .bind(records)
    .bind(modes)
    .bind(column(&rows, |row| row.verification.as_uuid()))
    .bind(column(&rows, |row| row.expires.as_ms()))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn remove(connection: &mut PgConnection, keys: &BTreeSet<OpenTargetKey>) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let Parts { projects, targets, records, modes } = parts(keys.iter());
    query(
        "delete from open_targets o
         using unnest($1::uuid[], $2::bytea[], $3::text[], $4::smallint[])
               as gone (project_id, target, record_id, mode)
         where o.project_id = gone.project_id and o.target = gone.target
           and o.record_id = gone.record_id and o.mode = gone.mode",
    )
    .bind(projects)
    .bind(targets)
    .bind(records)
    .bind(modes)
    .execute(connection)
    .await?;
    Ok(())
}

fn open_target(row: &PgRow) -> Result<OpenTarget> {
    let mut row = Columns::of(row);
    Ok(OpenTarget { key: key(&mut row)?, verification: row.verification()?, expires: row.time()? })
}

fn key(row: &mut Columns<'_>) -> Result<OpenTargetKey> {
    Ok(OpenTargetKey { project: row.project()?, target: row.bytes()?, record: row.take()?, mode: row.mode()? })
}

/// The columns of some keys.
struct Parts<'a> {
    projects: Vec<Uuid>,
    targets: Vec<&'a [u8]>,
    records: Vec<&'a str>,
    modes: Vec<i16>,
}

fn parts<'a>(keys: impl Iterator<Item = &'a OpenTargetKey> + Clone) -> Parts<'a> {
    Parts {
        projects: keys.clone().map(|key| key.project.as_uuid()).collect(),
        targets: keys.clone().map(|key| key.target.as_slice()).collect(),
        records: keys.clone().map(|key| key.record.as_str()).collect(),
        modes: keys.map(|key| key.mode.code()).collect(),
    }
}
