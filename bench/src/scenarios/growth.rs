//! S8: what is accepted and verified a second with many rows in the tables, to what it is with empty ones, in turn.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};

use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::growth::load::Loaded;
use crate::load::{Until, saturate};
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::{Kind, System};

const PATIENCE: Duration = Duration::from_secs(120);

/// What one system did in its turns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates {
    pub(crate) accepted: Vec<f64>,
    pub(crate) verified: Vec<f64>,
}

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let loaded = bench.loaded().await?;
    let (mut grown, mut empty) = (Rates::default(), Rates::default());
    for round in 1..=bench.settings.rounds {
        for (database, rates) in [(Some(&loaded), &mut grown), (None, &mut empty)] {
            rates.accepted.push(accepted(bench, database).await?);
            rates.verified.push(verified(bench, database).await?);
        }
        let of = |rates: &Rates| {
            format!("accept {:.0}, verify {:.0}/s", rates.accepted[round - 1], rates.verified[round - 1])
        };
        bench.say(&format!("round {round}: grown {}; empty {}", of(&grown), of(&empty)));
    }
    let connections = bench.settings.connections;
    let names =
        [("S8", "accept", &grown.accepted, &empty.accepted), ("S8.verify", "verify", &grown.verified, &empty.verified)];
    for (name, what, ours, beside) in names {
        let what = format!("{what} with {} rows, {connections} connections", loaded.rows);
        let figure = Figure::new(name, &what, "/s", median(ours)).beside("empty", median(beside));
        let figure = figure.target(Target::RatioAtLeast(0.9));
        bench.add(figure.note(format!("grown in its rounds {}, empty {}", spread(ours), spread(beside))));
    }
    Ok(())
}

/// A system on the loaded database, or on an empty one.
async fn system(bench: &mut Bench, database: Option<&Loaded>, stub: &Stub) -> Outcome<System> {
    match database {
        Some(loaded) => System::on_loaded(bench, loaded, stub).await,
        None => bench.system(Kind::Otpd, stub).await,
    }
}

/// As S1.
pub(crate) async fn accepted(bench: &mut Bench, database: Option<&Loaded>) -> Outcome<f64> {
    let stub = Stub::start(0, Duration::ZERO)?;
    let mut system = system(bench, database, &stub).await?;
    let address = system.start_api().await?;
    let (connections, calls) = (bench.settings.connections, system.sends());
    let warm = saturate(address, connections, calls.clone(), 0, Until::Over(bench.settings.warm_up())).await?;
    let measured = saturate(address, connections, calls, warm.next, Until::Over(bench.settings.time())).await?;
    system.end().await?;
    if let Some(loaded) = database {
        forget_due(bench, loaded).await?;
    }
    Ok(measured.per_second())
}

/// What was accepted in this turn shall not be delivered in a later one.
async fn forget_due(bench: &Bench, loaded: &Loaded) -> Outcome {
    let mut connection = PgConnection::connect(&bench.servers.url_of(&loaded.database)).await?;
    connection.execute("truncate due").await?;
    Ok(())
}

/// As S4, but for sends that were made just before.
pub(crate) async fn verified(bench: &mut Bench, database: Option<&Loaded>) -> Outcome<f64> {
    let (sends, connections) = (bench.settings.burst, bench.settings.connections);
    let stub = Stub::start(sends, Duration::ZERO)?;
    let mut system = system(bench, database, &stub).await?;
    let address = system.start_both().await?;
    system.preload(connections, sends).await?;
    stub.journal.reached(sends + 1, PATIENCE).await?;
    system.stop_workers().await?;
    bench.settle().await;
    let measured = saturate(address, connections, system.guesses(sends), 0, Until::Made(sends * 2)).await?;
    system.end().await?;
    Ok(measured.per_second())
}
