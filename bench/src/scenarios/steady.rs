//! S6: latencies at 500 sends a second, from when each was to start: to its reply, and to its arrival at the provider. The
//! echo at the same rate tells what the machine itself adds.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::accept::start_echo;
use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::load::{Measured, count, steady, whole};
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::Kind;

const RATE: f64 = 500.0;
/// So much longer than a throughput is measured: a percentile needs many sends.
const LONGER: u32 = 3;
/// Connections: far more than are busy at that rate.
const CONNECTIONS: usize = 64;
/// A machine whose echo takes longer has something else to do.
const BUSY_MS: f64 = 2.0;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Percentiles {
    accept: Vec<f64>,
    provider: Vec<f64>,
    echo: Vec<f64>,
    naive_accept: Vec<f64>,
    naive_provider: Vec<f64>,
}

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let mut found = Percentiles::default();
    for round in 1..=bench.settings.rounds {
        let (accepted, arrived) = delivered(bench, Kind::Otpd).await?;
        let (naive, naive_arrived) = delivered(bench, Kind::Naive).await?;
        let echo = echoed(bench).await?;
        bench.say(&format!(
            "round {round}: otpd accept p50 {:.2} p99 {:.2} ms, to the provider p50 {:.2} p99 {:.2} ms; \
             naive p99 {:.2}, {:.2} ms; echo p99 {:.2} ms",
            accepted.ms(50.0),
            accepted.ms(99.0),
            ms(&arrived, 50.0),
            ms(&arrived, 99.0),
            naive.ms(99.0),
            ms(&naive_arrived, 99.0),
            echo.ms(99.0)
        ));
        found.accept.push(accepted.ms(99.0));
        found.provider.push(ms(&arrived, 99.0));
        found.naive_accept.push(naive.ms(99.0));
        found.naive_provider.push(ms(&naive_arrived, 99.0));
        found.echo.push(echo.ms(99.0));
    }
    for figure in figures(&found) {
        bench.add(figure);
    }
    Ok(())
}

fn figures(found: &Percentiles) -> [Figure; 2] {
    let echo = median(&found.echo);
    let figure = |name, what, ours: &[f64], naive: &[f64], most| {
        let figure = Figure::new(name, what, "ms", median(ours)).beside("naive", median(naive));
        let figure = figure.target(Target::AtMost(most)).void_if(echo > BUSY_MS);
        figure.note(format!("p99 in its rounds {}; the echo's p99 is {echo:.2} ms", spread(ours)))
    };
    [
        figure("S6", "accept p99 at 500/s", &found.accept, &found.naive_accept, 5.0),
        figure("S6.provider", "accept to provider p99 at 500/s", &found.provider, &found.naive_provider, 10.0),
    ]
}

fn ms(latency: &Histogram<u64>, percentile: f64) -> f64 {
    count(latency.value_at_percentile(percentile)) / 1000.0
}

/// Replies and arrivals of a steady load.
async fn delivered(bench: &mut Bench, kind: Kind) -> Outcome<(Measured, Histogram<u64>)> {
    let time = longer(bench);
    let stub = Stub::start(whole(RATE * time.as_secs_f64()) + 1, bench.settings.provider_latency())?;
    let mut system = bench.system(kind, &stub).await?;
    let address = system.start_both().await?;
    // The first sends find cold caches and statements that nobody has prepared.
    let (connections, warm_up) = (bench.settings.connections.min(CONNECTIONS), bench.settings.warm_up());
    steady(address, connections, system.sends(), WARMING, RATE, warm_up).await?;
    let measured = steady(address, connections, system.sends(), 0, RATE, time).await?;
    // One probe, those of the warm-up, and those that count.
    let warmed = whole(RATE * warm_up.as_secs_f64()).max(1);
    stub.journal.reached(1 + warmed + measured.right, PATIENCE).await?;
    system.end().await?;
    Ok((measured, stub.journal.start_to_arrival()?))
}

fn longer(bench: &Bench) -> Duration {
    if bench.settings.quick { bench.settings.time() } else { bench.settings.time() * LONGER }
}

/// Sends of the warm-up, beyond those that are remembered.
const WARMING: u64 = 50_000_000;

async fn echoed(bench: &mut Bench) -> Outcome<Measured> {
    let (process, address) = start_echo(bench).await?;
    let (connections, calls) = (bench.settings.connections.min(CONNECTIONS), super::plain_sends());
    steady(address, connections, calls.clone(), WARMING, RATE, bench.settings.warm_up()).await?;
    let measured = steady(address, connections, calls, 0, RATE, longer(bench)).await?;
    process.stop().await?;
    Ok(measured)
}

/// The echo's p99 for figures that are void on a busy machine.
pub(super) async fn busy(bench: &mut Bench) -> Outcome<(bool, f64)> {
    let p99 = echoed(bench).await?.ms(99.0);
    Ok((p99 > BUSY_MS, p99))
}
