//! The embedded program: one process, SQLite, a directory of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::calls::{Project, Sends};
use crate::failure::Outcome;
use crate::journal::Journal;
use crate::numbers::Numbers;
use crate::program::{Environment, Process, Programs};
use crate::run::Bench;
use crate::stub::Stub;
use crate::system::{accepts, common_settings, create_projects};

/// Its directory goes with it, unless it is taken by `stop`.
#[derive(Debug)]
pub(crate) struct Alone {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    data: Data,
    numbers: Numbers,
    journal: Arc<Journal>,
}

/// What it leaves for another start.
#[derive(Debug)]
pub(crate) struct Data {
    dir: PathBuf,
    projects: Vec<Project>,
}

impl Drop for Data {
    fn drop(&mut self) {
        // What stays goes with the whole scratch directory.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn environment(stub: &Stub) -> Environment {
    let settings = common_settings(Some(&stub.url()));
    settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn launch(programs: &Programs, data: &Data, stub: &Stub) -> Outcome<Process> {
    let dir = data.dir.to_str().ok_or("a path that is not UTF-8")?;
    let arguments = ["serve", "--data", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    programs.start(&programs.otpd, "otpd-serve", &arguments, &environment(stub))
}

impl Alone {
    /// Starts one with nothing but projects in its data, and waits until it accepts.
    pub(crate) async fn fresh(bench: &Bench, stub: &Stub) -> Outcome<Self> {
        let programs = &bench.programs;
        let dir = programs.scratch().join(format!("data-{}", programs.number()));
        let mut data = Data { dir, projects: Vec::new() };
        // Its first start makes the database.
        let mut first = launch(programs, &data, stub)?;
        first.logged("server.listen").await?;
        let place = ["--data", data.dir.to_str().ok_or("a path that is not UTF-8")?];
        data.projects = create_projects(programs, bench.settings.projects, &environment(stub), &place)?;
        first.stop().await?;
        Ok(Self::start(bench, data, stub).await?.0)
    }

    /// Starts it on data that are there. Also the time from its start to its first 202.
    pub(crate) async fn start(bench: &Bench, data: Data, stub: &Stub) -> Outcome<(Self, f64)> {
        let begun = Instant::now();
        let mut process = launch(&bench.programs, &data, stub)?;
        let address = process.logged("server.listen").await?.parse()?;
        let alone = Self { process, address, data, numbers: stub.numbers, journal: Arc::clone(&stub.journal) };
        accepts(address, &alone.sends()).await?;
        Ok((alone, begun.elapsed().as_secs_f64() * 1000.0))
    }

    pub(crate) fn sends(&self) -> Arc<Sends> {
        Arc::new(Sends::new(&self.data.projects, self.numbers, Some(Arc::clone(&self.journal))))
    }

    /// Ends it in good order.
    pub(crate) async fn stop(self) -> Outcome<Data> {
        self.process.stop().await?;
        Ok(self.data)
    }
}
