//! The schema: migrations go forward only and are part of the program.

use std::collections::HashMap;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, query};

use super::columns::Columns;
use crate::store::Result;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// Several processes may do it at once: they wait for each other, so there must be no limit to waiting.
pub(super) async fn migrate(unhurried: PgConnectOptions) -> Result<()> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(unhurried);
    let migrated = MIGRATIONS.run(&pool).await;
    pool.close().await;
    Ok(migrated?)
}

/// Whether every migration of this program has been applied. A newer program's may have been, too.
pub(super) async fn is_current(pool: &PgPool) -> Result<bool> {
    let mut connection = pool.acquire().await?;
    let row = query("select to_regclass('_sqlx_migrations') is not null").fetch_one(&mut *connection).await?;
    if !Columns::of(&row).take::<bool>()? {
        return Ok(false);
    }
    let rows =
        query("select version, checksum from _sqlx_migrations where success").fetch_all(&mut *connection).await?;
    let read = |mut row: Columns<'_>| Ok((row.take()?, row.take()?));
    let applied = rows.iter().map(|row| read(Columns::of(row))).collect::<Result<HashMap<i64, Vec<u8>>>>()?;
    Ok(MIGRATIONS.iter().all(|one| applied.get(&one.version).is_some_and(|sum| **sum == *one.checksum)))
}
