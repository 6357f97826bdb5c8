//! The table `attempts`, partitioned like the verifications they belong to.

use std::collections::{BTreeMap, HashMap};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, query};

use super::columns::{Columns, column, range};
use super::day_tables::Present;
use super::writes::Writes;
use crate::otp::ids::{AttemptId, DispatchId, VerificationId};
use crate::otp::rows::Attempt;
use crate::otp::status::AttemptStatus;
use crate::store::Result;

pub(super) fn attempt_id(row: &mut Columns<'_>) -> Result<AttemptId> {
    let dispatch = DispatchId { verification: row.verification()?, n: row.take()? };
    Ok(AttemptId { dispatch, n: row.take()? })
}

fn attempt(row: &PgRow) -> Result<Attempt> {
    let mut row = Columns::of(row);
    Ok(Attempt {
        id: attempt_id(&mut row)?,
        provider: row.take()?,
        started: row.time()?,
        finished: row.time()?,
        status: row.code(AttemptStatus::from_code)?,
        cause: row.take()?,
        detail: row.take()?,
        message_id: row.take()?,
        chosen: row.take()?,
    })
}

pub(super) async fn of_dispatches(
    connection: &mut PgConnection,
    days: &Present,
    dispatches: &[DispatchId],
) -> Result<HashMap<AttemptId, Attempt>> {
    let verifications = dispatches.iter().map(|id| id.verification);
    let (first, last) = range(verifications.clone());
    let text =
        "select a.verification_id, a.dispatch_n, a.n, a.provider, a.started_at, a.finished_at, a.status, a.cause,
                a.detail, a.message_id, a.chosen
         from unnest($1::uuid[], $2::smallint[]) as wanted (verification_id, dispatch_n)
         cross join lateral (
             select * from attempts{day} a
             where a.verification_id = wanted.verification_id and a.dispatch_n = wanted.dispatch_n
               and a.verification_id between $3 and $4
             offset 0
         ) a";
    let rows = query(days.text(text, verifications))
        .bind(dispatches.iter().map(|id| id.verification.as_uuid()).collect::<Vec<_>>())
        .bind(dispatches.iter().map(|id| id.n).collect::<Vec<_>>())
        .bind(first)
        .bind(last)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| attempt(row).map(|found| (found.id, found))).collect()
}

/// All attempts of a verification, in order.
pub(super) async fn of_verification(connection: &mut PgConnection, id: VerificationId) -> Result<Vec<Attempt>> {
    let rows = query(
        "select verification_id, dispatch_n, n, provider, started_at, finished_at, status, cause, detail, message_id,
                chosen
         from attempts
         where verification_id = $1
         order by dispatch_n, n",
    )
    .bind(id.as_uuid())
    .fetch_all(connection)
    .await?;
    rows.iter().map(attempt).collect()
}

pub(super) fn write(writes: &mut Writes, days: &Present, rows: &BTreeMap<AttemptId, Attempt>) {
    if rows.is_empty() {
        return;
    }
    let text = "insert into attempts{day}
             (verification_id, dispatch_n, n, provider, started_at, finished_at, status, cause, detail, message_id,
              chosen)
         select * from unnest($1::uuid[], $2::smallint[], $3::smallint[], $4::text[], $5::bigint[], $6::bigint[],
                              $7::smallint[], $8::text[], $9::text[], $10::text[], $11::text[]) as new
         order by 1, 2, 3
         on conflict (verification_id, dispatch_n, n) do update
         set provider = excluded.provider, started_at = excluded.started_at, finished_at = excluded.finished_at,
             status = excluded.status, cause = excluded.cause, detail = excluded.detail,
             message_id = excluded.message_id, chosen = excluded.chosen";
    let text = days.text(text, rows.keys().map(|id| id.dispatch.verification));
    let rows: Vec<&Attempt> = rows.values().collect();
    writes
        .statement(text)
        .bind(column(&rows, |row| row.id.dispatch.verification.as_uuid()))
        .bind(column(&rows, |row| row.id.dispatch.n))
        .bind(column(&rows, |row| row.id.n))
        .bind(column(&rows, |row| row.provider.as_deref()))
        .bind(column(&rows, |row| row.started.as_ms()))
        .bind(column(&rows, |row| row.finished.as_ms()))
        .bind(column(&rows, |row| row.status.code()))
        .bind(column(&rows, |row| row.cause.as_deref()))
        .bind(column(&rows, |row| row.detail.as_deref()))
        .bind(column(&rows, |row| row.message_id.as_deref()))
        .bind(column(&rows, |row| row.chosen.as_deref()));
}
