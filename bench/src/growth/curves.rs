//! `bench curves`: how throughput moves with what one has more or less of. docs/scaling.md reads them.

use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::future::try_join_all;

use super::load::Loaded;
use super::slow;
use crate::failure::Outcome;
use crate::load::{Until, saturate};
use crate::report::print;
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::scenarios::{growth, scaling};
use crate::servers::Servers;
use crate::settings::Flags;
use crate::stub::Stub;
use crate::system::Kind;

const WORKERS: [u64; 4] = [1, 2, 3, 4];
const APIS: [usize; 2] = [1, 2];
const LATENCIES_MS: [u64; 4] = [0, 50, 200, 1000];
const DELAYS_US: [u32; 2] = [0, 1000];

/// Measure how throughput moves with processes, rows, the provider's latency and slow commits
#[derive(Debug, Args)]
pub(crate) struct Curves {
    /// Which of them (default: all)
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Curve>,
    /// For `rows`: databases that `bench load` has filled, besides an empty one
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    grown: Vec<String>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Curve {
    /// Accepts by one API and by two
    Apis,
    /// Deliveries by one to four workers, with providers of 0 to 1000 ms
    Workers,
    /// Accepts and verdicts by rows in the tables
    Rows,
    /// Accepts and verdicts where a commit takes 1 ms longer, on servers started for it
    Commits,
}

impl Curves {
    pub(crate) async fn run(self) -> Outcome {
        let is_wanted = |curve| self.only.is_empty() || self.only.contains(&curve);
        let mut bench = Bench::begin(&self.flags).await?;
        let outcome = async {
            if is_wanted(Curve::Apis) {
                apis(&mut bench).await?;
            }
            if is_wanted(Curve::Workers) {
                workers(&mut bench).await?;
            }
            if is_wanted(Curve::Rows) {
                rows(&mut bench, &self.grown).await?;
            }
            Ok(())
        };
        let outcome: Outcome = outcome.await;
        bench.servers.clean_up().await;
        outcome?;
        if is_wanted(Curve::Commits) {
            commits(&self.flags, &bench).await?;
        }
        Ok(())
    }
}

/// The median of the rounds, and how far they lay apart.
fn told(rates: &[f64]) -> String {
    format!("{:.0} ({})", median(rates), spread(rates))
}

async fn apis(bench: &mut Bench) -> Outcome {
    let mut rates = vec![Vec::new(); APIS.len()];
    for round in 1..=bench.settings.rounds {
        for (number, rates) in APIS.iter().zip(&mut rates) {
            rates.push(accepted(bench, *number).await?);
        }
        bench.say(&format!("APIs, round {round} of {}", bench.settings.rounds));
    }
    let rows = APIS.iter().zip(&rates).map(|(number, rates)| format!("| {number} | {} |", told(rates)));
    print(&format!("\n| APIs | accepts a second |\n|---|---|\n{}", rows.collect::<Vec<_>>().join("\n")));
    Ok(())
}

/// Accepts a second over as many connections as ever, by so many APIs.
async fn accepted(bench: &mut Bench, number: usize) -> Outcome<f64> {
    let stub = Stub::start(0, Duration::ZERO)?;
    let mut system = bench.system(Kind::Otpd, &stub).await?;
    let mut addresses = Vec::with_capacity(number);
    for _ in 0..number {
        addresses.push(system.start_api().await?);
    }
    let (connections, time) = ((bench.settings.connections / number).max(1), bench.settings.time());
    let warm_up = bench.settings.warm_up();
    let each = addresses.iter().zip(0_u64..).map(|(address, nth)| {
        let calls = system.sends();
        async move {
            // Every API has numbers of its own.
            let warm = saturate(*address, connections, calls.clone(), nth * 10_000_000, Until::Over(warm_up)).await?;
            saturate(*address, connections, calls, warm.next, Until::Over(time)).await
        }
    });
    let measured = try_join_all(each).await?;
    system.end().await?;
    Ok(measured.iter().map(|measured| measured.per_second()).sum())
}

async fn workers(bench: &mut Bench) -> Outcome {
    let mut lines = vec!["\n| provider | 1 worker | 2 | 3 | 4 |".to_owned(), "|---|---|---|---|---|".to_owned()];
    for latency in LATENCIES_MS {
        let mut cells = Vec::new();
        for workers in WORKERS {
            let mut rates = Vec::new();
            for _ in 0..bench.settings.rounds {
                let latency = Duration::from_millis(latency);
                rates.push(scaling::throughput(bench, workers, latency).await?);
            }
            cells.push(told(&rates));
            bench.say(&format!("a provider of {latency} ms, {workers} workers: {}/s", told(&rates)));
        }
        lines.push(format!("| {latency} ms | {} |", cells.join(" | ")));
    }
    print(&lines.join("\n"));
    Ok(())
}

async fn rows(bench: &mut Bench, grown: &[String]) -> Outcome {
    let mut databases = vec![None];
    for name in grown {
        databases.push(Some(Loaded::find(&bench.servers, name).await?));
    }
    if grown.is_empty() {
        databases.push(Some(bench.loaded().await?));
    }
    let mut rates = vec![growth::Rates::default(); databases.len()];
    for round in 1..=bench.settings.rounds {
        for (database, rates) in databases.iter().zip(&mut rates) {
            rates.accepted.push(growth::accepted(bench, database.as_ref()).await?);
            rates.verified.push(growth::verified(bench, database.as_ref()).await?);
        }
        bench.say(&format!("rows, round {round} of {}", bench.settings.rounds));
    }
    let rows = databases.iter().zip(&rates).map(|(database, rates)| {
        let rows = database.as_ref().map_or(0, |database| database.rows);
        format!("| {rows} | {} | {} |", told(&rates.accepted), told(&rates.verified))
    });
    let head = "\n| rows | accepts a second | verdicts a second |\n|---|---|---|";
    print(&format!("{head}\n{}", rows.collect::<Vec<_>>().join("\n")));
    Ok(())
}

/// On private servers, one after the other: as the disk is, and with every commit slower.
async fn commits(flags: &Flags, before: &Bench) -> Outcome {
    let head = "\n| commit | accepts a second | verdicts a second |\n|---|---|---|";
    let mut lines = vec![head.to_owned()];
    for delay in DELAYS_US {
        let settings = slow::environment(before.programs.scratch(), delay)?;
        let mut bench = Bench::begin_with(flags, Servers::private(&settings)?).await?;
        let mut rates = growth::Rates::default();
        let outcome = async {
            for round in 1..=bench.settings.rounds {
                rates.accepted.push(growth::accepted(&mut bench, None).await?);
                rates.verified.push(growth::verified(&mut bench, None).await?);
                bench.say(&format!("commits of {delay} µs more, round {round} of {}", bench.settings.rounds));
            }
            Ok(())
        };
        let outcome: Outcome = outcome.await;
        bench.servers.clean_up().await;
        outcome?;
        lines.push(format!("| + {delay} µs | {} | {} |", told(&rates.accepted), told(&rates.verified)));
    }
    print(&lines.join("\n"));
    Ok(())
}
