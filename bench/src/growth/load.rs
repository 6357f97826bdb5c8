//! `bench load`: fills a database with verifications that lie behind, as if the program had taken them.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Args;
use common::keys::Keyring;
use common::otp::ids::parse_project_name;
use common::otp::time::{DAY_MS, Timestamp};
use common::store::Store;
use common::store::postgres::{PgBackend, PoolSettings};
use common::store::upkeep::Upkeep;
use common::vault::Vault;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use super::day;
use super::made::Maker;
use super::spread::{Hour, by_hour};
use crate::calls::Project;
use crate::failure::Outcome;
use crate::load::count;
use crate::program::Programs;
use crate::report::progress;
use crate::servers::Servers;
use crate::system::{ROOT_KEY, create_projects, environment};

/// Days that are loaded at the same time, each over a connection of its own.
const CONNECTIONS: usize = 4;
/// The newest of what is loaded is so old, longer than a code lives: all of it has ended.
const BEHIND_MS: i64 = 15 * 60_000;
/// Days that one round of the program's upkeep makes partitions for, less the one behind.
const DAYS_AHEAD: usize = 8;

/// Fill a database with verifications of the past
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Its name on the server that the scenarios use, where it is made if it is not there, or its URL
    #[arg(long, value_name = "NAME|URL")]
    database: String,
    #[command(flatten)]
    size: Size,
    /// The program to fill it for, instead of the `otpd` of this checkout, which is built first
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// How much is loaded.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Size {
    /// Verifications
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    pub(crate) rows: u64,
    /// Days that they are spread over
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub(crate) days: u16,
    /// Projects that they are of: the second has half as many as the first, the third a third, and so on
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) projects: usize,
}

/// What a loaded database says of itself, in a table of ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Loaded {
    #[serde(skip)]
    pub(crate) database: String,
    pub(crate) rows: u64,
    pub(crate) days: u16,
    pub(crate) projects: Vec<Project>,
}

impl Load {
    pub(crate) async fn run(self) -> Outcome {
        let servers = Servers::find()?;
        let programs = Programs::find(self.program.as_deref(), None)?;
        fill(&servers, &programs, &self.database, self.size).await?;
        if servers.are_ours {
            progress(
                "bench: its servers run on; OTPD_SERVICES_DURABLE=1 scripts/services --stop ends and removes them",
            );
        }
        Ok(())
    }
}

impl Loaded {
    /// What was loaded into a database.
    pub(crate) async fn find(servers: &Servers, database: &str) -> Outcome<Self> {
        let mut connection = PgConnection::connect(&servers.url_of(database)).await?;
        let found = sqlx::query_scalar("select what from bench.loaded").fetch_one(&mut connection).await;
        let Json(found): Json<Self> =
            found.map_err(|error| format!("{database} was not filled by `bench load` to its end: {error}"))?;
        Ok(Self { database: database.to_owned(), ..found })
    }

    async fn remember(&self, connection: &mut PgConnection) -> Outcome {
        connection.execute("create schema bench; create table bench.loaded (what jsonb not null)").await?;
        sqlx::query("insert into bench.loaded values ($1)").bind(Json(self)).execute(connection).await?;
        Ok(())
    }
}

/// Fills a database, which must have no verifications.
pub(crate) async fn fill(servers: &Servers, programs: &Programs, database: &str, size: Size) -> Outcome<Loaded> {
    let begun = Instant::now();
    let say = |words: &str| progress(&format!("[{:5.1} s] load {database}: {words}", begun.elapsed().as_secs_f64()));
    servers.ensure_database(database).await?;
    let (url, settings) = (servers.url_of(database), environment(servers, database, database, None));
    say("the program makes its tables and projects");
    programs.run(&programs.otpd, &["migrate"], &settings)?;
    let mut connection = PgConnection::connect(&url).await?;
    if sqlx::query_scalar("select exists (select from verifications)").fetch_one(&mut connection).await? {
        return Err(format!("{database} has verifications already: drop it, or name another one").into());
    }
    let days = size.days.to_string();
    let projects = create_projects(programs, size.projects.max(1), &settings, &["--retention", &days])?;

    let backend = PgBackend::connect(&url, &PoolSettings::default())?;
    let now = backend.now().await?;
    let until = now.as_ms() - BEHIND_MS;
    let hours = by_hour(size.rows, i64::from(size.days), until);
    let first = hours.first().map_or(now.day(), |hour| hour.start / DAY_MS);
    for day in (first..=now.day()).step_by(DAYS_AHEAD) {
        backend.rotate(Timestamp::from_ms(day * DAY_MS)).await?;
    }
    let store = Store::new(Arc::new(backend.clone()));
    let maker = maker(&store, &projects, now).await?;
    let used = all_days(&url, &store, &maker, &hours, &say).await?;

    say("vacuum and analyze");
    settle(&url, &projects, &used).await?;
    say("the program sums up the days that are over");
    backend.rotate(now).await?;
    let loaded = Loaded { database: database.to_owned(), rows: size.rows, days: size.days, projects };
    loaded.remember(&mut connection).await?;
    connection.execute("vacuum analyze stats_daily").await?;
    connection.execute("checkpoint").await?;
    say("done");
    Ok(loaded)
}

