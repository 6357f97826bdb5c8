//! The table `limits`: up to three windows of one subject.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{PgConnection, query};

use super::columns::Columns;
use crate::otp::rows::{Index, LimitTimes};
use crate::otp::time::Timestamp;
use crate::store::Result;

/// Locks the rows of `keys` and makes those that are missing; answers which it made.
pub(super) async fn lock(connection: &mut PgConnection, keys: &[Index]) -> Result<BTreeSet<Index>> {
    // `where false` locks a row that is there and leaves it alone; only rows that were made are returned.
    let rows = query(
        "insert into limits (key)
         select key from unnest($1::bytea[]) as wanted (key) order by key
         on conflict (key) do update set time0 = limits.time0 where false
         returning key",
    )
    .bind(slices(keys))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Columns::of(row).bytes()).collect()
}

/// The rows with a time in them.
pub(super) async fn read(connection: &mut PgConnection, keys: &[Index]) -> Result<HashMap<Index, LimitTimes>> {
    let rows = query(
        "select key, time0, time1, time2
         from limits
         where key = any($1::bytea[]) and (time0 <> 0 or time1 <> 0 or time2 <> 0)",
    )
    .bind(slices(keys))
    .fetch_all(connection)
    .await?;
    let read = |mut row: Columns<'_>| Ok((row.bytes()?, [row.time()?, row.time()?, row.time()?]));
    rows.iter().map(|row| read(Columns::of(row))).collect()
}

pub(super) async fn overwrite(connection: &mut PgConnection, limits: &BTreeMap<Index, LimitTimes>) -> Result<()> {
    if limits.is_empty() {
        return Ok(());
    }
    let times = |i: usize| limits.values().map(|times| times[i].as_ms()).collect::<Vec<_>>();
    query(
        "insert into limits (key, time0, time1, time2)
         select * from unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[]) as new (key) order by key
         on conflict (key) do update set time0 = excluded.time0, time1 = excluded.time1, time2 = excluded.time2",
    )
    .bind(limits.keys().map(Index::as_slice).collect::<Vec<_>>())
    .bind(times(0))
    .bind(times(1))
    .bind(times(2))
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves first windows on by so many events, from wherever they stand.
pub(super) async fn add_events(
    connection: &mut PgConnection,
    events: &BTreeMap<Index, (i64, u32)>,
    now: Timestamp,
) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let moves = events.values().map(|(step, count)| step.saturating_mul(i64::from(*count)));
    query(
        "insert into limits (key, time0)
         select key, $3 + moved from unnest($1::bytea[], $2::bigint[]) as new (key, moved) order by key
         on conflict (key) do update set time0 = greatest(limits.time0, $3) + (excluded.time0 - $3)",
    )
    .bind(events.keys().map(Index::as_slice).collect::<Vec<_>>())
    .bind(moves.collect::<Vec<_>>())
    .bind(now.as_ms())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn remove(connection: &mut PgConnection, keys: &BTreeSet<Index>) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    query("delete from limits where key = any($1::bytea[])")
        .bind(keys.iter().map(Index::as_slice).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

fn slices(keys: &[Index]) -> Vec<&[u8]> {
    keys.iter().map(Index::as_slice).collect()
}
