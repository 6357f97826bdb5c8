//! S5: the embedded program accepts, beside the distributed one. Its worker runs in the same process, so the provider holds
//! every message: as in S1, the figure is accept's alone.

use std::time::Duration;

use crate::alone::Alone;
use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::load::{Measured, Until, saturate};
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::Kind;

/// Just within what the worker waits for a provider.
const HELD: Duration = Duration::from_secs(9);

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let (mut embedded, mut distributed) = (Vec::new(), Vec::new());
    for round in 1..=bench.settings.rounds {
        let accepted = accepted(bench).await?;
        embedded.push(accepted.per_second());
        distributed.push(super::accept::distributed(bench, Kind::Otpd).await?.0.per_second());
        bench.say(&format!(
            "round {round}: embedded {:.0}/s (p50 {:.1} ms, p99 {:.1} ms), distributed {:.0}/s",
            accepted.per_second(),
            accepted.ms(50.0),
            accepted.ms(99.0),
            distributed[round - 1]
        ));
    }
    let what = format!("accept, embedded, {} connections", bench.settings.connections);
    let figure = Figure::new("S5", &what, "/s", median(&embedded)).beside("distributed", median(&distributed));
    let figure = figure.target(Target::RatioAtLeast(1.0));
    bench.add(figure.note(format!(
        "embedded in its rounds {}, distributed {}",
        spread(&embedded),
        spread(&distributed)
    )));
    Ok(())
}

async fn accepted(bench: &mut Bench) -> Outcome<Measured> {
    let stub = Stub::start(0, HELD)?;
    let alone = Alone::fresh(bench, &stub).await?;
    let (address, sends) = (alone.address, alone.sends());
    let connections = bench.settings.connections;
    let warm = saturate(address, connections, sends.clone(), 0, Until::Over(bench.settings.warm_up())).await?;
    let measured = saturate(address, connections, sends, warm.next, Until::Over(bench.settings.time())).await?;
    // Its end would wait for the messages that are held.
    drop(alone);
    Ok(measured)
}
