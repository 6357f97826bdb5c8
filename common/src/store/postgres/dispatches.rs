//! The table `dispatches`, partitioned like the verifications they belong to.

use std::collections::{BTreeMap, HashMap};

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, query};

use super::columns::{Columns, column, ms, range};
use crate::otp::channel::Channel;
use crate::otp::ids::{DispatchId, VerificationId};
use crate::otp::rows::{Charge, Dispatch};
use crate::otp::status::DispatchStatus;
use crate::store::Result;

/// What [`read_columns`] takes, in its order, of a table named `d`.
macro_rules! dispatch_columns {
    () => {
        "d.verification_id, d.n, d.project_id, d.mode, d.channel, d.newest, d.status, d.attempt, d.lease_until,
         d.first_attempt_at, d.pass, d.tried, d.ambiguous, d.provider, d.reason, d.charge, d.created_at, d.sent_at,
         d.delivered_at"
    };
}
pub(super) use dispatch_columns;

pub(super) fn read_columns(row: &mut Columns<'_>) -> Result<Dispatch> {
    Ok(Dispatch {
        id: DispatchId { verification: row.verification()?, n: row.take()? },
        project: row.project()?,
        mode: row.mode()?,
        channel: row.code(Channel::from_code)?,
        newest: row.take()?,
        status: row.code(DispatchStatus::from_code)?,
        attempt: row.take()?,
        lease: row.time_if_any()?,
        first_attempt: row.time_if_any()?,
        pass: row.take()?,
        tried: row.take::<&str>()?.lines().map(str::to_owned).collect(),
        ambiguous: row.take()?,
        provider: row.take()?,
        reason: row.take()?,
        charge: row.code(Charge::from_code)?,
        created: row.time()?,
        sent: row.time_if_any()?,
        delivered: row.time_if_any()?,
    })
}

pub(super) async fn lock(connection: &mut PgConnection, ids: &[DispatchId]) -> Result<HashMap<DispatchId, Dispatch>> {
    let (first, last) = range(ids.iter().map(|id| id.verification));
    let rows = query(concat!(
        "select ",
        dispatch_columns!(),
        " from unnest($1::uuid[], $2::smallint[]) as wanted (verification_id, n)
         join dispatches d on d.verification_id = wanted.verification_id and d.n = wanted.n
         where d.verification_id between $3 and $4
         order by d.verification_id, d.n
         for no key update of d"
    ))
    .bind(ids.iter().map(|id| id.verification.as_uuid()).collect::<Vec<_>>())
    .bind(ids.iter().map(|id| id.n).collect::<Vec<_>>())
    .bind(first)
    .bind(last)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| read_columns(&mut Columns::of(row)).map(|found| (found.id, found))).collect()
}

/// All dispatches of these verifications, each list in order.
pub(super) async fn lock_of(
    connection: &mut PgConnection,
    ids: &[VerificationId],
) -> Result<HashMap<VerificationId, Vec<Dispatch>>> {
    let (first, last) = range(ids.iter().copied());
    let rows = query(concat!(
        "select ",
        dispatch_columns!(),
        " from unnest($1::uuid[]) as wanted (verification_id)
         join dispatches d on d.verification_id = wanted.verification_id
         where d.verification_id between $2 and $3
         order by d.verification_id, d.n
         for no key update of d"
    ))
    .bind(ids.iter().map(VerificationId::as_uuid).collect::<Vec<_>>())
    .bind(first)
    .bind(last)
    .fetch_all(connection)
    .await?;
    let mut found: HashMap<VerificationId, Vec<Dispatch>> = HashMap::new();
    for row in &rows {
        let dispatch = read_columns(&mut Columns::of(row))?;
        found.entry(dispatch.id.verification).or_default().push(dispatch);
    }
    Ok(found)
}

/// All dispatches of a verification, in order.
pub(super) async fn of_verification(connection: &mut PgConnection, id: VerificationId) -> Result<Vec<Dispatch>> {
    let rows =
        query(concat!("select ", dispatch_columns!(), " from dispatches d where d.verification_id = $1 order by d.n"))
            .bind(id.as_uuid())
            .fetch_all(connection)
            .await?;
    rows.iter().map(|row| read_columns(&mut Columns::of(row))).collect()
}

/// Dispatches that still have work, newest first. They are few, and `due` knows them.
pub(super) async fn pending(
    connection: &mut PgConnection,
    statuses: &[DispatchStatus],
    limit: u32,
) -> Result<Vec<Dispatch>> {
    let statement = query(concat!(
        "select ",
        dispatch_columns!(),
        " from due
         join dispatches d on d.verification_id = due.verification_id and d.n = due.n
         where d.status = any($1::smallint[])
         order by d.verification_id desc, d.n desc
         limit $2"
    ));
    fetch_by_status(connection, statement, statuses, limit).await
}

