//! The naive system's tables, and one statement for each thing it does to them.

use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, Executor, FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::secrets::hash;
use crate::failure::Outcome;
use crate::report::print;

const POOL: u32 = 32;
const SCHEMA: &str = "
    create table projects (
        id text primary key, key_hash bytea not null, tokens bigint not null, used bigint not null default 0
    ) with (fillfactor = 50);
    create table requests (
        id uuid primary key, project text not null, target_hash bytea not null, target bytea not null,
        code_hash bytea not null, code bytea not null, status smallint not null default 0,
        attempts smallint not null default 0, guesses smallint not null default 0, expires_at timestamptz not null,
        verified_at timestamptz, sent_at timestamptz, message_id text
    ) with (fillfactor = 70);
    create index requests_target on requests (project, target_hash, id desc);
    create table cooldowns (
        project text not null, target_hash bytea not null, until timestamptz not null,
        primary key (project, target_hash)
    ) with (fillfactor = 70);
    create table idempotency_keys (
        project text not null, key text not null, request_hash bytea not null, request_id uuid not null,
        created_at timestamptz not null default now(), primary key (project, key)
    );";

/// Makes tables and projects, and prints the projects with their keys.
pub(super) async fn set_up(url: &str, projects: usize) -> Outcome {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(SCHEMA).await?;
    let mut made = Vec::new();
    for number in 0..projects {
        let (id, key) = (format!("PRJ_{number}"), Uuid::now_v7().simple().to_string());
        sqlx::query("insert into projects (id, key_hash, tokens) values ($1, $2, 1000000000)")
            .bind(&id)
            .bind(hash(&[&key]))
            .execute(&mut connection)
            .await?;
        made.push(json!({ "project_id": id, "live_key": key }));
    }
    print(&Value::from(made).to_string());
    Ok(())
}

/// How to connect: without TLS on this machine, as the program does.
pub(super) fn options(url: &str) -> Outcome<PgConnectOptions> {
    Ok(url.parse::<PgConnectOptions>()?.ssl_mode(PgSslMode::Disable))
}

pub(super) async fn pool(url: &str) -> Outcome<PgPool> {
    Ok(PgPoolOptions::new()
        .max_connections(POOL)
        .min_connections(POOL)
        .test_before_acquire(false)
        .connect_with(options(url)?)
        .await?)
}

/// Every project's id and the hash of its key.
pub(super) async fn keys(pool: &PgPool) -> Outcome<Vec<(String, Vec<u8>)>> {
    Ok(sqlx::query_as("select id, key_hash from projects").fetch_all(pool).await?)
}

/// A send that is to be kept.
pub(super) struct New<'a> {
    pub(super) id: Uuid,
    pub(super) project: &'a str,
    pub(super) key: &'a str,
    pub(super) request_hash: Vec<u8>,
    pub(super) target_hash: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) code_hash: Vec<u8>,
    pub(super) code: Vec<u8>,
}

/// What became of it.
#[derive(Debug, FromRow)]
pub(super) struct Accepted {
    /// An earlier send had this key.
    pub(super) replayed: Option<Uuid>,
    pub(super) is_same: Option<bool>,
    pub(super) is_cool: bool,
    pub(super) is_paid: bool,
}

const ACCEPT: &str = "
    with replay as (
        select request_id, request_hash = $3 as is_same from idempotency_keys where project = $1 and key = $2
    ), cool as (
        insert into cooldowns (project, target_hash, until)
        select $1, $5, now() + interval '30 seconds' where not exists (select from replay)
        on conflict (project, target_hash) do update set until = excluded.until where cooldowns.until <= now()
        returning 1
    ), paid as (
        update projects set used = used + 1 where id = $1 and used < tokens and exists (select from cool) returning 1
    ), kept as (
        insert into requests (id, project, target_hash, target, code_hash, code, expires_at)
        select $4, $1, $5, $6, $7, $8, now() + interval '600 seconds' where exists (select from paid) returning id
    ), remembered as (
        insert into idempotency_keys (project, key, request_hash, request_id) select $1, $2, $3, id from kept
    )
    select (select request_id from replay) as replayed, (select is_same from replay) as is_same,
        exists (select from cool) as is_cool, exists (select from paid) as is_paid";

/// Idempotency, cooldown, quota and the row, in one statement and one commit.
pub(super) async fn accept(pool: &PgPool, new: &New<'_>) -> Outcome<Accepted> {
    let query = sqlx::query_as(ACCEPT).bind(new.project).bind(new.key).bind(&new.request_hash).bind(new.id);
    let query = query.bind(&new.target_hash).bind(&new.target).bind(&new.code_hash).bind(&new.code);
    Ok(query.fetch_one(pool).await?)
}

/// A guess is counted before it is compared; `None` when the target has nothing that takes one.
pub(super) async fn guess(pool: &PgPool, project: &str, target: &[u8], code: &[u8]) -> Outcome<Option<(Uuid, bool)>> {
    const GUESS: &str = "
        update requests set guesses = guesses + 1, verified_at = case when code_hash = $3 then now() end
        where id = (select id from requests where project = $1 and target_hash = $2 order by id desc limit 1)
            and verified_at is null and guesses < 5 and expires_at > now()
        returning id, code_hash = $3";
    Ok(sqlx::query_as(GUESS).bind(project).bind(target).bind(code).fetch_optional(pool).await?)
}

/// What a worker needs of a request that it has claimed.
#[derive(Debug, FromRow)]
pub(super) struct Claimed {
    pub(super) project: String,
    pub(super) target: Vec<u8>,
    pub(super) code: Vec<u8>,
}

pub(super) async fn claim(pool: &PgPool, id: Uuid) -> Outcome<Option<Claimed>> {
    const CLAIM: &str = "
        update requests set status = 1, attempts = attempts + 1
        where id = $1 and status = 0 and verified_at is null and expires_at > now()
        returning project, target, code";
    Ok(sqlx::query_as(CLAIM).bind(id).fetch_optional(pool).await?)
}

pub(super) async fn finish(pool: &PgPool, id: Uuid, message_id: Option<&str>) -> Outcome {
    const FINISH: &str = "
        update requests set status = case when $2::text is null then 3 else 2 end, sent_at = now(), message_id = $2
        where id = $1";
    sqlx::query(FINISH).bind(id).bind(message_id).execute(pool).await?;
    Ok(())
}
