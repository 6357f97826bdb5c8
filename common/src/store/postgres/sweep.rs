//! Forgetting what has had its time, in small steps, so that nobody waits for long. Rows in use are left for later.

use sqlx::{PgConnection, query};

use super::columns::Columns;
use crate::otp::time::{DAY_MS, Timestamp};
use crate::store::Result;

/// Rows that go at once.
const STEP: u64 = 1000;
/// Pages that one step over a table without a fitting index looks at.
const PAGES: i64 = 256;
const MESSAGE_IDS_KEPT: i64 = 7 * DAY_MS;

/// Deletes whatever is over at `now`; joined receipts go after `retention` days.
pub(super) async fn sweep(connection: &mut PgConnection, now: Timestamp, retention: i64) -> Result<u64> {
    let now = now.as_ms();
    let mut deleted = by_pages(connection, "limits", USED_UP_LIMITS, now).await?;
    deleted += by_pages(connection, "open_targets", OLD_POINTERS, now - DAY_MS).await?;
    deleted += by_time(connection, OLD_REPLIES, now - DAY_MS).await?;
    deleted += by_time(connection, OLD_MESSAGE_IDS, now - MESSAGE_IDS_KEPT).await?;
    deleted += by_time(connection, OLD_SANDBOX_MESSAGES, now - DAY_MS).await?;
    deleted += by_time(connection, OLD_PARKED_RECEIPTS, now - DAY_MS).await?;
    deleted += by_time(connection, OLD_JOINED_RECEIPTS, now - retention * DAY_MS).await?;
    deleted += by_time(connection, LOST_DUE_ROWS, now).await?;
    deleted += by_time(connection, OLD_SESSIONS, now - DAY_MS).await?;
    Ok(deleted)
}

const OLD_REPLIES: &str = "
    delete from idempotency_keys where ctid = any(array(
        select ctid from idempotency_keys where created_at < $1 order by created_at limit 1000
        for update skip locked))";

const OLD_MESSAGE_IDS: &str = "
    delete from message_ids where ctid = any(array(
        select ctid from message_ids where created_at < $1 order by created_at limit 1000
        for update skip locked))";

const OLD_SANDBOX_MESSAGES: &str = "
    delete from sandbox_messages where ctid = any(array(
        select ctid from sandbox_messages where created_at < $1 order by created_at limit 1000
        for update skip locked))";

const OLD_PARKED_RECEIPTS: &str = "
    delete from receipts where ctid = any(array(
        select ctid from receipts where verification_id is null and received_at < $1 order by received_at limit 1000
        for update skip locked))";

const OLD_JOINED_RECEIPTS: &str = "
    delete from receipts where ctid = any(array(
        select ctid from receipts where received_at < $1 order by received_at limit 1000
        for update skip locked))";

/// Their dispatches went with a partition.
const LOST_DUE_ROWS: &str = "
    delete from due where ctid = any(array(
        select due.ctid from due
        where due.due_at <= $1
          and not exists (select from dispatches d where d.verification_id = due.verification_id and d.n = due.n)
        limit 1000
        for update skip locked))";

const OLD_SESSIONS: &str = "
    delete from sessions where ctid = any(array(
        select ctid from sessions where expires_at < $1 order by expires_at limit 1000
        for update skip locked))";

// Nothing that hot updates change is indexed, so these two walk their tables page by page, by the rows' addresses.
const USED_UP_LIMITS: &str = "
    delete from limits where ctid = any(array(
        select ctid from limits
        where ctid >= $2::text::tid and ctid < $3::text::tid and greatest(time0, time1, time2) < $1
        limit 1000
        for update skip locked))";

const OLD_POINTERS: &str = "
    delete from open_targets where ctid = any(array(
        select ctid from open_targets
        where ctid >= $2::text::tid and ctid < $3::text::tid and expires_at < $1
        limit 1000
        for update skip locked))";

async fn by_time(connection: &mut PgConnection, statement: &'static str, before: i64) -> Result<u64> {
    let mut deleted = 0;
    loop {
        let step = query(statement).bind(before).execute(&mut *connection).await?.rows_affected();
        deleted += step;
        if step < STEP {
            return Ok(deleted);
        }
    }
}

async fn by_pages(
    connection: &mut PgConnection,
    table: &'static str,
    statement: &'static str,
    before: i64,
) -> Result<u64> {
    let (mut deleted, mut page, end) = (0, 0, pages(connection, table).await?);
    while page < end {
        let step = query(statement)
            .bind(before)
            .bind(format!("({page},0)"))
            .bind(format!("({},0)", page + PAGES))
            .execute(&mut *connection)
            .await?
            .rows_affected();
        deleted += step;
        if step < STEP {
            page += PAGES;
        }
    }
    Ok(deleted)
}

async fn pages(connection: &mut PgConnection, table: &'static str) -> Result<i64> {
    let row = query("select pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint")
        .bind(table)
        .fetch_one(connection)
        .await?;
    Columns::of(&row).take()
}
