//! The table `dispatches`, partitioned like the verifications they belong to.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, query};
use uuid::Uuid;

use super::columns::{Columns, column, ms, range};
use super::day_tables::Present;
use super::verifications::{self, verification_columns};
use super::writes::Writes;
use crate::otp::chain::{Dispatches, Fallback, Fired, OwnTarget};
use crate::otp::channel::Channel;
use crate::otp::ids::{DispatchId, VerificationId};
use crate::otp::rows::{Charge, Dispatch};
use crate::otp::status::DispatchStatus;
use crate::store::{Result, Verifications};

/// What [`read_columns`] takes, in its order, of a table named `d`.
macro_rules! dispatch_columns {
    () => {
        "d.verification_id, d.n, d.project_id, d.mode, d.channel, d.newest, d.status, d.attempt, d.lease_until,
         d.first_attempt_at, d.pass, d.tried, d.ambiguous, d.provider, d.reason, d.charge, d.created_at, d.sent_at,
         d.delivered_at, d.target, d.target_of, d.country, d.chain, d.after_s, d.fires_at, d.fired_by"
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
        target: own_target(row)?,
        fallback: fallback(row)?,
    })
}

fn own_target(row: &mut Columns<'_>) -> Result<Option<OwnTarget>> {
    let (sealed, sealed_as, country) = (row.sealed_if_any()?, row.take::<Option<Uuid>>()?, row.take()?);
    let sealed = sealed.zip(sealed_as.map(VerificationId::from_uuid));
    Ok(sealed.map(|(sealed, sealed_as)| OwnTarget { sealed, sealed_as, country }))
}

fn fallback(row: &mut Columns<'_>) -> Result<Option<Fallback>> {
    let (first, after_s): (Option<i16>, Option<i16>) = (row.take()?, row.take()?);
    let (at, fired) = (row.time_if_any()?, row.code_if_any(Fired::from_code)?);
    let of = |((first, after_s), at)| Fallback { first, after: seconds(after_s), at, fired };
    Ok(first.zip(after_s).zip(at).map(of))
}

fn seconds(count: i16) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

fn fired_by(row: &Dispatch) -> Option<i16> {
    row.fallback.and_then(|fallback| fallback.fired).map(Fired::code)
}

fn after_s(row: &Dispatch) -> Option<i16> {
    row.fallback.map(|fallback| i16::try_from(fallback.after.as_secs()).unwrap_or(i16::MAX))
}

/// Dispatches, locked, with their verifications.
pub(super) async fn lock(
    connection: &mut PgConnection,
    days: &Present,
    ids: &[DispatchId],
) -> Result<(Dispatches, Verifications)> {
    debug_assert!(ids.is_sorted(), "locks are taken in one order");
    let of = ids.iter().map(|id| id.verification);
    let (first, last) = range(of.clone());
    let text = concat!(
        "select ",
        dispatch_columns!(),
        ", ",
        verification_columns!(),
        " from unnest($1::uuid[], $2::smallint[]) as wanted (verification_id, n)
         cross join lateral (
             select * from dispatches{day} d
             where d.verification_id = wanted.verification_id and d.n = wanted.n
               and d.verification_id between $3 and $4
             for no key update
         ) d
         cross join lateral (
             select * from verifications{day} v where v.id = wanted.verification_id and v.id between $3 and $4 offset 0
         ) v"
    );
    let rows = query(days.text(text, of))
        .bind(ids.iter().map(|id| id.verification.as_uuid()).collect::<Vec<_>>())
        .bind(ids.iter().map(|id| id.n).collect::<Vec<_>>())
        .bind(first)
        .bind(last)
        .fetch_all(connection)
        .await?;
    let (mut locked, mut of) = (Dispatches::new(), Verifications::new());
    for row in &rows {
        let mut row = Columns::of(row);
        let (dispatch, verification) = (read_columns(&mut row)?, verifications::read_columns(&mut row)?);
        locked.insert(dispatch.id, dispatch);
        of.insert(verification.id, verification);
    }
    Ok((locked, of))
}

/// All dispatches of these verifications. Of those that wait only the ones that could be locked at once.
pub(super) async fn lock_waiting_of(
    connection: &mut PgConnection,
    ids: &[VerificationId],
) -> Result<HashMap<DispatchId, Dispatch>> {
    debug_assert!(ids.is_sorted(), "locks are taken in one order");
    let (first, last) = range(ids.iter().copied());
    let rows = query(concat!(
        "with waiting as (
             select d.*
             from unnest($1::uuid[]) as wanted (verification_id)
             cross join lateral (
                 select * from dispatches d
                 where d.verification_id = wanted.verification_id and d.status = $4
                   and d.verification_id between $2 and $3
                 order by d.n
                 for no key update skip locked
             ) d
         )
         select ",
        dispatch_columns!(),
        " from waiting d
         union all
         select ",
        dispatch_columns!(),
        " from unnest($1::uuid[]) as wanted (verification_id)
         cross join lateral (
             select * from dispatches d
             where d.verification_id = wanted.verification_id and d.status <> $4
               and d.verification_id between $2 and $3
             offset 0
         ) d"
    ))
    .bind(ids.iter().map(VerificationId::as_uuid).collect::<Vec<_>>())
    .bind(first)
    .bind(last)
    .bind(DispatchStatus::Waiting.code())
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| read_columns(&mut Columns::of(row)).map(|found| (found.id, found))).collect()
}

