//! Forgetting what has had its time, in steps short enough that writers hardly wait.
//!
//! What is over is looked for by a reader, since that may mean going through a whole table; the writer deletes by key,
//! and only what is still over by then. Rows in the order of verification ids need no looking for: they come first.

use std::time::Duration;

use super::SqliteBackend;
use crate::otp::ids::VerificationId;
use crate::otp::settings::ProjectSettings;
use crate::otp::time::{DAY_MS, Timestamp};
use crate::store::Result;
use crate::store::projects::Projects;

/// Rows that one transaction deletes at most.
const STEP: usize = 1000;
/// Keys that are looked for at once.
const FOUND_AT_ONCE: u32 = 20_000;
const DAY: Duration = Duration::from_secs(86_400);
/// Providers stop sending receipts of a message after a few days.
const MESSAGE_IDS_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// How rows of one table are found to be over at `$1`, each as a JSON key, and deleted by keys, if over at `$2`.
struct Table {
    find: &'static str,
    delete: &'static str,
}

const LIMITS: Table = Table {
    find: "select json_quote(hex(key)) from limits where max(time0, time1, time2) < $1 limit $2",
    delete: "
        delete from limits
         where key in (select unhex(value) from json_each($1))
           and max(time0, time1, time2) < $2",
};

const OPEN_TARGETS: Table = Table {
    find: "
        select json_array(hex(project_id), hex(target), record_id, mode)
          from open_targets
         where expires_at < $1
         limit $2",
    delete: "
        delete from open_targets
         where (project_id, target, record_id, mode) in (
                   select unhex(value->>0), unhex(value->>1), value->>2, value->>3 from json_each($1))
           and expires_at < $2",
};

const IDEMPOTENCY_KEYS: Table = Table {
    find: "
        select json_array(hex(project_id), mode, hex(key))
          from idempotency_keys
         where created_at < $1
         limit $2",
    delete: "
        delete from idempotency_keys
         where (project_id, mode, key) in (
                   select unhex(value->>0), value->>1, unhex(value->>2) from json_each($1))
           and created_at < $2",
};

const MESSAGE_IDS: Table = Table {
    find: "select json_array(provider, message_id) from message_ids where created_at < $1 limit $2",
    delete: "
        delete from message_ids
         where (provider, message_id) in (select value->>0, value->>1 from json_each($1))
           and created_at < $2",
};

const SANDBOX_MESSAGES: Table = Table {
    find: "select json_quote(hex(id)) from sandbox_messages where created_at < $1 limit $2",
    delete: "
        delete from sandbox_messages
         where id in (select unhex(value) from json_each($1))
           and created_at < $2",
};

const PARKED_RECEIPTS: Table = Table {
    find: "
        select json_quote(hex(id))
          from receipts
         where verification_id is null
           and received_at < $1
         limit $2",
    delete: "
        delete from receipts
         where id in (select unhex(value) from json_each($1))
           and verification_id is null
           and received_at < $2",
};

const SESSIONS: Table = Table {
    find: "select json_quote(hex(id)) from sessions where expires_at < $1 limit $2",
    delete: "
        delete from sessions
         where id in (select unhex(value) from json_each($1))
           and expires_at < $2",
};

// Those that are older than the verification id `$1`, a step of them.

const OLD_RECEIPTS: &str = "
    delete from receipts
     where id in (select id from receipts where verification_id < $1 limit 1000)";

const OLD_DUE: &str = "
    delete from due
     where (verification_id, n) in (select verification_id, n from due where verification_id < $1 limit 1000)";

const OLD_ATTEMPTS: &str = "
    delete from attempts
     where (verification_id, dispatch_n, n) in (
               select verification_id, dispatch_n, n from attempts where verification_id < $1 limit 1000)";

const OLD_DISPATCHES: &str = "
    delete from dispatches
     where (verification_id, n) in (select verification_id, n from dispatches where verification_id < $1 limit 1000)";

const OLD_VERIFICATIONS: &str = "
    delete from verifications
     where id in (select id from verifications where id < $1 limit 1000)";

/// Deletes used-up limits, and pointers, replies, message ids, sandbox messages, receipts and sessions that are old
/// enough.
pub(super) async fn sweep(store: &SqliteBackend, now: Timestamp) -> Result<u64> {
    let mut gone = 0;
    for (table, before) in [
        (&LIMITS, now),
        (&OPEN_TARGETS, now - DAY),
        (&IDEMPOTENCY_KEYS, now - DAY),
        (&MESSAGE_IDS, now - MESSAGE_IDS_KEPT),
        (&SANDBOX_MESSAGES, now - DAY),
        (&PARKED_RECEIPTS, now - DAY),
        (&SESSIONS, now - DAY),
    ] {
        gone += forget(store, table, before).await?;
    }
    Ok(gone + forget_older(store, OLD_RECEIPTS, first_kept(store, now).await?).await?)
}

/// Deletes the verifications that every project has forgotten, and what belongs to them.
pub(super) async fn rotate(store: &SqliteBackend, now: Timestamp) -> Result<()> {
    let first = first_kept(store, now).await?;
    for sql in [OLD_DUE, OLD_ATTEMPTS, OLD_DISPATCHES, OLD_VERIFICATIONS] {
        forget_older(store, sql, first).await?;
    }
    Ok(())
}

/// The bound of the ids that some project keeps: whole days, as with the day keys.
async fn first_kept(store: &SqliteBackend, now: Timestamp) -> Result<VerificationId> {
    let days = store.list_projects().await?.iter().map(|project| project.settings.retention_days).max();
    let days = days.unwrap_or(ProjectSettings::default().retention_days);
    Ok(VerificationId::floor(Timestamp::from_ms((now.day() - i64::from(days)) * DAY_MS)))
}

async fn forget(store: &SqliteBackend, table: &Table, before: Timestamp) -> Result<u64> {
    let mut gone = 0;
    loop {
        let query = sqlx::query_scalar(table.find).bind(before.as_ms()).bind(FOUND_AT_ONCE);
        let keys: Vec<String> = query.fetch_all(&store.reads).await?;
        let mut deleted = 0;
        for step in keys.chunks(STEP) {
            let keys = format!("[{}]", step.join(","));
            let query = sqlx::query(table.delete).bind(keys).bind(before.as_ms());
            deleted += query.execute(&store.writes).await?.rows_affected();
        }
        gone += deleted;
        if deleted == 0 || keys.len() < FOUND_AT_ONCE as usize {
            return Ok(gone);
        }
    }
}

async fn forget_older(store: &SqliteBackend, sql: &'static str, first: VerificationId) -> Result<u64> {
    let mut gone = 0;
    loop {
        let step = sqlx::query(sql).bind(first.as_uuid()).execute(&store.writes).await?.rows_affected();
        gone += step;
        if step < STEP as u64 {
            return Ok(gone);
        }
    }
}
