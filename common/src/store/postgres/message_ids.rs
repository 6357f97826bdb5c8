//! The table `message_ids`: which attempt a provider's receipt is of.

use std::collections::HashMap;

use sqlx::{PgConnection, query};

use super::attempts::attempt_id;
use super::columns::{Columns, column};
use super::writes::Writes;
use crate::otp::changes::MessageId;
use crate::otp::ids::AttemptId;
use crate::store::Result;

pub(super) async fn read(
    connection: &mut PgConnection,
    ids: &[(String, String)],
) -> Result<HashMap<(String, String), AttemptId>> {
    let rows = query(
        "select m.provider, m.message_id, m.verification_id, m.dispatch_n, m.attempt_n
         from unnest($1::text[], $2::text[]) as wanted (provider, message_id)
         join message_ids m on m.provider = wanted.provider and m.message_id = wanted.message_id",
    )
    .bind(ids.iter().map(|(provider, _)| provider.as_str()).collect::<Vec<_>>())
    .bind(ids.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let read = |mut row: Columns<'_>| Ok(((row.take()?, row.take()?), attempt_id(&mut row)?));
    rows.iter().map(|row| read(Columns::of(row))).collect()
}

/// A message id that is known keeps its first attempt: a provider that uses one twice cannot turn receipts round.
pub(super) fn insert(writes: &mut Writes, rows: &[MessageId]) {
    if rows.is_empty() {
        return;
    }
    let rows: Vec<&MessageId> = rows.iter().collect();
    writes
        .statement(
            "insert into message_ids (provider, message_id, verification_id, dispatch_n, attempt_n, created_at)
         select * from unnest($1::text[], $2::text[], $3::uuid[], $4::smallint[], $5::smallint[], $6::bigint[]) as new
         order by 1, 2
         on conflict (provider, message_id) do nothing",
        )
        .bind(column(&rows, |row| row.provider.as_str()))
        .bind(column(&rows, |row| row.message_id.as_str()))
        .bind(column(&rows, |row| row.attempt.dispatch.verification.as_uuid()))
        .bind(column(&rows, |row| row.attempt.dispatch.n))
        .bind(column(&rows, |row| row.attempt.n))
        .bind(column(&rows, |row| row.created.as_ms()));
}
