//! Writing a set of changes: one statement a table, each with its rows as one JSON parameter.

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;

use super::json;
use super::rows::{
    AttemptRow, DispatchKey, DispatchRow, DueRow, IdempotencyRow, LimitEventRow, LimitRow, MessageIdRow, OpenTargetRow,
    ProjectChangeRow, ReceiptRow, StatsRow, VerificationRow,
};
use crate::otp::changes::Changes;
use crate::otp::time::Timestamp;
use crate::store::Result;

pub(super) async fn write(to: &mut SqliteConnection, changes: &Changes) -> Result<()> {
    put(to, LIMITS, changes.limits.iter().map(LimitRow::from)).await?;
    add_limit_events(to, changes.limit_events.iter().map(LimitEventRow::from), changes.now).await?;
    put(to, IDEMPOTENCY_KEYS, changes.remembered.iter().map(IdempotencyRow::from)).await?;
    put(to, OPEN_TARGETS, changes.open_targets.values().map(OpenTargetRow::from)).await?;
    put(to, NEW_VERIFICATIONS, changes.new_verifications.values().map(VerificationRow::from)).await?;
    put(to, VERIFICATIONS, changes.verifications.values().map(VerificationRow::from)).await?;
    put(to, ERASED, changes.erased.iter().map(|id| id.as_uuid())).await?;
    put(to, NEW_DISPATCHES, changes.new_dispatches.values().map(DispatchRow::from)).await?;
    put(to, DISPATCHES, changes.dispatches.values().map(DispatchRow::from)).await?;
    put(to, ERASED_TARGETS, changes.erased.iter().map(|id| id.as_uuid())).await?;
    put(to, ATTEMPTS, changes.attempts.values().map(AttemptRow::from)).await?;
    put(to, DUE, changes.due.values().map(DueRow::from)).await?;
    put(to, DONE, changes.done.iter().map(DispatchKey::from)).await?;
    put(to, MESSAGE_IDS, changes.message_ids.iter().map(MessageIdRow::from)).await?;
    put(to, RECEIPTS, changes.receipts.iter().map(ReceiptRow::from)).await?;
    put(to, PROJECTS, changes.projects.iter().map(ProjectChangeRow::from)).await?;
    put(to, STATS, changes.stats.sorted().into_iter().map(StatsRow::from)).await
}

async fn put<T: Serialize>(to: &mut SqliteConnection, sql: &'static str, rows: impl Iterator<Item = T>) -> Result<()> {
    let rows: Vec<T> = rows.collect();
    if !rows.is_empty() {
        sqlx::query(sql).bind(json(&rows)?).execute(to).await?;
    }
    Ok(())
}

async fn add_limit_events(
    to: &mut SqliteConnection,
    events: impl Iterator<Item = LimitEventRow>,
    now: Timestamp,
) -> Result<()> {
    let events: Vec<_> = events.collect();
    if !events.is_empty() {
        sqlx::query(LIMIT_EVENTS).bind(json(&events)?).bind(now.as_ms()).execute(to).await?;
    }
    Ok(())
}

// SQLite needs `where true` to tell `on conflict` from a join's `on`.

const LIMITS: &str = "
    insert into limits (key, time0, time1, time2)
    select unhex(value->>'key', '-'), value->>'time0', value->>'time1', value->>'time2'
      from jsonb_each($1)
     where true
        on conflict (key) do update
       set time0 = excluded.time0,
           time1 = excluded.time1,
           time2 = excluded.time2";

const LIMIT_EVENTS: &str = "
    insert into limits (key, time0, time1, time2)
    select unhex(value->>'key', '-'), $2 + (value->>'added'), 0, 0
      from jsonb_each($1)
     where true
        on conflict (key) do update
       set time0 = max(time0, $2) + (excluded.time0 - $2)";

const IDEMPOTENCY_KEYS: &str = "
    insert into idempotency_keys
           (project_id, mode, key, request, verification_id, dispatch_n, expires_in, created_at)
    select unhex(value->>'project_id', '-'), value->>'mode', unhex(value->>'key', '-'), unhex(value->>'request'),
           unhex(value->>'verification_id', '-'), value->>'dispatch_n', value->>'expires_in', value->>'created_at'
      from jsonb_each($1)
     where true
        on conflict (project_id, mode, key) do update
       set request         = excluded.request,
           verification_id = excluded.verification_id,
           dispatch_n      = excluded.dispatch_n,
           expires_in      = excluded.expires_in,
           created_at      = excluded.created_at";

const OPEN_TARGETS: &str = "
    insert into open_targets (project_id, target, record_id, mode, verification_id, expires_at)
    select unhex(value->>'project_id', '-'), unhex(value->>'target', '-'), value->>'record_id', value->>'mode',
           unhex(value->>'verification_id', '-'), value->>'expires_at'
      from jsonb_each($1)
     where true
        on conflict (project_id, target, record_id, mode) do update
       set verification_id = excluded.verification_id,
           expires_at      = excluded.expires_at";

const NEW_VERIFICATIONS: &str = "
    insert into verifications
           (id, project_id, mode, channel, country, record_id, locale, target, target_tag, key_id, code_hash, code,
            guesses, budget, carried_left, carried_until, sends, expires_at, state, closed_at, session,
            own_code)
    select unhex(value->>'id', '-'), unhex(value->>'project_id', '-'), value->>'mode', value->>'channel',
           value->>'country', value->>'record_id', value->>'locale', unhex(value->>'target'),
           unhex(value->>'target_tag', '-'), value->>'key_id', unhex(value->>'code_hash'), unhex(value->>'code'),
           value->>'guesses', value->>'budget', value->>'carried_left', value->>'carried_until', value->>'sends',
           value->>'expires_at', value->>'state', value->>'closed_at', value->>'session',
           value->>'own_code'
      from jsonb_each($1)";

