//! S7: a burst, from its first send to the last arrival at the provider.

use std::time::Duration;

use super::steady::busy;
use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::load::{Until, saturate};
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::{Kind, System};

/// Of the burst that the target is for.
const MOST_SECONDS: f64 = 2.5;
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let (mut ours, mut naive, mut again) = (Vec::new(), Vec::new(), 0);
    for round in 1..=bench.settings.rounds {
        let (seconds, twice) = one(bench, Kind::Otpd).await?;
        ours.push(seconds);
        again += twice;
        naive.push(one(bench, Kind::Naive).await?.0);
        bench.say(&format!("round {round}: otpd {:.2} s, naive {:.2} s", ours[round - 1], naive[round - 1]));
    }
    let (is_busy, echo) = busy(bench).await?;
    let what = format!("burst of {}, handed over after", bench.settings.burst);
    let figure = |name| Figure::new(name, &what, "s", median(&ours)).beside("naive", median(&naive));
    let absolute = figure("S7").target(Target::AtMost(MOST_SECONDS)).void_if(is_busy);
    let (our_rounds, their_rounds) = (spread(&ours), spread(&naive));
    let note = format!(
        "ours in its rounds {our_rounds}, naive {their_rounds}; {again} messages came twice; the echo's p99 is {echo:.2} ms"
    );
    bench.add(absolute.note(note));
    bench.add(figure("S7.naive").target(Target::RatioAtMost(0.25)));
    Ok(())
}

/// Seconds until a burst has arrived whole, and how many of its messages came again.
async fn one(bench: &mut Bench, kind: Kind) -> Outcome<(f64, u64)> {
    let (system, stub) = started(bench, kind).await?;
    let seconds = handed_over(bench, &system, &stub).await?;
    system.end().await?;
    Ok((seconds, stub.journal.again()))
}

pub(super) async fn started(bench: &mut Bench, kind: Kind) -> Outcome<(System, Stub)> {
    let stub = Stub::start(bench.settings.burst, bench.settings.provider_latency())?;
    let mut system = bench.system(kind, &stub).await?;
    system.start_both().await?;
    Ok((system, stub))
}

pub(super) async fn handed_over(bench: &Bench, system: &System, stub: &Stub) -> Outcome<f64> {
    let (connections, burst) = (bench.settings.connections, bench.settings.burst);
    let address = system.address.ok_or("no API is running")?;
    saturate(address, connections, system.sends(), 0, Until::Made(burst)).await?;
    stub.journal.reached(burst + 1, PATIENCE).await?;
    let begun = stub.journal.started(0).ok_or("no send has started")?;
    Ok(stub.journal.last_after(begun).as_secs_f64())
}
