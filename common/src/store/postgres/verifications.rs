//! The table `verifications`, partitioned by the day in the id.

use std::collections::BTreeMap;

use sqlx::{PgConnection, query};
use uuid::Uuid;

use super::columns::{Columns, column, mode_codes, ms, range};
use super::day_tables::Present;
use super::writes::Writes;
use crate::otp::channel::{Channel, Mode};
use crate::otp::ids::{ProjectId, VerificationId};
use crate::otp::rows::{CarriedGuesses, State, Verification};
use crate::otp::time::Timestamp;
use crate::store::{Result, Verifications};

/// What [`read_columns`] takes, in its order, of a table named `v`.
macro_rules! verification_columns {
    () => {
        "v.id, v.project_id, v.mode, v.channel, v.country, v.record_id, v.locale, v.target, v.target_tag, v.key_id,
         v.code_hash, v.code, v.guesses, v.budget, v.carried_left, v.carried_until, v.sends, v.expires_at, v.state,
         v.closed_at, v.session, v.own_code"
    };
}
pub(super) use verification_columns;

pub(super) fn read_columns(row: &mut Columns<'_>) -> Result<Verification> {
    Ok(Verification {
        id: row.verification()?,
        project: row.project()?,
        mode: row.mode()?,
        channel: row.code(Channel::from_code)?,
        country: row.take()?,
        record: row.take()?,
        locale: row.take()?,
        target: row.sealed()?,
        target_tag: row.bytes()?,
        key_id: row.take()?,
        code_hash: row.bytes()?,
        code: row.sealed_if_any()?,
        guesses: row.take()?,
        budget: row.take()?,
        carried: carried(row.take()?, row.time_if_any()?),
        sends: row.take()?,
        expires: row.time()?,
        state: row.code(State::from_code)?,
        closed: row.time_if_any()?,
        session: row.take()?,
        own_code: row.take()?,
    })
}

fn carried(left: Option<i16>, until: Option<Timestamp>) -> Option<CarriedGuesses> {
    left.zip(until).map(|(left, until)| CarriedGuesses { left, until })
}

pub(super) async fn lock(
    connection: &mut PgConnection,
    days: &Present,
    ids: &[VerificationId],
) -> Result<Verifications> {
    debug_assert!(ids.is_sorted(), "locks are taken in one order");
    let text = concat!(
        "select ",
        verification_columns!(),
        " from unnest($1::uuid[]) as wanted (id)
         cross join lateral (
             select * from verifications{day} v where v.id = wanted.id and v.id between $2 and $3 for no key update
         ) v"
    );
    fetch(connection, days, text, ids).await
}

pub(super) async fn read(
    connection: &mut PgConnection,
    days: &Present,
    ids: &[VerificationId],
) -> Result<Verifications> {
    let text = concat!(
        "select ",
        verification_columns!(),
        " from unnest($1::uuid[]) as wanted (id)
         cross join lateral (
             select * from verifications{day} v where v.id = wanted.id and v.id between $2 and $3 offset 0
         ) v"
    );
    fetch(connection, days, text, ids).await
}

async fn fetch(
    connection: &mut PgConnection,
    days: &Present,
    text: &'static str,
    ids: &[VerificationId],
) -> Result<Verifications> {
    let (first, last) = range(ids.iter().copied());
    let rows = query(days.text(text, ids.iter().copied()))
        .bind(uuids(ids))
        .bind(first)
        .bind(last)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| read_columns(&mut Columns::of(row)).map(|found| (found.id, found))).collect()
}

pub(super) async fn newest_by_record(
    connection: &mut PgConnection,
    project: ProjectId,
    modes: &[Mode],
    record: &str,
) -> Result<Option<VerificationId>> {
    let row = query(
        "select id
         from verifications
         where project_id = $1 and record_id = $2 and record_id <> '' and mode = any($3::smallint[])
         order by id desc
         limit 1",
    )
    .bind(project.as_uuid())
    .bind(record)
    .bind(mode_codes(modes))
    .fetch_optional(connection)
    .await?;
    row.map(|row| Columns::of(&row).verification()).transpose()
}

