//! The table `receipts`: what providers said, joined to an attempt or parked until there is one.

use std::collections::{BTreeMap, HashMap};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, query};

use super::columns::{Columns, column};
use super::writes::Writes;
use crate::otp::ids::{AttemptId, DispatchId, VerificationId};
use crate::otp::rows::Receipt;
use crate::otp::status::ReceiptStatus;
use crate::otp::time::Timestamp;
use crate::store::Result;

/// What [`receipt`] takes, in its order, of a table named `r`.
macro_rules! receipt_columns {
    () => {
        "r.id, r.provider, r.message_id, r.verification_id, r.dispatch_n, r.attempt_n, r.status, r.detail,
         r.received_at"
    };
}

fn receipt(row: &PgRow) -> Result<Receipt> {
    let mut row = Columns::of(row);
    Ok(Receipt {
        id: row.take()?,
        provider: row.take()?,
        message_id: row.take()?,
        attempt: attempt(row.take()?, row.take()?, row.take()?),
        status: row.code(ReceiptStatus::from_code)?,
        detail: row.take()?,
        received: row.time()?,
    })
}

fn attempt(verification: Option<uuid::Uuid>, dispatch: Option<i16>, n: Option<i16>) -> Option<AttemptId> {
    let verification = VerificationId::from_uuid(verification?);
    Some(AttemptId { dispatch: DispatchId { verification, n: dispatch? }, n: n? })
}

pub(super) async fn parked(
    connection: &mut PgConnection,
    ids: &[(String, String)],
) -> Result<HashMap<(String, String), Vec<Receipt>>> {
    let rows = query(concat!(
        "select ",
        receipt_columns!(),
        " from unnest($1::text[], $2::text[]) as wanted (provider, message_id)
         cross join lateral (
             select * from receipts r
             where r.provider = wanted.provider and r.message_id = wanted.message_id and r.verification_id is null
             offset 0
         ) r
         order by r.received_at, r.id"
    ))
    .bind(ids.iter().map(|(provider, _)| provider.as_str()).collect::<Vec<_>>())
    .bind(ids.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut found: HashMap<(String, String), Vec<Receipt>> = HashMap::new();
    for row in &rows {
        let receipt = receipt(row)?;
        found.entry((receipt.provider.clone(), receipt.message_id.clone())).or_default().push(receipt);
    }
    Ok(found)
}

/// Not locked: whoever joins one locks its dispatch first, and a lock here would stand in the way of a finish.
pub(super) async fn joinable(connection: &mut PgConnection, since: Timestamp, limit: u32) -> Result<Vec<Receipt>> {
    let rows = query(concat!(
        "select ",
        receipt_columns!(),
        " from receipts r
         where r.verification_id is null and r.received_at >= $1
           and exists (select from message_ids m where m.provider = r.provider and m.message_id = r.message_id)
         order by r.received_at, r.id
         limit $2"
    ))
    .bind(since.as_ms())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter().map(receipt).collect()
}

/// All receipts of a verification, in order.
pub(super) async fn of_verification(connection: &mut PgConnection, id: VerificationId) -> Result<Vec<Receipt>> {
    let rows = query(concat!(
        "select ",
        receipt_columns!(),
        " from receipts r
         where r.verification_id = $1
         order by r.received_at, r.id"
    ))
    .bind(id.as_uuid())
    .fetch_all(connection)
    .await?;
    rows.iter().map(receipt).collect()
}

/// Of two with one id the later counts.
pub(super) fn write(writes: &mut Writes, rows: &[Receipt]) {
    if rows.is_empty() {
        return;
    }
    let rows: BTreeMap<_, _> = rows.iter().map(|row| (row.id, row)).collect();
    let rows: Vec<&Receipt> = rows.into_values().collect();
    writes
        .statement(
            "insert into receipts
             (id, provider, message_id, verification_id, dispatch_n, attempt_n, status, detail, received_at)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::smallint[], $6::smallint[],
                              $7::smallint[], $8::text[], $9::bigint[]) as new
         order by 1
         on conflict (id) do update
         set verification_id = excluded.verification_id, dispatch_n = excluded.dispatch_n,
             attempt_n = excluded.attempt_n, status = excluded.status, detail = excluded.detail",
        )
        .bind(column(&rows, |row| row.id))
        .bind(column(&rows, |row| row.provider.as_str()))
        .bind(column(&rows, |row| row.message_id.as_str()))
        .bind(column(&rows, |row| row.attempt.map(|id| id.dispatch.verification.as_uuid())))
        .bind(column(&rows, |row| row.attempt.map(|id| id.dispatch.n)))
        .bind(column(&rows, |row| row.attempt.map(|id| id.n)))
        .bind(column(&rows, |row| row.status.code()))
        .bind(column(&rows, |row| row.detail.as_deref()))
        .bind(column(&rows, |row| row.received.as_ms()));
}
