//! A new store for each scenario, gone when the scenario ends, also where it fails.

use std::future::Future;
use std::sync::Arc;

use common::store::sqlite::SqliteBackend;
use common::store::{Backend, Store};

use crate::world::{T0, World};

pub(crate) async fn on_sqlite<F: Future<Output = ()>>(scenario: impl FnOnce(World) -> F) {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = SqliteBackend::open(&folder.path().join("otpd.db")).await.expect("opened");
    scenario(new_world(vec![backend]).await).await;
}

/// As many processes on one store as there are backends.
async fn new_world<B: Backend + 'static>(backends: Vec<B>) -> World {
    backends[0].migrate().await.expect("migrated");
    backends[0].rotate(T0).await.expect("rotated");
    World::of(backends.into_iter().map(|backend| Store::new(Arc::new(backend))).collect()).await
}

/// A process has one connection for all batches of sends: what only one of them does never meets another one.
#[cfg(feature = "server-tests")]
const PROCESSES: usize = 3;

#[cfg(feature = "server-tests")]
pub(crate) async fn on_postgres<F: Future<Output = ()>>(scenario: impl FnOnce(World) -> F) {
    use std::panic::{AssertUnwindSafe, resume_unwind};
    use std::time::Duration;

    use common::store::postgres::{PgBackend, PoolSettings};
    use futures_util::FutureExt;
    use sqlx::migrate::MigrateDatabase;

    let url = new_database_url();
    sqlx::Postgres::create_database(&url).await.expect("a database");
    let settings = PoolSettings { max_connections: 8, acquire_timeout: Duration::from_secs(30) };
    let backends = (0..PROCESSES).map(|_| PgBackend::connect(&url, &settings).expect("a URL")).collect();
    let outcome = AssertUnwindSafe(async { scenario(new_world(backends).await).await }).catch_unwind().await;
    sqlx::Postgres::force_drop_database(&url).await.expect("dropped");
    outcome.unwrap_or_else(|panic| resume_unwind(panic));
}

/// The URL of a database that does not exist yet, on the server that `OTPD_TEST_POSTGRES` names.
#[cfg(feature = "server-tests")]
#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
fn new_database_url() -> String {
    let server = std::env::var("OTPD_TEST_POSTGRES");
    let server = server.unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
    let (server, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{server}/otpd_{}", uuid::Uuid::now_v7().simple())
}
