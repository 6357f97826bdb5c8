//! The table `due`: dispatches that still have work. A row only changes under the lock of its dispatch.

use sqlx::{PgConnection, query};

use super::columns::{Columns, column};
use super::dispatches::{self, dispatch_columns};
use super::writes::Writes;
use crate::otp::ids::DispatchId;
use crate::otp::rows::{Dispatch, Due};
use crate::otp::time::Timestamp;
use crate::store::Result;

/// Due rows with their dispatches, of the longest due the earliest deadline first, passing over those that are locked.
pub(super) async fn lock(connection: &mut PgConnection, now: Timestamp, limit: u32) -> Result<Vec<(Due, Dispatch)>> {
    // Candidates are the longest due, by their index, however many there are; four times as many as wanted leave some
    // for a relay that runs at the same time. `due` is locked too, and its time asked again, so that a row which
    // somebody has moved since is dropped; but only after its dispatch, in a step of its own: locked in one go, those
    // of partitions come last, and what is then passed over leaves its `due` row locked.
    let rows = query(concat!(
        "with candidates as materialized (
             select ctid as place, verification_id, n, deadline from due where due_at <= $1 order by due_at limit $2 * 4
         ), held as materialized (
             select c.place, ",
        dispatch_columns!(),
        "
             from candidates c
             join dispatches d on d.verification_id = c.verification_id and d.n = c.n
             order by c.deadline, c.verification_id, c.n
             limit $2
             for no key update of d skip locked
         )
         select due.due_at, due.deadline, due.published, ",
        dispatch_columns!(),
        " from held d
         join due on due.ctid = d.place
         where due.due_at <= $1
         order by due.deadline, due.verification_id, due.n
         for no key update of due skip locked"
    ))
    .bind(now.as_ms())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    let read = |mut row: Columns<'_>| {
        let (at, deadline, published) = (row.time()?, row.time()?, row.take()?);
        let dispatch = dispatches::read_columns(&mut row)?;
        Ok((Due { dispatch: dispatch.id, at, deadline, published }, dispatch))
    };
    rows.iter().map(|row| read(Columns::of(row))).collect()
}

const INSERT: &str = "insert into due (verification_id, n, due_at, deadline, published)
    select * from unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[], $5::smallint[])";

const UPSERT: &str = "insert into due (verification_id, n, due_at, deadline, published)
    select * from unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[], $5::smallint[]) as new
    order by 1, 2
    on conflict (verification_id, n) do update
    set due_at = excluded.due_at, deadline = excluded.deadline, published = excluded.published";

/// Rows of dispatches that are new themselves.
pub(super) fn insert(writes: &mut Writes, rows: &[&Due]) {
    put(writes, INSERT, rows);
}

/// Rows that may be there.
pub(super) fn write(writes: &mut Writes, rows: &[&Due]) {
    put(writes, UPSERT, rows);
}

fn put(writes: &mut Writes, sql: &'static str, rows: &[&Due]) {
    if rows.is_empty() {
        return;
    }
    writes
        .statement(sql)
        .bind(column(rows, |row| row.dispatch.verification.as_uuid()))
        .bind(column(rows, |row| row.dispatch.n))
        .bind(column(rows, |row| row.at.as_ms()))
        .bind(column(rows, |row| row.deadline.as_ms()))
        .bind(column(rows, |row| row.published));
}

pub(super) fn delete(writes: &mut Writes, done: &[DispatchId]) {
    if done.is_empty() {
        return;
    }
    writes
        .statement(
            "delete from due
         using unnest($1::uuid[], $2::smallint[]) as done (verification_id, n)
         where due.verification_id = done.verification_id and due.n = done.n",
        )
        .bind(done.iter().map(|id| id.verification.as_uuid()).collect::<Vec<_>>())
        .bind(done.iter().map(|id| id.n).collect::<Vec<_>>());
}