fn root_key() -> Outcome<Keyring> {
    Ok(Keyring::new(&SecretString::from(ROOT_KEY), &[])?)
}

async fn maker(store: &Store, projects: &[Project], now: Timestamp) -> Outcome<Arc<Maker>> {
    let there = store.list_projects().await?;
    let find = |project: &Project| {
        let id = parse_project_name(&project.id);
        let found = there.iter().find(|known| Some(known.id.as_uuid()) == id);
        found.map(|known| known.id).ok_or_else(|| format!("there is no project {}", project.id))
    };
    let ids = projects.iter().map(find).collect::<Result<_, _>>()?;
    Ok(Arc::new(Maker::new(now.as_ms(), ids, root_key()?)))
}

/// Loads every day, some at a time; the tokens that each project has used.
async fn all_days(
    url: &str,
    store: &Store,
    maker: &Arc<Maker>,
    hours: &[Hour],
    say: &impl Fn(&str),
) -> Outcome<Vec<i64>> {
    let total: u64 = hours.iter().map(|hour| hour.number).sum();
    let days: VecDeque<Vec<Hour>> =
        hours.chunk_by(|one, next| one.start / DAY_MS == next.start / DAY_MS).map(<[Hour]>::to_vec).collect();
    let (number, days) = (days.len(), Arc::new(Mutex::new(days)));
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS.min(number) {
        let (url, days, maker) = (url.to_owned(), Arc::clone(&days), Arc::clone(maker));
        let vault = Vault::new(store.clone(), Arc::new(root_key()?));
        tasks.spawn(async move {
            let mut connection = PgConnection::connect(&url).await?;
            // Whoever has a crash meanwhile begins again, with another database.
            connection.execute("set synchronous_commit = off").await?;
            let mut all = Vec::new();
            loop {
                let next = days.lock().map_err(|_| "poisoned")?.pop_front();
                let Some(hours) = next else { return Ok::<_, crate::failure::Failure>(all) };
                all.push(day::load(&mut connection, &maker, &vault, &hours).await?);
                let left = days.lock().map_err(|_| "poisoned")?.len();
                progress(&format!("  {} of {number} days", number - left));
            }
        });
    }
    let (begun, mut sum) = (Instant::now(), day::Loaded::default());
    sum.used.resize(maker.projects.len(), 0);
    while let Some(loaded) = tasks.join_next().await {
        for day in loaded?? {
            sum.verifications += day.verifications;
            sum.rows += day.rows;
            sum.used.iter_mut().zip(day.used).for_each(|(sum, used)| *sum += used);
        }
    }
    let per_second = count(sum.rows) / begun.elapsed().as_secs_f64();
    say(&format!("{} of {total} verifications, {} rows in all, {per_second:.0} a second", sum.verifications, sum.rows));
    Ok(sum.used)
}

/// What a database that has lived so long has behind it: its vacuums and its statistics.
async fn settle(url: &str, projects: &[Project], used: &[i64]) -> Outcome {
    let mut connection = PgConnection::connect(url).await?;
    for (project, used) in projects.iter().zip(used) {
        sqlx::query("update projects set tokens_used = $2 where id = $1")
            .bind(parse_project_name(&project.id))
            .bind(used)
            .execute(&mut connection)
            .await?;
    }
    let rest = "vacuum analyze projects, receipts, message_ids, open_targets, idempotency_keys, limits, due, \
                stats_hourly, day_keys";
    let mut tasks = JoinSet::new();
    for statement in ["analyze verifications", "analyze dispatches", "analyze attempts", rest] {
        let url = url.to_owned();
        tasks.spawn(async move {
            let mut connection = PgConnection::connect(&url).await?;
            connection.execute(AssertSqlSafe(statement.to_owned())).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
