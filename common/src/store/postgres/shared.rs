//! The rows that sends share besides limits, in one question: replies, pointers, and projects where no pointer was found
//! (what one leads to is locked before them).

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, query};

use super::columns::Columns;
use super::{idempotency, open_targets, projects};
use crate::otp::ids::{DispatchId, ProjectId};
use crate::otp::rows::{IdempotencyKey, OpenTarget, OpenTargetKey, Remembered};
use crate::store::{Result, Shared, StoreError};

/// Each part is read to its end before the next one begins, so locks are taken in this order.
const LOCK: &str = "with replies as materialized (
        select k.project_id, k.mode, k.key, k.request, k.verification_id, k.dispatch_n, k.expires_in, k.created_at
        from unnest($1::uuid[], $2::smallint[], $3::bytea[]) as wanted (project_id, mode, key)
        join idempotency_keys k
          on k.project_id = wanted.project_id and k.mode = wanted.mode and k.key = wanted.key
        order by k.project_id, k.mode, k.key
        for no key update of k
    ), pointers as materialized (
        select o.project_id, o.mode, o.target, o.record_id, o.verification_id, o.expires_at
        from unnest($4::uuid[], $5::bytea[], $6::text[], $7::smallint[])
             as wanted (project_id, target, record_id, mode)
        join open_targets o
          on o.project_id = wanted.project_id and o.target = wanted.target
         and o.record_id = wanted.record_id and o.mode = wanted.mode
        order by o.project_id, o.target, o.record_id, o.mode
        for no key update of o
    ), counters as materialized (
        select id, tokens, tokens_used, rate_at
        from projects
        where id = any($8::uuid[]) and not exists (select from pointers)
        order by id
        for no key update
    )
    select 1, project_id, mode, key, request, null::text, verification_id, dispatch_n, expires_in,
           created_at, null::bigint, null::bigint, null::bigint
    from replies
    union all
    select 2, project_id, mode, target, null, record_id, verification_id, null, null, expires_at, null, null, null
    from pointers
    union all
    select 3, id, null, null, null, null, null, null, null, null, tokens, tokens_used, rate_at
    from counters";

pub(super) async fn lock(
    connection: &mut PgConnection,
    keys: &[IdempotencyKey],
    targets: &[OpenTargetKey],
    projects: &[ProjectId],
) -> Result<Shared> {
    let wanted = idempotency::parts(keys.iter());
    let pointers = open_targets::parts(targets.iter());
    let rows = query(LOCK)
        .bind(wanted.0)
        .bind(wanted.1)
        .bind(wanted.2)
        .bind(pointers.projects)
        .bind(pointers.targets)
        .bind(pointers.records)
        .bind(pointers.modes)
        .bind(projects.iter().map(ProjectId::as_uuid).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let mut shared = Shared::default();
    for row in &rows {
        read(row, &mut shared)?;
    }
    Ok(shared)
}

fn read(row: &PgRow, shared: &mut Shared) -> Result<()> {
    let mut row = Columns::of(row);
    let (kind, project) = (row.take::<i32>()?, row.project()?);
    match kind {
        1 => {
            let row = reply(project, &mut row)?;
            shared.remembered.insert(row.key.clone(), row);
        }
        2 => {
            let row = pointer(project, &mut row)?;
            shared.open_targets.insert(row.key.clone(), row);
        }
        3 => {
            let counters = projects::counters(row.skip(8))?;
            shared.projects.insert(project, counters);
        }
        other => return Err(StoreError::Refused(format!("a row has the unknown kind {other}"))),
    }
    Ok(())
}

fn reply(project: ProjectId, row: &mut Columns<'_>) -> Result<Remembered> {
    Ok(Remembered {
        key: IdempotencyKey { project, mode: row.mode()?, key: row.bytes()? },
        request: row.bytes()?,
        dispatch: DispatchId { verification: row.skip(1).verification()?, n: row.take()? },
        expires_in: row.take()?,
        created: row.time()?,
    })
}

fn pointer(project: ProjectId, row: &mut Columns<'_>) -> Result<OpenTarget> {
    let (mode, target, record) = (row.mode()?, row.bytes()?, row.skip(1).take()?);
    Ok(OpenTarget {
        key: OpenTargetKey { project, target, record, mode },
        verification: row.verification()?,
        expires: row.skip(2).time()?,
    })
}
