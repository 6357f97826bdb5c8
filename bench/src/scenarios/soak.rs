//! Half of what the program can do, for half an hour: whether its memory ends where it was after a sixth of that time.

use std::time::Duration;

use super::sustained::flow;
use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::load::{steady, whole};
use crate::program::Process;
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::Kind;

/// Readings of the memory in all.
const READINGS: u32 = 60;
/// A process has not grown when it ends with no more than so many times what it had.
const GROWN: f64 = 1.1;
const PATIENCE: Duration = Duration::from_secs(60);

/// The memory of each process, reading by reading.
#[derive(Debug, Default)]
struct Readings {
    api: Vec<f64>,
    worker: Vec<f64>,
}

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let rate = flow(bench, Kind::Otpd).await? / 2.0;
    let time = bench.settings.soak();
    bench.say(&format!("{rate:.0} sends a second, half of what it does, for {:.1} min", time.as_secs_f64() / 60.0));
    let stub = Stub::start(whole(rate * time.as_secs_f64()) + 1, bench.settings.provider_latency())?;
    let mut system = bench.system(Kind::Otpd, &stub).await?;
    let address = system.start_both().await?;
    let load = steady(address, bench.settings.connections, system.sends(), 0, rate, time);
    let (Some(api), Some(worker)) = (system.apis.first(), system.workers.first()) else {
        return Err("no process".into());
    };
    let mut readings = Readings::default();
    let loaded = tokio::select! {
        loaded = load => loaded?,
        outcome = read(bench, time / READINGS, api, worker, &mut readings) => {
            outcome?;
            return Err("nobody reads any more".into());
        }
    };
    stub.journal.reached(loaded.right + 1, PATIENCE).await?;
    let latency = format!("accept p50 {:.2} ms, p99 {:.2} ms", loaded.ms(50.0), loaded.ms(99.0));
    system.end().await?;
    bench.add(figure("soak", "API", &readings.api).note(latency));
    bench.add(figure("soak.worker", "worker", &readings.worker));
    Ok(())
}

async fn read(bench: &Bench, every: Duration, api: &Process, worker: &Process, into: &mut Readings) -> Outcome {
    let mut ticks = tokio::time::interval(every);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        into.api.push(api.memory_mb()?);
        into.worker.push(worker.memory_mb()?);
        if into.api.len().is_multiple_of(10) {
            let last = |of: &[f64]| of.last().copied().unwrap_or_default();
            bench.say(&format!("API {:.1} MB, worker {:.1} MB", last(&into.api), last(&into.worker)));
        }
    }
}

/// The end beside the time after a sixth, each as the median of some readings: one reading tells what was free just then.
fn figure(name: &str, whose: &str, readings: &[f64]) -> Figure {
    let some = (readings.len() / 12).max(1);
    let sixth = readings.len() / 6;
    let early = median(&readings[sixth..(sixth + some).min(readings.len())]);
    let late = median(&readings[readings.len().saturating_sub(some)..]);
    let figure = Figure::new(name, &format!("memory after the soak, {whose}"), "MB", late);
    let figure = figure.beside("after a sixth of it", early).target(Target::RatioAtMost(GROWN));
    figure.note(format!("readings {}", spread(readings)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Verdict;

    #[test]
    fn what_grows_on_is_a_miss_and_what_came_early_is_not() {
        let grows: Vec<f64> = (0..60).map(|n| 50.0 + f64::from(n)).collect();
        let settles: Vec<f64> = (0..60).map(|n| 60.0 - 30.0 / f64::from(n + 1)).collect();
        for (readings, verdict) in [(grows, Verdict::Miss), (settles, Verdict::Pass), (vec![50.0], Verdict::Pass)] {
            assert_eq!(figure("soak", "API", &readings).verdict, verdict, "{readings:?}");
        }
    }
}
