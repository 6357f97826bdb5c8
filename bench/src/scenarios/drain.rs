//! S3: a worker that finds a full queue. The API accepts with no worker there and stops; then a worker starts.

use std::time::Duration;

use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::load::count;
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::Kind;

const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let (mut ours, mut naive) = (Vec::new(), Vec::new());
    for round in 1..=bench.settings.rounds {
        ours.push(drained(bench, Kind::Otpd).await?);
        naive.push(drained(bench, Kind::Naive).await?);
        bench.say(&format!("round {round}: otpd {:.0}/s, naive {:.0}/s", ours[round - 1], naive[round - 1]));
    }
    let what = format!("worker, {} preloaded", bench.settings.burst);
    let figure = Figure::new("S3", &what, "/s", median(&ours)).beside("naive", median(&naive));
    let figure = figure.target(Target::RatioAtLeast(5.0));
    bench.add(figure.note(format!("ours in its rounds {}, naive {}", spread(&ours), spread(&naive))));
    Ok(())
}

/// Messages a second from the first one that reaches the provider to the last one.
async fn drained(bench: &mut Bench, kind: Kind) -> Outcome<f64> {
    let (connections, burst) = (bench.settings.connections, bench.settings.burst);
    let stub = Stub::start(burst, bench.settings.provider_latency())?;
    let mut system = bench.system(kind, &stub).await?;
    system.start_api().await?;
    system.preload(connections, burst).await?;
    system.stop_apis().await?;
    bench.settle().await;
    system.start_worker()?;
    // The probe that found the API ready is a message too.
    stub.journal.reached(burst + 1, PATIENCE).await?;
    let time = stub.journal.first_to_last();
    system.end().await?;
    Ok(count(burst) / time.as_secs_f64())
}
