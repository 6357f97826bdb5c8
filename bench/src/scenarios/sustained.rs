//! S2: all of it at once. A client begins another send only when one has reached the provider, so that what is measured is
//! what a system goes on doing and never a queue that fills; S2.queue then offers nine tenths of that at a steady rate, and
//! looks whether what waits grows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::journal::Journal;
use crate::load::{Until, count, saturate_gated, steady};
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::Kind;

/// Sends that have begun and not arrived, for each connection.
const UNDER_WAY: usize = 4;
/// Sends a second that no system here does, for the journal's size.
const MOST_PER_SECOND: f64 = 60_000.0;
/// What waits may be so much at any time without being a queue that grows: a tenth of a second's sends.
const A_MOMENT: f64 = 0.1;
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let (mut ours, mut naive) = (Vec::new(), Vec::new());
    for round in 1..=bench.settings.rounds {
        ours.push(flow(bench, Kind::Otpd).await?);
        naive.push(flow(bench, Kind::Naive).await?);
        bench.say(&format!("round {round}: otpd {:.0}/s, naive {:.0}/s", ours[round - 1], naive[round - 1]));
    }
    let what = "accept, deliver and write back, sustained";
    let figure = Figure::new("S2", what, "/s", median(&ours)).beside("naive", median(&naive));
    let figure = figure.target(Target::RatioAtLeast(4.0));
    bench.add(figure.note(format!("ours in its rounds {}, naive {}", spread(&ours), spread(&naive))));
    let rate = median(&ours) * 0.9;
    let waiting = queue(bench, rate).await?;
    bench.add(grown(&waiting, rate));
    Ok(())
}

/// Sends a second that are accepted, delivered and written back, when as many are begun as arrive.
pub(super) async fn flow(bench: &mut Bench, kind: Kind) -> Outcome<f64> {
    let (connections, time, warm_up) = (bench.settings.connections, bench.settings.time(), bench.settings.warm_up());
    let gate = Arc::new(Semaphore::new(connections * UNDER_WAY));
    let room = room(time + warm_up);
    let stub = Stub::start_gated(room, bench.settings.provider_latency(), Some(Arc::clone(&gate)))?;
    let mut system = bench.system(kind, &stub).await?;
    let address = system.start_both().await?;
    let calls = system.sends();
    let gate = Some(gate);
    let warm = saturate_gated(address, connections, calls.clone(), 0, Until::Over(warm_up), gate.clone()).await?;
    let before = stub.journal.arrived();
    let loaded = saturate_gated(address, connections, calls, warm.next, Until::Over(time), gate).await?;
    let begun = stub.journal.started(warm.next).ok_or("no send has started")?;
    let per_second = count(stub.journal.arrived() - before) / begun.elapsed().as_secs_f64();
    // What was accepted must arrive, and the probe: a system that loses messages is not faster.
    stub.journal.reached(warm.right + loaded.right + 1, PATIENCE).await?;
    system.end().await?;
    Ok(per_second)
}

fn room(time: Duration) -> u64 {
    crate::load::whole(MOST_PER_SECOND * time.as_secs_f64())
}

/// What waits, accepted and not arrived, look by look, while sends come at a steady rate.
async fn queue(bench: &mut Bench, rate: f64) -> Outcome<Vec<f64>> {
    let (connections, time) = (bench.settings.connections, bench.settings.time() * 3);
    let stub = Stub::start(room(time), bench.settings.provider_latency())?;
    let mut system = bench.system(Kind::Otpd, &stub).await?;
    let address = system.start_both().await?;
    let load = steady(address, connections, system.sends(), 0, rate, time);
    let mut waiting = Vec::new();
    let loaded = tokio::select! {
        loaded = load => loaded?,
        () = look(&stub.journal, rate, &mut waiting) => return Err("nobody looks any more".into()),
    };
    stub.journal.reached(loaded.right + 1, PATIENCE).await?;
    system.end().await?;
    Ok(waiting)
}

async fn look(journal: &Journal, rate: f64, waiting: &mut Vec<f64>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let Some(begun) = journal.started(0) else { continue };
        waiting.push((begun.elapsed().as_secs_f64() * rate - count(journal.arrived())).max(0.0));
    }
}

/// What waits in the last quarter, to what waited in the second one.
fn grown(waiting: &[f64], rate: f64) -> Figure {
    let quarter = waiting.len() / 4;
    let early = median(&waiting[quarter..quarter * 2]);
    let late = median(&waiting[quarter * 3..]);
    let what = format!("waiting late in {rate:.0} sends/s");
    let figure = Figure::new("S2.queue", &what, "sends", late).beside("early", early);
    // Below a moment's worth the ratio is that of two small numbers.
    let target = if late <= rate * A_MOMENT { Target::AtMost(rate * A_MOMENT) } else { Target::RatioAtMost(1.5) };
    figure.target(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Verdict;

    #[test]
    fn a_queue_grows_when_more_waits_late_than_early() {
        let line = |from: f64, step: f64| (0..40).map(|look| from + step * f64::from(look)).collect::<Vec<_>>();
        for (waiting, verdict) in [
            (line(5.0, 0.0), Verdict::Pass),
            (line(5.0, 1.0), Verdict::Pass),
            (line(300.0, 0.0), Verdict::Pass),
            (line(0.0, 20.0), Verdict::Miss),
        ] {
            assert_eq!(grown(&waiting, 1000.0).verdict, verdict, "{waiting:?}");
        }
    }
}
