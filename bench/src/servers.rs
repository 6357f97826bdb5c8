//! PostgreSQL and RabbitMQ: finding or starting them, a database and a queue prefix for each system, and their end.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use sqlx::{AssertSqlSafe, Connection as _, Executor, PgConnection, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::failure::Outcome;
use crate::machine::Versions;
use crate::program::Environment;
use crate::report::progress;

/// Where `scripts/services` keeps which private servers it has started.
const RECORD: &str = "target/services-durable";
/// How late a message may come to its queue.
const QUEUED: Duration = Duration::from_secs(30);
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) postgres: String,
    pub(crate) rabbitmq: String,
    /// Whether it was us who started any.
    pub(crate) are_ours: bool,
    databases: Mutex<BTreeSet<String>>,
    queues: Mutex<BTreeSet<String>>,
}

impl Servers {
    /// Those of the environment or of this machine, or private ones.
    pub(crate) fn find() -> Outcome<Self> {
        Self::find_with(&Vec::new())
    }

    /// Private ones, started with these settings. There must be none yet.
    pub(crate) fn private(settings: &Environment) -> Outcome<Self> {
        if Path::new(ROOT).join(RECORD).exists() {
            return Err("private servers run already: OTPD_SERVICES_DURABLE=1 scripts/services --stop".into());
        }
        Self::find_with(settings)
    }

    fn find_with(settings: &Environment) -> Outcome<Self> {
        let record = Path::new(ROOT).join(RECORD);
        let had = record.exists();
        let script =
            "eval \"$(scripts/services)\" && printf '%s\\n%s\\n' \"$OTPD_TEST_POSTGRES\" \"$OTPD_TEST_RABBITMQ\"";
        let output = services(script, settings)?;
        let text = String::from_utf8(output)?;
        let mut lines = text.lines();
        let (Some(postgres), Some(rabbitmq)) = (lines.next(), lines.next()) else {
            return Err("scripts/services does not say where the servers are".into());
        };
        Ok(Self {
            postgres: postgres.to_owned(),
            rabbitmq: rabbitmq.to_owned(),
            are_ours: !had && record.exists(),
            databases: Mutex::default(),
            queues: Mutex::default(),
        })
    }

    pub(crate) async fn versions(&self) -> Outcome<Versions> {
        let mut server = self.connect().await?;
        let mut setting = async |name: &str| -> Outcome<String> {
            let row = sqlx::query("select current_setting($1)").bind(name).fetch_one(&mut server).await?;
            Ok(row.try_get(0)?)
        };
        let durability = format!(
            "fsync {}, synchronous_commit {}, full_page_writes {}, shared_buffers {}, autovacuum {}",
            setting("fsync").await?,
            setting("synchronous_commit").await?,
            setting("full_page_writes").await?,
            setting("shared_buffers").await?,
            setting("autovacuum").await?
        );
        Ok(Versions { postgres: setting("server_version").await?, durability, rabbitmq: self.rabbitmq_version().await })
    }

    async fn connect(&self) -> Outcome<PgConnection> {
        Ok(PgConnection::connect(&self.postgres).await?)
    }

    /// The address of a database on the server; what is an address already stays as it is.
    pub(crate) fn url_of(&self, database: &str) -> String {
        if database.contains("://") {
            return database.to_owned();
        }
        let (address, options) = self.postgres.split_once('?').map_or((&*self.postgres, None), |(a, o)| (a, Some(o)));
        let server = address.rsplit_once('/').map_or(address, |(server, _)| server);
        options.map_or_else(|| format!("{server}/{database}"), |options| format!("{server}/{database}?{options}"))
    }

    /// What the broker says of itself before anybody has logged in. Nothing hangs on it.
    async fn rabbitmq_version(&self) -> String {
        self.greeting().await.ok().and_then(|greeting| version_in(&greeting)).unwrap_or_else(|| "unknown".to_owned())
    }

    async fn greeting(&self) -> Outcome<Vec<u8>> {
        let after_user = self.rabbitmq.rsplit_once('@').map_or(&*self.rabbitmq, |(_, rest)| rest);
        let mut stream = TcpStream::connect(after_user.split('/').next().unwrap_or_default()).await?;
        stream.write_all(b"AMQP\0\0\x09\x01").await?;
        let mut header = [0; 7];
        stream.read_exact(&mut header).await?;
        let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
        let mut greeting = vec![0; usize::try_from(size)?.min(64 * 1024)];
        stream.read_exact(&mut greeting).await?;
        Ok(greeting)
    }

    /// A name that nobody else has, for a database and for queues.
    pub(crate) fn fresh_name() -> String {
        format!("otpd_bench_{}", Uuid::now_v7().simple())
    }

    /// Makes a database, empty or as a copy. Nobody may be connected to what is copied.
    pub(crate) async fn create_database(&self, name: &str, copy_of: Option<&str>) -> Outcome {
        self.databases.lock().map_err(|_| "poisoned")?.insert(name.to_owned());
        let template = copy_of.map(|template| format!(" template {template}")).unwrap_or_default();
        self.connect().await?.execute(AssertSqlSafe(format!("create database {name}{template}"))).await?;
        Ok(())
    }

