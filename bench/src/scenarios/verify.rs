//! S4: codes verified a second. Each of the sends has arrived at the provider, where its code was read, and is guessed
//! wrong once and then right. Sends are made once for each system; every round begins with a copy of its database.

use std::time::Duration;

use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::load::{Measured, Until, saturate};
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::{Kind, System, Template};

const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let sends = bench.settings.burst;
    let ours = loaded(bench, Kind::Otpd, sends).await?;
    let naive = loaded(bench, Kind::Naive, sends).await?;
    let (mut our_rates, mut their_rates) = (Vec::new(), Vec::new());
    for round in 1..=bench.settings.rounds {
        let (verified, theirs) = (guessed(bench, &ours, sends).await?, guessed(bench, &naive, sends).await?);
        our_rates.push(verified.per_second());
        their_rates.push(theirs.per_second());
        bench.say(&format!(
            "round {round}: otpd {:.0}/s (p50 {:.1} ms, p99 {:.1} ms), naive {:.0}/s (p50 {:.1} ms)",
            verified.per_second(),
            verified.ms(50.0),
            verified.ms(99.0),
            theirs.per_second(),
            theirs.ms(50.0)
        ));
    }
    for (_, template) in [ours, naive] {
        bench.servers.drop_database(&template.database).await?;
    }
    let what = format!("verify, {} connections", bench.settings.connections);
    let figure = Figure::new("S4", &what, "/s", median(&our_rates)).beside("naive", median(&their_rates));
    let figure = figure.target(Target::RatioAtLeast(3.0));
    bench.add(figure.note(format!("ours in its rounds {}, naive {}", spread(&our_rates), spread(&their_rates))));
    Ok(())
}

/// A database with so many sends that have arrived, and the stub that knows their codes.
async fn loaded(bench: &mut Bench, kind: Kind, sends: u64) -> Outcome<(Stub, Template)> {
    let stub = Stub::start(sends, Duration::ZERO)?;
    let mut system = bench.system(kind, &stub).await?;
    system.start_both().await?;
    system.preload(bench.settings.connections, sends).await?;
    stub.journal.reached(sends + 1, PATIENCE).await?;
    let template = system.into_template().await?;
    Ok((stub, template))
}

async fn guessed(bench: &Bench, (stub, template): &(Stub, Template), sends: u64) -> Outcome<Measured> {
    let mut system = System::copy_of(bench, template, stub).await?;
    let address = system.start_api().await?;
    let (connections, guesses) = (bench.settings.connections, system.guesses(sends));
    let measured = saturate(address, connections, guesses, 0, Until::Made(sends * 2)).await?;
    system.end().await?;
    Ok(measured)
}
