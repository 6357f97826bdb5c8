//! S11: looking back with many rows in the tables, at a modest rate, from when each request was to start: the first page of
//! records under several filters, and the statistics of 90 days.

use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::otp::time::{DAY_MS, Timestamp};

use super::steady::busy;
use crate::calls::Looks;
use crate::failure::Outcome;
use crate::figure::{Figure, Target};
use crate::growth::load::Loaded;
use crate::load::{Measured, steady};
use crate::rounds::{median, spread};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::System;

const RATE: f64 = 40.0;
const CONNECTIONS: usize = 16;
/// So much longer than a throughput is measured: the rate is small.
const LONGER: u32 = 4;
const MOST_MS: f64 = 20.0;

pub(super) async fn run(bench: &mut Bench) -> Outcome {
    let loaded = bench.loaded().await?;
    let (mut records, mut stats, mut echo) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.settings.rounds {
        let (listed, counted) = looked(bench, &loaded).await?;
        let (_, p99) = busy(bench).await?;
        bench.say(&format!(
            "round {round}: records p50 {:.1} p99 {:.1} ms, stats p50 {:.1} p99 {:.1} ms, echo p99 {p99:.2} ms",
            listed.ms(50.0),
            listed.ms(99.0),
            counted.ms(50.0),
            counted.ms(99.0)
        ));
        records.push(listed.ms(99.0));
        stats.push(counted.ms(99.0));
        echo.push(p99);
    }
    let echo = median(&echo);
    let whats = [("S11", "records, first page, p99", &records), ("S11.stats", "stats over 90 days, p99", &stats)];
    for (name, what, rounds) in whats {
        let what = format!("{what}, {} rows", loaded.rows);
        let figure = Figure::new(name, &what, "ms", median(rounds)).target(Target::AtMost(MOST_MS));
        let note = format!("in its rounds {}, {RATE}/s; the echo's p99 is {echo:.2} ms", spread(rounds));
        bench.add(figure.void_if(echo > 2.0).note(note));
    }
    Ok(())
}

/// So many days ago, as a date.
fn ago(days: u16) -> String {
    let now = Clock::default().now().as_ms();
    let date = Timestamp::from_ms(now - i64::from(days) * DAY_MS).rfc3339();
    date.get(..10).unwrap_or_default().to_owned()
}

/// What is asked of records: everything, what most are, what few are, by record id, and by date.
fn filters(days: u16) -> Vec<String> {
    let dates = format!("dateFrom={}&dateTo={}", ago(days - 1), ago(days / 2));
    let filters =
        ["", "channel=email", "verified=true", "status=delivered", "status=failed", "recordId=user-1", &dates];
    filters.iter().map(|filter| format!("/api/v1/otp/records?{filter}")).collect()
}

async fn looked(bench: &mut Bench, loaded: &Loaded) -> Outcome<(Measured, Measured)> {
    let stub = Stub::start(0, Duration::ZERO)?;
    let mut system = System::on_loaded(bench, loaded, &stub).await?;
    let address = system.start_api().await?;
    let looks = |paths: &[String]| Arc::new(Looks::new(&loaded.projects, paths));
    let records = looks(&filters(loaded.days));
    let stats = looks(&[format!("/api/v1/otp/stats?dateFrom={}", ago(loaded.days - 1))]);
    let (time, warm_up) = (bench.settings.time() * LONGER, bench.settings.time() * LONGER);
    // Each connection to the database makes its plans once.
    steady(address, CONNECTIONS, records.clone(), 0, RATE, warm_up).await?;
    let listed = steady(address, CONNECTIONS, records, 0, RATE, time).await?;
    steady(address, CONNECTIONS, stats.clone(), 0, RATE, warm_up).await?;
    let counted = steady(address, CONNECTIONS, stats, 0, RATE, time).await?;
    system.end().await?;
    Ok((listed, counted))
}
