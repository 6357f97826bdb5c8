//! S1: sends accepted a second by API, PostgreSQL and RabbitMQ, with no worker; beside the naive baseline, an echo, and
//! what the two servers take by themselves.

use std::net::SocketAddr;
use std::time::Duration;

use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::load::{Measured, Until, count, saturate};
use crate::program::Process;
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::Kind;

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let (mut ours, mut naive, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let (mut echo, mut unnest, mut confirms) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.settings.rounds {
        let (accepted, written) = distributed(bench, Kind::Otpd).await?;
        ours.push(accepted.per_second());
        rows.push(written);
        let (theirs, _) = distributed(bench, Kind::Naive).await?;
        naive.push(theirs.per_second());
        echo.push(echoed(bench).await?);
        unnest.push(limit_of(bench, "unnest").await?);
        confirms.push(limit_of(bench, "confirms").await?);
        bench.say(&format!(
            "round {round}: otpd {:.0}/s (p50 {:.1} ms, p99 {:.1} ms), naive {:.0}/s (p50 {:.1} ms), echo {:.0}/s",
            accepted.per_second(),
            accepted.ms(50.0),
            accepted.ms(99.0),
            theirs.per_second(),
            theirs.ms(50.0),
            echo[round - 1]
        ));
    }
    let connections = bench.settings.connections;
    let figure = |name, beside, baseline: &[f64]| {
        let what = format!("accept, distributed, {connections} connections");
        Figure::new(name, &what, "/s", median(&ours)).beside(beside, median(baseline))
    };
    let s1 = figure("S1", "naive", &naive).target(Target::RatioAtLeast(4.0));
    let echoes = figure("S1.echo", "echo", &echo).target(Target::RatioAtLeast(0.12));
    let figures = [
        s1.note(format!("ours in its rounds {}, naive {}", spread(&ours), spread(&naive))),
        echoes,
        Figure::new("S1.rows", "rows written for an accepted send", "rows", median(&rows)),
        figure("S1.unnest", "INSERT … UNNEST of 64 rows", &unnest),
        figure("S1.confirms", "pipelined confirms", &confirms),
    ];
    for figure in figures {
        bench.add(figure);
    }
    Ok(())
}

/// One turn of a whole system: what it accepts, and the rows that it writes for each.
pub(super) async fn distributed(bench: &mut Bench, kind: Kind) -> Outcome<(Measured, f64)> {
    let stub = Stub::start(0, Duration::ZERO)?;
    let mut system = bench.system(kind, &stub).await?;
    let address = system.start_api().await?;
    let (connections, calls) = (bench.settings.connections, system.sends());
    let warm = saturate(address, connections, calls.clone(), 0, Until::Over(bench.settings.warm_up())).await?;
    let measured = saturate(address, connections, calls, warm.next, Until::Over(bench.settings.time())).await?;
    system.stop_apis().await?;
    // The probe was accepted too. Whatever does not come to the queue any more has been left to others.
    let accepted = warm.right + measured.right + 1;
    bench.servers.queued(&system.name, accepted).await?;
    let rows = system.end().await?;
    let accepted = count(accepted);
    Ok((measured, f64::from(i32::try_from(rows)?) / accepted))
}

/// An axum handler that parses JSON and answers JSON, started as a process.
pub(super) async fn start_echo(bench: &Bench) -> Outcome<(Process, SocketAddr)> {
    let programs = &bench.programs;
    let mut process = programs.start(&programs.bench, "echo", &["baseline", "echo"], &Vec::new())?;
    let address = process.logged("server.listen").await?.parse()?;
    Ok((process, address))
}

async fn echoed(bench: &mut Bench) -> Outcome<f64> {
    let (process, address) = start_echo(bench).await?;
    let (connections, calls) = (bench.settings.connections, super::plain_sends());
    let warm = saturate(address, connections, calls.clone(), 0, Until::Over(bench.settings.warm_up())).await?;
    let measured = saturate(address, connections, calls, warm.next, Until::Over(bench.settings.time())).await?;
    process.stop().await?;
    Ok(measured.per_second())
}

/// What one of the servers takes by itself, a second.
async fn limit_of(bench: &mut Bench, which: &str) -> Outcome<f64> {
    let (programs, servers) = (&bench.programs, &bench.servers);
    let seconds = bench.settings.seconds.to_string();
    let name = crate::servers::Servers::fresh_name();
    let place = if which == "unnest" {
        servers.create_database(&name, None).await?;
        ["--store".to_owned(), servers.url_of(&name)]
    } else {
        servers.will_have_queues(&name)?;
        ["--queue".to_owned(), servers.rabbitmq.clone()]
    };
    let arguments = ["baseline", which, &place[0], &place[1], "--name", &name, "--seconds", &seconds];
    let mut process = programs.start(&programs.bench, which, &arguments, &Vec::new())?;
    let per_second = process.logged("per_second").await?.parse()?;
    drop(process);
    if which == "unnest" {
        servers.drop_database(&name).await?
    } else {
        servers.delete_queues(&name).await?
    }
    Ok(per_second)
}
