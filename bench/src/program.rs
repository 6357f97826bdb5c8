//! The processes that are measured: starting them, their logs, their memory, their end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::failure::Outcome;
use crate::report::progress;

/// How long a process may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings of a process, as its environment.
pub(crate) type Environment = Vec<(String, String)>;

/// Where the programs are, and where what they write goes.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) otpd: PathBuf,
    /// This very program, which holds the baselines.
    pub(crate) bench: PathBuf,
    logs: PathBuf,
    scratch: TempDir,
    number: AtomicU32,
}

impl Programs {
    pub(crate) fn find(given: Option<&Path>, logs: Option<&Path>) -> Outcome<Self> {
        let bench = std::env::current_exe()?;
        let otpd = match given {
            Some(given) => given.canonicalize().map_err(|error| format!("{}: {error}", given.display()))?,
            None => built(&bench)?,
        };
        let scratch = TempDir::with_prefix("otpd-bench-")?;
        let logs = logs.map_or_else(|| scratch.path().join("logs"), Path::to_path_buf);
        fs::create_dir_all(&logs)?;
        Ok(Self { otpd, bench, logs, scratch, number: AtomicU32::new(0) })
    }

    /// A directory that goes when the run ends.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn number(&self) -> u32 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a program with nothing in its environment but this; what it writes goes to a file of its own.
    pub(crate) fn start(
        &self,
        program: &Path,
        name: &str,
        arguments: &[&str],
        environment: &Environment,
    ) -> Outcome<Process> {
        let log = self.logs.join(format!("{:03}-{name}.log", self.number()));
        // An earlier run may have left one of that name.
        File::create(&log)?;
        let out = File::options().append(true).open(&log)?;
        let errors = out.try_clone()?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment.iter().map(|(key, value)| (key, value)));
        let child = command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn()?;
        Ok(Process { child, log })
    }

    /// Runs a program to its end; what it has printed, which is JSON.
    pub(crate) fn run(&self, program: &Path, arguments: &[&str], environment: &Environment) -> Outcome<Value> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment.iter().map(|(key, value)| (key, value)));
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} {}: {words}", program.display(), arguments.join(" ")).into());
        }
        if output.stdout.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&output.stdout)?) }
    }
}

/// The program of this checkout, beside this one. `cargo run` says that we are in a checkout, and with what it is built.
#[expect(clippy::disallowed_methods, reason = "what cargo says of itself is in the environment alone")]
fn built(bench: &Path) -> Outcome<PathBuf> {
    let otpd = bench.with_file_name("otpd");
    if let Some(cargo) = std::env::var_os("CARGO").filter(|_| std::env::var_os("CARGO_MANIFEST_DIR").is_some()) {
        progress("bench: building otpd");
        let mut build = Command::new(cargo);
        build.args(["build", "--package", "otpd", "--bin", "otpd"]);
        // Cargo calls the directory of a profile as the profile, but for this one.
        let profile = bench.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or("release");
        build.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
        if !build.status()?.success() {
            return Err("otpd cannot be built".into());
        }
    }
    if otpd.exists() {
        return Ok(otpd);
    }
    Err(format!("{} is not there: build it, or name one with --program", otpd.display()).into())
}

/// A running process. It is killed when this goes.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// The value of a field in what it has written as lines of JSON, once it is there; warnings may have the same field.
    pub(crate) async fn logged(&mut self, field: &str) -> Outcome<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&self.log)?;
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut lines = lines.filter(|line| line["level"] != "WARN");
            if let Some(value) = lines.find_map(|line| Some(line.get(field)?.as_str()?.to_owned())) {
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended at its start ({status}): {}", last_lines(&text)).into());
            }
            if Instant::now() > end {
                return Err(format!("no {field} in {}: {}", self.log.display(), last_lines(&text)).into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The most memory that was ever resident, in MB.
    pub(crate) fn peak_memory_mb(&self) -> Outcome<f64> {
        self.memory("VmHWM:")
    }

    /// The memory that is resident now, in MB.
    pub(crate) fn memory_mb(&self) -> Outcome<f64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, name: &str) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no memory in /proc")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// SIGTERM, and then its end.
    pub(crate) async fn stop(mut self) -> Outcome {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-s", "TERM", &id]).status()?;
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err(format!("a process does not stop: {}", self.log.display()).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
