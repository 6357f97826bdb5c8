//! The table `limits`: up to three windows of one subject.

use std::collections::{BTreeMap, HashMap};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, query};

use super::columns::Columns;
use super::writes::Writes;
use crate::otp::limits::Window;
use crate::otp::rows::{Index, LimitTimes};
use crate::otp::time::Timestamp;
use crate::store::Result;

/// The rows that are there, locked.
pub(super) async fn lock(connection: &mut PgConnection, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>> {
    let rows = query(
        "select key, time0, time1, time2 from limits where key = any($1::bytea[]) order by key for no key update",
    )
    .bind(slices(keys))
    .fetch_all(connection)
    .await?;
    times_by_key(&rows)
}

pub(super) async fn read(connection: &mut PgConnection, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>> {
    let rows = query("select key, time0, time1, time2 from limits where key = any($1::bytea[])")
        .bind(slices(keys))
        .fetch_all(connection)
        .await?;
    times_by_key(&rows)
}

fn times_by_key(rows: &[PgRow]) -> Result<HashMap<Index, LimitTimes>> {
    let read = |mut row: Columns<'_>| Ok((row.bytes()?, [row.time()?, row.time()?, row.time()?]));
    rows.iter().map(|row| read(Columns::of(row))).collect()
}

const UPDATE: &str = "update limits
    set time0 = new.time0, time1 = new.time1, time2 = new.time2
    from unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[]) as new (key, time0, time1, time2)
    where limits.key = new.key";

const INSERT: &str = "insert into limits (key, time0, time1, time2)
    select * from unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[]) as new (key) order by key";

/// Rows that this transaction has locked.
pub(super) fn update(writes: &mut Writes, rows: &[(Index, LimitTimes)]) {
    write(writes, UPDATE, rows);
}

/// Rows that were not there.
pub(super) fn insert(writes: &mut Writes, rows: &[(Index, LimitTimes)]) {
    write(writes, INSERT, rows);
}

fn write(writes: &mut Writes, sql: &'static str, rows: &[(Index, LimitTimes)]) {
    if rows.is_empty() {
        return;
    }
    let times = |i: usize| rows.iter().map(|(_, times)| times[i].as_ms()).collect::<Vec<_>>();
    writes
        .statement(sql)
        .bind(rows.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>())
        .bind(times(0))
        .bind(times(1))
        .bind(times(2));
}

/// Moves first windows on by so many events, from wherever they stand; answers whether each still holds them.
pub(super) async fn add_events(
    connection: &mut PgConnection,
    events: &BTreeMap<Index, (Window, u32)>,
    now: Timestamp,
) -> Result<bool> {
    if events.is_empty() {
        return Ok(true);
    }
    let moves = events.values().map(|(window, count)| window.step_ms().saturating_mul(i64::from(*count)));
    let rows = query(
        "insert into limits (key, time0)
         select key, $3 + moved from unnest($1::bytea[], $2::bigint[]) as new (key, moved) order by key
         on conflict (key) do update set time0 = greatest(limits.time0, $3) + (excluded.time0 - $3)
         returning key, time0",
    )
    .bind(events.keys().map(Index::as_slice).collect::<Vec<_>>())
    .bind(moves.collect::<Vec<_>>())
    .bind(now.as_ms())
    .fetch_all(connection)
    .await?;
    for row in &rows {
        let mut row = Columns::of(row);
        let (key, stored) = (row.bytes()?, row.time()?);
        if events.get(&key).is_some_and(|(window, _)| !window.holds(stored, now)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn slices(keys: &[Index]) -> Vec<&[u8]> {
    keys.iter().map(Index::as_slice).collect()
}
