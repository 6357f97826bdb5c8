//! S9: the most memory that was ever resident in each process, at the end of a burst that was handed over.

use std::time::Duration;

use super::burst::{handed_over, started};
use super::steady::busy;
use crate::alone::Alone;
use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::load::{Until, saturate};
use crate::program::Process;
use crate::rounds::{largest, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::Kind;

const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let (mut api, mut worker, mut embedded) = (Vec::new(), Vec::new(), Vec::new());
    let (mut naive_api, mut naive_worker) = (Vec::new(), Vec::new());
    for round in 1..=bench.settings.rounds {
        let (of_api, of_worker) = distributed(bench, Kind::Otpd).await?;
        api.push(of_api);
        worker.push(of_worker);
        let (of_api, of_worker) = distributed(bench, Kind::Naive).await?;
        naive_api.push(of_api);
        naive_worker.push(of_worker);
        embedded.push(alone(bench).await?);
        bench.say(&format!(
            "round {round}: API {:.1} MB, worker {:.1} MB, embedded {:.1} MB; naive {of_api:.1} and {of_worker:.1} MB",
            api[round - 1],
            worker[round - 1],
            embedded[round - 1]
        ));
    }
    let (is_busy, echo) = busy(bench).await?;
    let figure = |name, what, ours: &[f64], most| {
        let figure = Figure::new(name, what, "MB", largest(ours)).target(Target::AtMost(most)).void_if(is_busy);
        figure.note(format!("the most of all rounds, which lay at {}; the echo's p99 is {echo:.2} ms", spread(ours)))
    };
    let figures = [
        figure("S9", "memory under the burst, API", &api, 64.0).beside("naive", largest(&naive_api)),
        figure("S9.worker", "memory under the burst, worker", &worker, 64.0).beside("naive", largest(&naive_worker)),
        figure("S9.embedded", "memory under the burst, embedded", &embedded, 96.0),
    ];
    for figure in figures {
        bench.add(figure);
    }
    Ok(())
}

/// The API's and the worker's.
async fn distributed(bench: &mut Bench, kind: Kind) -> Outcome<(f64, f64)> {
    let (system, stub) = started(bench, kind).await?;
    handed_over(bench, &system, &stub).await?;
    let peak = |processes: &[Process]| processes.first().ok_or("no process")?.peak_memory_mb();
    let peaks = (peak(&system.apis)?, peak(&system.workers)?);
    system.end().await?;
    Ok(peaks)
}

async fn alone(bench: &mut Bench) -> Outcome<f64> {
    let (connections, burst) = (bench.settings.connections, bench.settings.burst);
    let stub = Stub::start(burst, bench.settings.provider_latency())?;
    let alone = Alone::fresh(bench, &stub).await?;
    saturate(alone.address, connections, alone.sends(), 0, Until::Made(burst)).await?;
    stub.journal.reached(burst + 1, PATIENCE).await?;
    let peak = alone.process.peak_memory_mb()?;
    alone.stop().await?;
    Ok(peak)
}