/// Dispatches that have ended, newest first: a walk back in time, as their status is not indexed.
pub(super) async fn ended(
    connection: &mut PgConnection,
    statuses: &[DispatchStatus],
    limit: u32,
) -> Result<Vec<Dispatch>> {
    let statement = query(concat!(
        "select ",
        dispatch_columns!(),
        " from dispatches d
         where d.status = any($1::smallint[])
         order by d.verification_id desc, d.n desc
         limit $2"
    ));
    fetch_by_status(connection, statement, statuses, limit).await
}

async fn fetch_by_status(
    connection: &mut PgConnection,
    statement: Query<'_, Postgres, PgArguments>,
    statuses: &[DispatchStatus],
    limit: u32,
) -> Result<Vec<Dispatch>> {
    if statuses.is_empty() {
        return Ok(Vec::new());
    }
    let rows = statement
        .bind(statuses.iter().map(|status| status.code()).collect::<Vec<_>>())
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| read_columns(&mut Columns::of(row))).collect()
}

pub(super) async fn insert(connection: &mut PgConnection, rows: &BTreeMap<DispatchId, Dispatch>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<&Dispatch> = rows.values().collect();
    query(
        "insert into dispatches
             (verification_id, n, project_id, mode, channel, newest, status, attempt, lease_until, first_attempt_at,
              pass, tried, ambiguous, provider, reason, charge, created_at, sent_at, delivered_at)
         select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::smallint[], $5::smallint[], $6::boolean[],
                              $7::smallint[], $8::smallint[], $9::bigint[], $10::bigint[], $11::smallint[],
                              $12::text[], $13::smallint[], $14::text[], $15::text[], $16::smallint[], $17::bigint[],
                              $18::bigint[], $19::bigint[])",
    )
    .bind(column(&rows, |row| row.id.verification.as_uuid()))
    .bind(column(&rows, |row| row.id.n))
    .bind(column(&rows, |row| row.project.as_uuid()))
    .bind(column(&rows, |row| row.mode.code()))
    .bind(column(&rows, |row| row.channel.code()))
    .bind(column(&rows, |row| row.newest))
    .bind(column(&rows, |row| row.status.code()))
    .bind(column(&rows, |row| row.attempt))
    .bind(column(&rows, |row| ms(row.lease)))
    .bind(column(&rows, |row| ms(row.first_attempt)))
    .bind(column(&rows, |row| row.pass))
    .bind(column(&rows, |row| row.tried.join("\n")))
    .bind(column(&rows, |row| row.ambiguous))
    .bind(column(&rows, |row| row.provider.as_deref()))
    .bind(column(&rows, |row| row.reason.as_deref()))
    .bind(column(&rows, |row| row.charge.code()))
    .bind(column(&rows, |row| row.created.as_ms()))
    .bind(column(&rows, |row| ms(row.sent)))
    .bind(column(&rows, |row| ms(row.delivered)))
    .execute(connection)
    .await?;
    Ok(())
}

/// Overwrites what can change of rows that are locked already.
pub(super) async fn update(connection: &mut PgConnection, rows: &BTreeMap<DispatchId, Dispatch>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<&Dispatch> = rows.values().collect();
    query(
        "update dispatches d
         set newest = new.newest, status = new.status, attempt = new.attempt, lease_until = new.lease_until,
             first_attempt_at = new.first_attempt_at, pass = new.pass, tried = new.tried, ambiguous = new.ambiguous,
             provider = new.provider, reason = new.reason, charge = new.charge, sent_at = new.sent_at,
             delivered_at = new.delivered_at
         from unnest($1::uuid[], $2::smallint[], $3::boolean[], $4::smallint[], $5::smallint[], $6::bigint[],
                     $7::bigint[], $8::smallint[], $9::text[], $10::smallint[], $11::text[], $12::text[],
                     $13::smallint[], $14::bigint[], $15::bigint[])
              as new (verification_id, n, newest, status, attempt, lease_until, first_attempt_at, pass, tried,
                      ambiguous, provider, reason, charge, sent_at, delivered_at)
         where d.verification_id = new.verification_id and d.n = new.n",
    )
    .bind(column(&rows, |row| row.id.verification.as_uuid()))
    .bind(column(&rows, |row| row.id.n))
    .bind(column(&rows, |row| row.newest))
    .bind(column(&rows, |row| row.status.code()))
    .bind(column(&rows, |row| row.attempt))
    .bind(column(&rows, |row| ms(row.lease)))
    .bind(column(&rows, |row| ms(row.first_attempt)))
    .bind(column(&rows, |row| row.pass))
    .bind(column(&rows, |row| row.tried.join("\n")))
    .bind(column(&rows, |row| row.ambiguous))
    .bind(column(&rows, |row| row.provider.as_deref()))
    .bind(column(&rows, |row| row.reason.as_deref()))
    .bind(column(&rows, |row| row.charge.code()))
    .bind(column(&rows, |row| ms(row.sent)))
    .bind(column(&rows, |row| ms(row.delivered)))
    .execute(connection)
    .await?;
    Ok(())
}
