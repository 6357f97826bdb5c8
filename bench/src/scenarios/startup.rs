//! S10: the embedded program on data that are there, from its start to its first accepted send.

use std::time::Duration;

use super::steady::busy;
use crate::alone::Alone;
use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::load::{Until, saturate};
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;

const MOST_MS: f64 = 150.0;
/// Starts a round: each takes a moment only.
const STARTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let (connections, burst) = (bench.settings.connections, bench.settings.burst);
    let mut times = Vec::new();
    let stub = Stub::start(burst, Duration::ZERO)?;
    let alone = Alone::fresh(bench, &stub).await?;
    saturate(alone.address, connections, alone.sends(), 0, Until::Made(burst)).await?;
    stub.journal.reached(burst + 1, PATIENCE).await?;
    let mut data = alone.stop().await?;
    let starts = if bench.settings.quick { 1 } else { bench.settings.rounds * STARTS };
    for start in 0..starts {
        // Its probe must be a number that no start before has sent to.
        let next = Stub::start(0, Duration::ZERO)?;
        let (alone, ms) = Alone::start(bench, data, &next).await?;
        times.push(ms);
        data = alone.stop().await?;
        bench.say(&format!("start {}: {ms:.0} ms", start + 1));
    }
    let (is_busy, echo) = busy(bench).await?;
    let figure =
        Figure::new("S10", "start to first 202, embedded", "ms", median(&times)).target(Target::AtMost(MOST_MS));
    let note =
        format!("of {} starts on {burst} sends, {}; the echo's p99 is {echo:.2} ms", times.len(), spread(&times));
    bench.add(figure.void_if(is_busy).note(note));
    Ok(())
}
