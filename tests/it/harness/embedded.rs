//! The program in one process, with SQLite in a directory of its own.

use serde_json::Value;
use tempfile::TempDir;

use super::client::{Client, Project};
use super::clock::TestClock;
use super::process::{Environment, Process};

pub(crate) struct Embedded {
    pub(crate) process: Process,
    pub(crate) environment: Environment,
    pub(crate) dir: TempDir,
    pub(crate) clock: TestClock,
    project: Project,
    url: String,
}

impl Embedded {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts `otpd dev` with more settings in its environment.
    #[expect(clippy::unused_async, reason = "called like its distributed twin")]
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("a directory");
        let clock = TestClock::in_dir(dir.path());
        let environment = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (process, first) = launch(&dir, &clock, &environment);
        let text = |name: &str| first[name].as_str().unwrap_or_else(|| panic!("{name} in {first}")).to_owned();
        let project = Project { id: text("project_id"), live_key: text("live_key"), sandbox_key: text("sandbox_key") };
        let url = text("url");
        Self { process, environment, dir, clock, project, url }
    }

    /// Starts it again on the same data, on another port.
    pub(crate) fn restart(&mut self) {
        self.process.kill_9();
        let (process, first) = launch(&self.dir, &self.clock, &self.environment);
        assert_eq!(first["live_key"], Value::Null, "keys are shown once");
        assert_eq!(first["project_id"], self.project.id.as_str());
        self.url = first["url"].as_str().expect("url").to_owned();
        self.process = process;
    }

    pub(crate) fn data(&self) -> String {
        self.dir.path().join("data").to_str().expect("a path in UTF-8").to_owned()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(vec![self.url.clone()], self.url.clone(), self.project.clone(), self.clock.clone())
    }
}

fn launch(dir: &TempDir, clock: &TestClock, environment: &Environment) -> (Process, Value) {
    let data = dir.path().join("data");
    let data = data.to_str().expect("a path in UTF-8");
    let arguments = ["dev", "--json", "--listen", "127.0.0.1:0", "--data", data, "--clock-file", clock.file()];
    let process = Process::start(&arguments, environment);
    let first = serde_json::from_str(&process.line()).expect("one line of JSON");
    (process, first)
}
