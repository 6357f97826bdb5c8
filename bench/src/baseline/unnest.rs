//! Rows that PostgreSQL takes when they come in batches by `INSERT … SELECT FROM UNNEST`, on one connection.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use super::Limit;
use crate::failure::Outcome;
use crate::load::count;
use crate::report::print;

const BATCH: usize = 64;

pub(super) async fn run(limit: &Limit) -> Outcome {
    let mut connection = PgConnection::connect_with(&super::store::options(&limit.store)?).await?;
    connection.execute("create table rows (id uuid primary key, target bytea not null, at bigint not null)").await?;
    let end = Instant::now() + Duration::from_secs_f64(limit.seconds);
    let begun = Instant::now();
    let mut rows = 0_u64;
    let targets = vec![vec![7_u8; 48]; BATCH];
    let times = vec![0_i64; BATCH];
    while Instant::now() < end {
        let ids: Vec<Uuid> = (0..BATCH).map(|_| Uuid::now_v7()).collect();
        let insert = "insert into rows select * from unnest($1::uuid[], $2::bytea[], $3::bigint[])";
        let inserted = sqlx::query(insert).bind(&ids).bind(&targets).bind(&times).execute(&mut connection).await?;
        rows += inserted.rows_affected();
    }
    let per_second = count(rows) / begun.elapsed().as_secs_f64();
    print(&json!({ "per_second": per_second.to_string() }).to_string());
    super::serve::ended().await
}
