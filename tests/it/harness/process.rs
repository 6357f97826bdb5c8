//! One running process of the program: its output, its signals, its end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::{PATIENCE, eventually};

/// A process that is killed when the test ends.
pub(crate) struct Process {
    child: Child,
    stdout: Receiver<String>,
    log: Arc<Mutex<Vec<String>>>,
}

/// The environment that a process gets: nothing of this one but what programs need to run.
pub(crate) type Environment = BTreeMap<String, String>;

pub(crate) fn command(arguments: &[&str], environment: &Environment) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otpd"));
    command.args(arguments).env_clear().envs(environment).env("OTPD_LOG__FORMAT", "json");
    command
}

/// Runs a command to its end: exit code, stdout, stderr.
pub(crate) fn run(arguments: &[&str], environment: &Environment) -> (i32, String, String) {
    let output = command(arguments, environment).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

impl Process {
    pub(crate) fn start(arguments: &[&str], environment: &Environment) -> Self {
        let mut command = command(arguments, environment);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let stdout = lines(child.stdout.take().expect("stdout"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, kept) = (BufReader::new(child.stderr.take().expect("stderr")), Arc::clone(&log));
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lock().expect("log").push(line);
            }
        });
        Self { child, stdout, log }
    }

    /// The next line on stdout.
    pub(crate) fn line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line on stdout; the log: {}", self.log_text()))
    }

    pub(crate) fn log_text(&self) -> String {
        self.log.lock().expect("log").join("\n")
    }

    /// The value of a field in the log, once it is there.
    pub(crate) async fn logged(&self, field: &str) -> String {
        eventually(&format!("{field} in the log"), || async {
            let log = self.log.lock().expect("log");
            let mut lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find_map(|line| Some(line.get(field)?.as_str()?.to_owned()))
        })
        .await
    }

    /// Waits until it says something with these words.
    pub(crate) async fn says(&self, words: &str) {
        let said = || async { self.log_text().contains(words).then_some(()) };
        eventually(&format!("{words:?} in the log"), said).await;
    }

    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// SIGTERM, and then the exit status within the grace period.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().expect("kill");
        assert!(sent.success(), "no process {id}");
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = Mutex::new(&mut self.child);
        eventually("the process to end", || async { child.lock().expect("child").try_wait().expect("waited") }).await
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("waited").is_none()
    }
}

#[expect(clippy::print_stderr, reason = "it is all that a failed test leaves")]
impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log_text();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- the last of its log:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
