//! What it was measured on: processor, memory, versions, and how long the disk takes.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

use crate::failure::Outcome;
use crate::rounds::median;

/// How often the disk is asked.
const SYNCS: usize = 200;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) system: String,
    pub(crate) program: String,
    pub(crate) profile: &'static str,
    pub(crate) postgres: String,
    /// Settings of the database that decide what writing costs.
    pub(crate) durability: String,
    pub(crate) rabbitmq: String,
    pub(crate) fsync_ms: f64,
}

/// What the servers say of themselves.
#[derive(Debug)]
pub(crate) struct Versions {
    pub(crate) postgres: String,
    pub(crate) durability: String,
    pub(crate) rabbitmq: String,
}

impl Machine {
    pub(crate) fn look(otpd: &Path, scratch: &Path, versions: Versions) -> Outcome<Self> {
        let program = Command::new(otpd).arg("--version").output()?;
        Ok(Self {
            processor: first_value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned()),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: memory_gib(),
            system: system(),
            program: String::from_utf8_lossy(&program.stdout).trim().to_owned(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            postgres: versions.postgres,
            durability: versions.durability,
            rabbitmq: versions.rabbitmq,
            fsync_ms: fsync_ms(scratch)?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory_gib, system, program, profile, .. } = self;
        let Self { postgres, durability, rabbitmq, fsync_ms, .. } = self;
        writeln!(
            f,
            "{processor}, {cores} cores for everything, {memory_gib:.0} GiB, {system}; fsync {fsync_ms:.2} ms"
        )?;
        write!(f, "{program} and bench ({profile}), PostgreSQL {postgres} ({durability}), RabbitMQ {rabbitmq}")
    }
}

/// The median time of making a small write durable, where the program's data lies too.
fn fsync_ms(scratch: &Path) -> Outcome<f64> {
    let mut file = OpenOptions::new().create(true).append(true).open(scratch.join("fsync"))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[0; 512])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(&times))
}

/// The value of the first line of `name: value` or `name=value` in a file of the system.
fn first_value(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let (_, value) = line.split_once([':', '='])?;
    Some(value.trim().trim_matches('"').to_owned())
}

fn memory_gib() -> f64 {
    let total = first_value("/proc/meminfo", "MemTotal");
    let kib: f64 = total.and_then(|total| total.trim_end_matches(" kB").parse().ok()).unwrap_or(0.0);
    kib / 1024.0 / 1024.0
}

fn system() -> String {
    let name = first_value("/etc/os-release", "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{name}, kernel {}", kernel.trim())
}
