//! The program as APIs and workers, with a database and a queue prefix of its own on real servers.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;

use super::client::{Client, Project};
use super::clock::TestClock;
use super::process::{Environment, Process, run};

/// How long a store may take before it counts as away.
pub(crate) const ACQUIRE_TIMEOUT: &str = "OTPD_STORE__ACQUIRE_TIMEOUT_MS";

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Distributed {
    pub(crate) apis: Vec<Process>,
    pub(crate) workers: Vec<Process>,
    pub(crate) environment: Environment,
    pub(crate) clock: TestClock,
    pub(crate) name: String,
    urls: Vec<String>,
    admin: String,
    project: Project,
    _dir: TempDir,
}

/// Where the test servers are; `scripts/test` sets it.
pub(crate) fn postgres() -> String {
    variable("OTPD_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres")
}

pub(crate) fn rabbitmq() -> String {
    variable("OTPD_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672/%2f")
}

#[expect(clippy::disallowed_methods, reason = "the test run's own settings")]
fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

impl Distributed {
    pub(crate) async fn start(apis: usize, workers: usize) -> Self {
        Self::start_with(apis, workers, &[]).await
    }

    /// Starts so many of each, with more settings in their environment.
    pub(crate) async fn start_with(apis: usize, workers: usize, settings: &[(&str, &str)]) -> Self {
        let mut system = Self::prepare(settings).await;
        for _ in 0..apis {
            system.add_api().await;
        }
        for _ in 0..workers {
            system.add_worker().await;
        }
        system
    }

    /// A migrated database with a project, and no process yet.
    pub(crate) async fn prepare(settings: &[(&str, &str)]) -> Self {
        let mut system = Self::unmigrated(settings).await;
        system.migrate();
        system
    }

    /// An empty database, and no process yet.
    pub(crate) async fn unmigrated(settings: &[(&str, &str)]) -> Self {
        let name = format!("otpd_it_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        let mut server = PgConnection::connect(&postgres()).await.expect("PostgreSQL; scripts/services starts one");
        let create = format!("create database {name}");
        server.execute(sqlx::AssertSqlSafe(create)).await.expect("a database");
        let dir = TempDir::new().expect("a directory");
        let clock = TestClock::in_dir(dir.path());
        let database = postgres().rsplit_once('/').map(|(server, _)| format!("{server}/{name}")).expect("a URL");
        let mut environment: Environment = [
            ("OTPD_STORE__URL", database),
            ("OTPD_QUEUE__URL", rabbitmq()),
            ("OTPD_QUEUE__PREFIX", name.clone()),
            ("OTPD_KEYS__ROOT", "0123456789abcdef".repeat(4)),
            ("OTPD_STORE__MAX_CONNECTIONS", "6".to_owned()),
            // Where the machine is busy, a server that is slow is not away.
            (ACQUIRE_TIMEOUT, "20000".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        environment.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let project = Project { id: String::new(), live_key: String::new(), sandbox_key: String::new() };
        let (apis, workers) = (Vec::new(), Vec::new());
        Self { apis, workers, environment, clock, name, urls: Vec::new(), admin: String::new(), project, _dir: dir }
    }

    /// `otpd migrate`, and a project.
    pub(crate) fn migrate(&mut self) {
        let (code, _, log) = run(&["migrate"], &self.environment);
        assert_eq!(code, 0, "{log}");
        self.project = create_project(&self.environment, &["--unlimited"]);
    }

    pub(crate) async fn add_api(&mut self) {
        let arguments =
            ["api", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--clock-file", self.clock.file()];
        let process = Process::start(&arguments, &self.environment);
        self.urls.push(format!("http://{}", process.logged("server.listen").await));
        self.admin = format!("http://{}", process.logged("server.admin_listen").await);
        self.apis.push(process);
    }

    pub(crate) async fn add_worker(&mut self) -> String {
        let arguments = ["worker", "--admin-listen", "127.0.0.1:0", "--clock-file", self.clock.file()];
        let process = Process::start(&arguments, &self.environment);
        let admin = format!("http://{}", process.logged("server.admin_listen").await);
        self.workers.push(process);
        admin
    }

    /// Kills the first API; nobody calls it any more.
    pub(crate) fn kill_api(&mut self) {
        self.urls.remove(0);
        self.apis.remove(0).kill_9();
    }

    /// Kills the first worker.
    pub(crate) fn kill_worker(&mut self) {
        self.workers.remove(0).kill_9();
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.urls.clone(), self.admin.clone(), self.project.clone(), self.clock.clone())
    }
}

/// `otpd project create --json`.
pub(crate) fn create_project(environment: &Environment, flags: &[&str]) -> Project {
    let arguments = [&["project", "create", "Acme", "--json"], flags].concat();
    let (code, stdout, log) = run(&arguments, environment);
    assert_eq!(code, 0, "{log}");
    let made: Value = serde_json::from_str(&stdout).expect("JSON");
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    Project { id: text("project_id"), live_key: text("live_key"), sandbox_key: text("sandbox_key") }
}

impl Drop for Distributed {
    fn drop(&mut self) {
        self.apis.clear();
        self.workers.clear();
        let (name, url) = (self.name.clone(), postgres());
        // A runtime cannot be entered from one: the cleaning up has its own thread.
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(clean_up(&name, &url));
        });
        let _ = cleaned.join();
    }
}

async fn clean_up(name: &str, url: &str) {
    if let Ok(mut server) = PgConnection::connect(url).await {
        let drop = format!("drop database if exists {name} with (force)");
        let _ = server.execute(sqlx::AssertSqlSafe(drop)).await;
    }
    let Ok(broker) = lapin::Connection::connect(&rabbitmq(), lapin::ConnectionProperties::default()).await else {
        return;
    };
    let Ok(channel) = broker.create_channel().await else { return };
    for queue in [format!("{name}.dispatch"), format!("{name}.dispatch.dead")] {
        let _ = channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await;
    }
    for exchange in [format!("{name}.jobs"), format!("{name}.dead")] {
        let _ = channel.exchange_delete(exchange.into(), lapin::options::ExchangeDeleteOptions::default()).await;
    }
}