macro_rules! insert {
    () => {
        "insert into verifications{day}
             (id, project_id, mode, channel, country, record_id, locale, target, target_tag, key_id, code_hash, code,
              guesses, budget, carried_left, carried_until, sends, expires_at, state, closed_at, session,
              own_code)
         select * from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::smallint[], $5::text[], $6::text[],
                              $7::text[], $8::bytea[], $9::bytea[], $10::integer[], $11::bytea[], $12::bytea[],
                              $13::smallint[], $14::smallint[], $15::smallint[], $16::bigint[], $17::smallint[],
                              $18::bigint[], $19::smallint[], $20::bigint[], $21::boolean[],
                              $22::boolean[])"
    };
}
const UPSERT: &str = concat!(
    insert!(),
    " as new
     on conflict (id) do update
     set key_id = excluded.key_id, code_hash = excluded.code_hash, code = excluded.code, guesses = excluded.guesses,
         budget = excluded.budget, carried_left = excluded.carried_left, carried_until = excluded.carried_until,
         sends = excluded.sends, expires_at = excluded.expires_at, state = excluded.state,
         closed_at = excluded.closed_at, session = excluded.session"
);

pub(super) fn insert(writes: &mut Writes, days: &Present, rows: &BTreeMap<VerificationId, Verification>) {
    write(writes, days, insert!(), rows);
}

/// Overwrites what can change of rows that are locked already; whose they are and what they are of stays. Not as an
/// update, for the reason that dispatches have.
pub(super) fn update(writes: &mut Writes, days: &Present, rows: &BTreeMap<VerificationId, Verification>) {
    write(writes, days, UPSERT, rows);
}

fn write(writes: &mut Writes, days: &Present, sql: &'static str, rows: &BTreeMap<VerificationId, Verification>) {
    if rows.is_empty() {
        return;
    }
    let text = days.text(sql, rows.keys().copied());
    let rows: Vec<&Verification> = rows.values().collect();
    writes
        .statement(text)
        .bind(column(&rows, |row| row.id.as_uuid()))
        .bind(column(&rows, |row| row.project.as_uuid()))
        .bind(column(&rows, |row| row.mode.code()))
        .bind(column(&rows, |row| row.channel.code()))
        .bind(column(&rows, |row| row.country.as_deref()))
        .bind(column(&rows, |row| row.record.as_str()))
        .bind(column(&rows, |row| row.locale.as_str()))
        .bind(column(&rows, |row| row.target.0.as_slice()))
        .bind(column(&rows, |row| row.target_tag.as_slice()))
        .bind(column(&rows, |row| row.key_id))
        .bind(column(&rows, |row| row.code_hash.as_slice()))
        .bind(column(&rows, |row| row.code.as_ref().map(|code| code.0.as_slice())))
        .bind(column(&rows, |row| row.guesses))
        .bind(column(&rows, |row| row.budget))
        .bind(column(&rows, |row| row.carried.map(|carried| carried.left)))
        .bind(column(&rows, |row| row.carried.map(|carried| carried.until.as_ms())))
        .bind(column(&rows, |row| row.sends))
        .bind(column(&rows, |row| row.expires.as_ms()))
        .bind(column(&rows, |row| row.state.code()))
        .bind(column(&rows, |row| ms(row.closed)))
        .bind(column(&rows, |row| row.session))
        .bind(column(&rows, |row| row.own_code));
}

/// Forgets whom rows were to and what their code was; the rest stays for the statistics.
pub(super) async fn erase(connection: &mut PgConnection, ids: &[VerificationId]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let (first, last) = range(ids.iter().copied());
    query(
        "update verifications
         set target = '', target_tag = $4, code_hash = $5
         where id = any($1::uuid[]) and id between $2 and $3",
    )
    .bind(uuids(ids))
    .bind(first)
    .bind(last)
    .bind([0_u8; 16].as_slice())
    .bind([0_u8; 32].as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

fn uuids(ids: &[VerificationId]) -> Vec<Uuid> {
    ids.iter().map(VerificationId::as_uuid).collect()
}
