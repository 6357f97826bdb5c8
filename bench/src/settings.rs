//! How much is measured: flags, and what they are where nothing is said.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

#[derive(Debug, Clone, Args)]
pub(crate) struct Flags {
    /// Small sizes, one round: tells that all of it works, and nothing about speed
    #[arg(long)]
    quick: bool,
    /// Rounds, in each of which ours and its baselines take turns (default: 5)
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Seconds of each measurement under load (default: 3)
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Connections, each with one request in flight (default: 256)
    #[arg(long, value_name = "N")]
    connections: Option<usize>,
    /// Sends of a burst, and of what a worker drains (default: 20000)
    #[arg(long, value_name = "N")]
    burst: Option<u64>,
    /// Projects that the load is spread over (default: 16)
    #[arg(long, value_name = "N")]
    projects: Option<usize>,
    /// Minutes of the soak (default: 30)
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// Milliseconds that the provider's stub takes for a message, where a scenario does not say (default: 1)
    #[arg(long, value_name = "MS")]
    provider_ms: Option<u64>,
    /// A database that `bench load` has filled, for `growth` and `queries`; without one they fill one of their own
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Verifications in the database that they fill themselves (default: 10000000)
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// The program to measure, instead of the `otpd` of this checkout, which is built first
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    /// Where the processes' logs go, and stay, instead of a directory that is removed
    #[arg(long, value_name = "DIR")]
    pub(crate) logs: Option<PathBuf>,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) connections: usize,
    pub(crate) burst: u64,
    pub(crate) projects: usize,
    pub(crate) minutes: f64,
    pub(crate) provider_ms: u64,
    /// What stands here was filled by `bench load`.
    pub(crate) database: Option<String>,
    pub(crate) rows: u64,
}

impl Flags {
    pub(crate) fn settings(&self) -> Settings {
        let sized = |full, quick| if self.quick { quick } else { full };
        Settings {
            quick: self.quick,
            rounds: self.rounds.unwrap_or(if self.quick { 1 } else { 5 }).max(1),
            seconds: self.seconds.unwrap_or(if self.quick { 0.2 } else { 3.0 }).max(0.1),
            connections: self.connections.unwrap_or(if self.quick { 16 } else { 256 }).max(1),
            burst: self.burst.unwrap_or(sized(20_000, 100)).max(50),
            projects: self.projects.unwrap_or(if self.quick { 2 } else { 16 }).max(1),
            minutes: self.minutes.unwrap_or(if self.quick { 0.02 } else { 30.0 }).max(0.01),
            provider_ms: self.provider_ms.unwrap_or(1),
            database: self.database.clone(),
            rows: self.rows.unwrap_or(sized(10_000_000, 2000)),
        }
    }
}

impl Settings {
    /// How long each measurement under load goes on.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// How long the soak goes on.
    pub(crate) fn soak(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }

    /// How long a system runs under load before it is measured.
    pub(crate) fn warm_up(&self) -> Duration {
        self.time() / 3
    }

    pub(crate) fn provider_latency(&self) -> Duration {
        Duration::from_millis(self.provider_ms)
    }
}