const VERIFICATIONS: &str = "
    update verifications
       set code      = unhex(new.value->>'code'),
           guesses   = new.value->>'guesses',
           sends     = new.value->>'sends',
           state     = new.value->>'state',
           closed_at = new.value->>'closed_at'
      from jsonb_each($1) as new
     where verifications.id = unhex(new.value->>'id', '-')";

const ERASED: &str = "
    update verifications
       set target = x'', target_tag = zeroblob(16), code_hash = zeroblob(32)
      from jsonb_each($1) as gone
     where verifications.id = unhex(gone.value, '-')";

const NEW_DISPATCHES: &str = "
    insert into dispatches
           (verification_id, n, project_id, mode, channel, newest, status, attempt, lease_until, first_attempt_at, pass,
            tried, ambiguous, provider, reason, charge, created_at, sent_at, delivered_at, target, target_of, country,
            chain, after_s, fires_at, fired_by)
    select unhex(value->>'verification_id', '-'), value->>'n', unhex(value->>'project_id', '-'), value->>'mode',
           value->>'channel', value->>'newest', value->>'status', value->>'attempt', value->>'lease_until',
           value->>'first_attempt_at', value->>'pass', value->>'tried', value->>'ambiguous', value->>'provider',
           value->>'reason', value->>'charge', value->>'created_at', value->>'sent_at', value->>'delivered_at',
           unhex(value->>'target'), unhex(value->>'target_of', '-'), value->>'country', value->>'chain',
           value->>'after_s', value->>'fires_at', value->>'fired_by'
      from jsonb_each($1)";

const DISPATCHES: &str = "
    update dispatches
       set newest           = new.value->>'newest',
           status           = new.value->>'status',
           attempt          = new.value->>'attempt',
           lease_until      = new.value->>'lease_until',
           first_attempt_at = new.value->>'first_attempt_at',
           pass             = new.value->>'pass',
           tried            = new.value->>'tried',
           ambiguous        = new.value->>'ambiguous',
           provider         = new.value->>'provider',
           reason           = new.value->>'reason',
           charge           = new.value->>'charge',
           sent_at          = new.value->>'sent_at',
           delivered_at     = new.value->>'delivered_at',
           fires_at         = new.value->>'fires_at',
           fired_by         = new.value->>'fired_by'
      from jsonb_each($1) as new
     where verification_id = unhex(new.value->>'verification_id', '-')
       and n = new.value->>'n'";

const ERASED_TARGETS: &str = "
    update dispatches
       set target = x''
     where verification_id in (select unhex(value, '-') from json_each($1))
       and target is not null";

const ATTEMPTS: &str = "
    insert or replace into attempts
           (verification_id, dispatch_n, n, provider, started_at, finished_at, status, cause, detail, message_id,
            chosen)
    select unhex(value->>'verification_id', '-'), value->>'dispatch_n', value->>'n', value->>'provider',
           value->>'started_at', value->>'finished_at', value->>'status', value->>'cause', value->>'detail',
           value->>'message_id', value->>'chosen'
      from jsonb_each($1)";

const DUE: &str = "
    insert into due (verification_id, n, due_at, deadline, published)
    select unhex(value->>'verification_id', '-'), value->>'n', value->>'due_at', value->>'deadline',
           value->>'published'
      from jsonb_each($1)
     where true
        on conflict (verification_id, n) do update
       set due_at    = excluded.due_at,
           deadline  = excluded.deadline,
           published = excluded.published";

const DONE: &str = "
    delete from due
     where (verification_id, n) in (select unhex(value->>0, '-'), value->>1 from json_each($1))";

// A provider that gives an id twice means the newer message.
const MESSAGE_IDS: &str = "
    insert or ignore into message_ids (provider, message_id, verification_id, dispatch_n, attempt_n, created_at)
    select value->>'provider', value->>'message_id', unhex(value->>'verification_id', '-'), value->>'dispatch_n',
           value->>'attempt_n', value->>'created_at'
      from jsonb_each($1)";

const RECEIPTS: &str = "
    insert or replace into receipts
           (id, provider, message_id, verification_id, dispatch_n, attempt_n, status, detail, received_at)
    select unhex(value->>'id', '-'), value->>'provider', value->>'message_id', unhex(value->>'verification_id', '-'),
           value->>'dispatch_n', value->>'attempt_n', value->>'status', value->>'detail', value->>'received_at'
      from jsonb_each($1)";

const PROJECTS: &str = "
    update projects
       set tokens_used = tokens_used + (change.value->>'used'),
           rate_at     = coalesce(change.value->>'rate_at', rate_at)
      from jsonb_each($1) as change
     where projects.id = unhex(change.value->>'id', '-')";

const STATS: &str = "
    insert into stats_hourly (project_id, mode, hour, dimension, value, count)
    select unhex(value->>'project_id', '-'), value->>'mode', value->>'hour', value->>'dimension', value->>'value',
           value->>'count'
      from jsonb_each($1)
     where true
        on conflict (project_id, mode, hour, dimension, value) do update
       set count = count + excluded.count";