    /// Makes a database where it is not there. It is not removed at the end.
    pub(crate) async fn ensure_database(&self, name: &str) -> Outcome {
        if PgConnection::connect(&self.url_of(name)).await.is_err() {
            let create = format!("create database \"{}\"", name.replace('"', ""));
            self.connect().await?.execute(AssertSqlSafe(create)).await?;
        }
        Ok(())
    }

    pub(crate) async fn drop_database(&self, name: &str) -> Outcome {
        let drop = format!("drop database if exists {name} with (force)");
        self.connect().await?.execute(AssertSqlSafe(drop)).await?;
        self.databases.lock().map_err(|_| "poisoned")?.remove(name);
        Ok(())
    }

    /// So that what one system has written is not on the disk's hands while another is measured.
    pub(crate) async fn settle(&self) {
        // A role that may create databases may not always do this; figures are then a little rougher.
        if let Ok(mut server) = self.connect().await {
            let _ = server.execute("checkpoint").await;
        }
    }

    /// Queues of this prefix will be made; they are removed at the end.
    pub(crate) fn will_have_queues(&self, prefix: &str) -> Outcome {
        self.queues.lock().map_err(|_| "poisoned")?.insert(prefix.to_owned());
        Ok(())
    }

    /// Waits until the queue of this prefix holds so many messages: a broker whose disk stands still takes them late.
    pub(crate) async fn queued(&self, prefix: &str, number: u64) -> Outcome {
        let broker = Connection::connect(&self.rabbitmq, ConnectionProperties::default()).await?;
        let channel = broker.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let end = Instant::now() + QUEUED;
        loop {
            let name = format!("{prefix}.dispatch");
            let queue = channel.queue_declare(name.into(), passive, FieldTable::default()).await?;
            let held = u64::from(queue.message_count());
            if held >= number {
                return Ok(broker.close(200, "done".into()).await?);
            }
            if Instant::now() > end {
                return Err(format!("{number} sends were accepted, and {held} published").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn delete_queues(&self, prefix: &str) -> Outcome {
        let broker = Connection::connect(&self.rabbitmq, ConnectionProperties::default()).await?;
        let channel = broker.create_channel().await?;
        for queue in [format!("{prefix}.dispatch"), format!("{prefix}.dispatch.dead")] {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        for exchange in [format!("{prefix}.jobs"), format!("{prefix}.dead")] {
            channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        }
        broker.close(200, "done".into()).await?;
        self.queues.lock().map_err(|_| "poisoned")?.remove(prefix);
        Ok(())
    }

    /// Rows that were inserted, updated or deleted in a database since it was made. Its connections must have ended:
    /// they tell the statistics at the latest then.
    pub(crate) async fn rows_written(&self, database: &str) -> Outcome<i64> {
        let text = "select (tup_inserted + tup_updated + tup_deleted)::bigint from pg_stat_database where datname = $1";
        let row = sqlx::query(text).bind(database).fetch_one(&mut self.connect().await?).await?;
        Ok(row.try_get(0)?)
    }

    /// Removes whatever a run has left, and ends the servers that were started for it.
    pub(crate) async fn clean_up(&self) {
        let names = |set: &Mutex<BTreeSet<String>>| set.lock().map(|set| set.clone()).unwrap_or_default();
        for database in names(&self.databases) {
            if let Err(failure) = self.drop_database(&database).await {
                progress(&format!("bench: the database {database} stays: {failure}"));
            }
        }
        for prefix in names(&self.queues) {
            if let Err(failure) = self.delete_queues(&prefix).await {
                progress(&format!("bench: the queues {prefix}.* stay: {failure}"));
            }
        }
        self.stop_ours();
    }

    /// Ends the servers that were started for this run.
    pub(crate) fn stop_ours(&self) {
        if self.are_ours
            && let Err(failure) = services("scripts/services --stop", &Vec::new())
        {
            progress(&format!("bench: {failure}"));
        }
    }
}

/// Runs a line of bash in the checkout. The servers that it starts keep what they have committed.
fn services(line: &str, settings: &Environment) -> Outcome<Vec<u8>> {
    let mut command = Command::new("bash");
    command.args(["-ec", line]).current_dir(ROOT).env("OTPD_SERVICES_DURABLE", "1");
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{line}: {}", output.status).into()) }
}

/// The version among the properties of AMQP's connection.start: a name, `S`, a length, a text.
fn version_in(greeting: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\x07versionS";
    let at = greeting.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let size: [u8; 4] = greeting.get(at..at + 4)?.try_into().ok()?;
    let end = at + 4 + usize::try_from(u32::from_be_bytes(size)).ok()?;
    Some(String::from_utf8_lossy(greeting.get(at + 4..end)?).into_owned())
}
