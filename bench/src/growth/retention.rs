//! `bench retention`: what accepting costs while the program drops a day that every project has forgotten.

use std::time::{Duration, Instant};

use clap::Args;
use sqlx::{Connection, PgConnection};

use super::load::Loaded;
use crate::failure::Outcome;
use crate::load::{Measured, steady};
use crate::report::print;
use crate::run::Bench;
use crate::settings::Flags;
use crate::stub::Stub;
use crate::system::{System, environment};

const CONNECTIONS: usize = 64;
/// How long before the end of the load the day must be gone.
const PATIENCE: Duration = Duration::from_secs(120);
/// A table that is being dropped has no size.
const OLDEST: &str = "
    select relname::text, extract(day from now() at time zone 'utc' - to_date(right(relname, 8), 'YYYYMMDD'))::bigint,
           coalesce(pg_total_relation_size(oid), 0), reltuples::bigint
    from pg_class where relispartition and relkind = 'r' and relname ~ '^verifications_[0-9]{8}$'
    order by relname limit 1";
/// How many tables of a day there are, attached or not.
const LEFT: &str = "
    select count(*) from pg_class
    where relkind = 'r' and relname ~ ('^(verifications|dispatches|attempts)_' || right($1, 8) || '$')";

/// Accept at a steady rate while the oldest day is dropped
#[derive(Debug, Args)]
pub(crate) struct Retention {
    /// Sends a second
    #[arg(long, value_name = "N", default_value_t = 500.0)]
    rate: f64,
    #[command(flatten)]
    flags: Flags,
}

/// The oldest day: its partition of verifications, its age in days, its bytes and rows.
type Oldest = (String, i64, i64, i64);

impl Retention {
    pub(crate) async fn run(self) -> Outcome {
        let mut bench = Bench::begin(&self.flags).await?;
        let outcome = measure(&mut bench, self.rate).await;
        bench.servers.clean_up().await;
        outcome
    }
}

async fn measure(bench: &mut Bench, rate: f64) -> Outcome {
    let loaded = bench.loaded().await?;
    let time = bench.settings.time() * 5;
    let stub = Stub::start(0, bench.settings.provider_latency())?;
    let mut system = System::on_loaded(bench, &loaded, &stub).await?;
    let address = system.start_both().await?;
    let (connections, sends) = (CONNECTIONS.min(bench.settings.connections), system.sends());
    let mut rows = Vec::new();
    let mut first = 0;
    let warm = steady(address, connections, sends.clone(), first, rate, bench.settings.time()).await?;
    first += warm.next - first;
    for round in 1..=bench.settings.rounds {
        bench.say(&format!(
            "round {round}: {rate:.0} sends a second for {:.0} s, and again with a drop",
            time.as_secs_f64()
        ));
        let before = steady(address, connections, sends.clone(), first, rate, time).await?;
        first = before.next;
        let (oldest, age) = forget(bench, &loaded).await?;
        // A worker that starts rotates at once.
        let drop = async {
            tokio::time::sleep(time / 4).await;
            system.start_worker()?;
            gone(bench, &loaded, &oldest).await
        };
        let (during, gone) = tokio::join!(steady(address, connections, sends.clone(), first, rate, time), drop);
        let (during, gone) = (during?, gone?);
        first = during.next;
        // Of two workers, each round needs one that starts.
        system.stop_last_worker().await?;
        rows.push(row(round, &oldest, age, &before, &during, gone));
    }
    system.end().await?;
    let head = "| round | dropped | rows | accept p50, p99, most before | accept p50, p99, most during | gone after |\n\
                |---|---|---|---|---|---|";
    print(&format!("{head}\n{}", rows.join("\n")));
    Ok(())
}

fn row(round: usize, oldest: &Oldest, age: i64, before: &Measured, during: &Measured, gone: Duration) -> String {
    let ms = |of: &Measured| format!("{:.2}, {:.2}, {:.1} ms", of.ms(50.0), of.ms(99.0), of.ms(100.0));
    let (name, _, _, rows) = oldest;
    format!(
        "| {round} | {name} ({age} days) | {rows} | {} | {} | {:.2} s |",
        ms(before),
        ms(during),
        gone.as_secs_f64()
    )
}

async fn oldest(bench: &Bench, loaded: &Loaded) -> Outcome<Oldest> {
    let mut connection = PgConnection::connect(&bench.servers.url_of(&loaded.database)).await?;
    let found: Option<Oldest> = sqlx::query_as(OLDEST).fetch_optional(&mut connection).await?;
    found.ok_or_else(|| "there is no day to drop".into())
}

/// Has every project forget the oldest day.
async fn forget(bench: &Bench, loaded: &Loaded) -> Outcome<(Oldest, i64)> {
    let oldest = oldest(bench, loaded).await?;
    let (age, programs) = (oldest.1, &bench.programs);
    if age < 2 {
        return Err("the days that are left are not over".into());
    }
    let settings = environment(&bench.servers, &loaded.database, "none", None);
    let days = (age - 1).to_string();
    for project in &loaded.projects {
        programs.run(&programs.otpd, &["project", "update", &project.id, "--retention", &days], &settings)?;
    }
    Ok((oldest, age))
}

/// Waits until all tables of the day have gone; how long that took.
async fn gone(bench: &Bench, loaded: &Loaded, day: &Oldest) -> Outcome<Duration> {
    let begun = Instant::now();
    let mut connection = PgConnection::connect(&bench.servers.url_of(&loaded.database)).await?;
    while sqlx::query_scalar::<_, i64>(LEFT).bind(&day.0).fetch_one(&mut connection).await? > 0 {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} is still there after {PATIENCE:?}", day.0).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(begun.elapsed())
}
