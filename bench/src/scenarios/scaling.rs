//! S12: workers beside each other on a provider that takes 200 ms: two do twice as much as one, four four times.

use std::time::{Duration, Instant};

use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::load::{count, whole};
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::Kind;

const LATENCY: Duration = Duration::from_millis(200);
/// Messages that one worker has under way to one provider at most (`worker.provider_concurrency`).
const AT_ONCE: u64 = 128;
/// What a batch takes, about, where the provider takes no time.
const AT_NO_TIME: Duration = Duration::from_millis(20);
/// Batches until all workers are at it, and as many that are left so that none runs dry.
const AROUND: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let (mut one, mut two, mut four) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.settings.rounds {
        for (workers, rates) in [(1, &mut one), (2, &mut two), (4, &mut four)] {
            rates.push(throughput(bench, workers, LATENCY).await?);
        }
        let index = round - 1;
        bench.say(&format!("round {round}: {:.0}, {:.0}, {:.0}/s", one[index], two[index], four[index]));
    }
    for (name, workers, rates, aim) in [("S12", 2, &two, 2.0), ("S12.four", 4, &four, 4.0)] {
        let what = format!("{workers} workers, a provider of 200 ms");
        let figure = Figure::new(name, &what, "/s", median(rates)).beside("1 worker", median(&one));
        let figure = figure.target(Target::RatioAbout(aim));
        bench.add(figure.note(format!("in its rounds {}, one worker {}", spread(rates), spread(&one))));
    }
    Ok(())
}

/// Messages a second that so many workers hand over from a queue that does not run dry.
pub(crate) async fn throughput(bench: &mut Bench, workers: u64, latency: Duration) -> Outcome<f64> {
    // They go out, and come back, in batches of as many as may be under way at once. So time is taken over whole ones.
    let batch = AT_ONCE * workers;
    let at_once = if latency.is_zero() { AT_NO_TIME } else { latency };
    let measured = whole(bench.settings.seconds / at_once.as_secs_f64()).max(1);
    let around = if bench.settings.quick { 1 } else { AROUND };
    let sends = batch * (around + measured + around);
    let stub = Stub::start(sends, latency)?;
    let mut system = bench.system(Kind::Otpd, &stub).await?;
    system.start_api().await?;
    system.preload(bench.settings.connections, sends).await?;
    system.stop_apis().await?;
    bench.settle().await;
    for _ in 0..workers {
        system.start_worker()?;
    }
    stub.journal.reached(batch * around, PATIENCE).await?;
    let begun = Instant::now();
    stub.journal.reached(batch * (around + measured), PATIENCE).await?;
    let time = begun.elapsed();
    stub.journal.reached(sends, PATIENCE).await?;
    system.end().await?;
    Ok(count(batch * measured) / time.as_secs_f64())
}