/// All dispatches of these verifications, each list in order.
pub(super) async fn lock_of(
    connection: &mut PgConnection,
    days: &Present,
    ids: &[VerificationId],
) -> Result<HashMap<VerificationId, Vec<Dispatch>>> {
    debug_assert!(ids.is_sorted(), "locks are taken in one order");
    let (first, last) = range(ids.iter().copied());
    let text = concat!(
        "select ",
        dispatch_columns!(),
        " from unnest($1::uuid[]) as wanted (verification_id)
         cross join lateral (
             select * from dispatches{day} d
             where d.verification_id = wanted.verification_id and d.verification_id between $2 and $3
             order by d.n
             for no key update
         ) d"
    );
    let rows = query(days.text(text, ids.iter().copied()))
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

macro_rules! insert {
    () => {
        "insert into dispatches{day}
             (verification_id, n, project_id, mode, channel, newest, status, attempt, lease_until, first_attempt_at,
              pass, tried, ambiguous, provider, reason, charge, created_at, sent_at, delivered_at, target, target_of,
              country, chain, after_s, fires_at, fired_by)
         select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::smallint[], $5::smallint[], $6::boolean[],
                              $7::smallint[], $8::smallint[], $9::bigint[], $10::bigint[], $11::smallint[],
                              $12::text[], $13::smallint[], $14::text[], $15::text[], $16::smallint[], $17::bigint[],
                              $18::bigint[], $19::bigint[], $20::bytea[], $21::uuid[], $22::text[], $23::smallint[],
                              $24::smallint[], $25::bigint[], $26::smallint[])"
    };
}
const UPSERT: &str = concat!(
    insert!(),
    " as new
     on conflict (verification_id, n) do update
     set newest = excluded.newest, status = excluded.status, attempt = excluded.attempt,
         lease_until = excluded.lease_until, first_attempt_at = excluded.first_attempt_at, pass = excluded.pass,
         tried = excluded.tried, ambiguous = excluded.ambiguous, provider = excluded.provider,
         reason = excluded.reason, charge = excluded.charge, sent_at = excluded.sent_at,
         delivered_at = excluded.delivered_at, fires_at = excluded.fires_at, fired_by = excluded.fired_by"
);

pub(super) fn insert(writes: &mut Writes, days: &Present, rows: &BTreeMap<DispatchId, Dispatch>) {
    write(writes, days, insert!(), rows);
}

/// Overwrites what can change of rows that are locked already. Not as an update: its join with the new values would be
/// planned over all partitions, as a walk from the first to the last row.
pub(super) fn update(writes: &mut Writes, days: &Present, rows: &BTreeMap<DispatchId, Dispatch>) {
    write(writes, days, UPSERT, rows);
}

fn write(writes: &mut Writes, days: &Present, sql: &'static str, rows: &BTreeMap<DispatchId, Dispatch>) {
    if rows.is_empty() {
        return;
    }
    let text = days.text(sql, rows.keys().map(|id| id.verification));
    let rows: Vec<&Dispatch> = rows.values().collect();
    writes
        .statement(text)
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
        .bind(column(&rows, |row| row.target.as_ref().map(|target| target.sealed.0.as_slice())))
        .bind(column(&rows, |row| row.target.as_ref().map(|target| target.sealed_as.as_uuid())))
        .bind(column(&rows, |row| row.target.as_ref().and_then(|target| target.country.as_deref())))
        .bind(column(&rows, |row| row.fallback.map(|fallback| fallback.first)))
        .bind(column(&rows, after_s))
        .bind(column(&rows, |row| ms(row.fallback.map(|fallback| fallback.at))))
        .bind(column(&rows, fired_by));
}

/// Forgets whom dispatches of erased verifications were to.
pub(super) async fn erase_targets(connection: &mut PgConnection, ids: &[VerificationId]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let (first, last) = range(ids.iter().copied());
    query(
        "update dispatches
         set target = ''
         where verification_id = any($1::uuid[]) and verification_id between $2 and $3 and target is not null",
    )
    .bind(ids.iter().map(VerificationId::as_uuid).collect::<Vec<_>>())
    .bind(first)
    .bind(last)
    .execute(connection)
    .await?;
    Ok(())
}
