//! A new database for each test, gone when the test ends, also where it fails.

use std::sync::Arc;
use std::time::Duration;

use common::store::Store;
use common::store::postgres::{PgBackend, PoolSettings};
use common::store::upkeep::Upkeep;
use sqlx::migrate::MigrateDatabase;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::world::{Processes, T0, World};

pub(crate) const POOL: PoolSettings = PoolSettings { max_connections: 8, acquire_timeout: Duration::from_secs(20) };

/// The URL of an existing, empty database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) url: String,
}

impl Database {
    /// As another process would connect.
    pub(crate) fn backend(&self) -> PgBackend {
        self.backend_with(&POOL)
    }

    pub(crate) fn backend_with(&self, pool: &PoolSettings) -> PgBackend {
        PgBackend::connect(&self.url, pool).expect("a database URL")
    }

    pub(crate) async fn migrated(&self) -> PgBackend {
        let backend = self.backend();
        backend.migrate().await.expect("migrated");
        backend.rotate(T0).await.expect("rotated");
        backend
    }

    /// A migrated store with a project.
    pub(crate) async fn world(&self) -> World {
        World::new(Store::new(Arc::new(self.migrated().await))).await
    }

    /// The same project as another process sees it.
    pub(crate) fn other_process(&self, world: &World) -> World {
        let store = Store::new(Arc::new(self.backend()));
        let processes = Processes::new(vec![store.clone()]);
        World { store, processes, keys: Arc::clone(&world.keys), project: world.project.clone() }
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("connected")
    }

    /// The one number that a statement answers.
    pub(crate) async fn number(&self, statement: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(statement.to_owned()));
        query.fetch_one(&mut self.connect().await).await.expect("a number")
    }

    pub(crate) async fn execute(&self, statement: &str) {
        let query = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        query.execute(&mut self.connect().await).await.expect("executed");
    }

    pub(crate) async fn rows(&self, table: &str) -> i64 {
        self.number(&format!("select count(*) from {table}")).await
    }
}

pub(crate) async fn with_database<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Database) -> F) {
    let server = std::env::var("OTPD_TEST_POSTGRES");
    let server = server.unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
    let (server, _) = server.rsplit_once('/').expect("a URL with a database");
    let url = format!("{server}/otpd_{}", uuid::Uuid::now_v7().simple());
    sqlx::Postgres::create_database(&url).await.expect("a database");
    let outcome = tokio::spawn(test(Database { url: url.clone() })).await;
    sqlx::Postgres::force_drop_database(&url).await.expect("dropped");
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}
