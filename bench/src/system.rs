//! A system that takes sends and delivers them, ours or the naive one: its database, its queues and its processes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use crate::calls::{Guesses, MixedGuesses, Project, Sends, Verdicts};
use crate::failure::Outcome;
use crate::growth::load::Loaded;
use crate::http::Connection;
use crate::journal::Journal;
use crate::load::{Calls, Until, saturate};
use crate::numbers::Numbers;
use crate::program::{Environment, Process, Programs};
use crate::run::Bench;
use crate::servers::Servers;
use crate::stub::{SECRET, Stub};

/// The root key of every otpd here: it protects nothing.
pub(crate) const ROOT_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Sends from this number on only find out whether a system is ready.
pub(crate) const PROBES: u64 = 90_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Otpd,
    Naive,
}

/// A database that systems begin with a copy of. Nobody is connected to it.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) kind: Kind,
    pub(crate) database: String,
    pub(crate) projects: Arc<Vec<Project>>,
}

/// The databases with a schema and projects in them, made when they are first needed.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    made: Vec<Template>,
}

#[derive(Debug)]
pub(crate) struct System {
    pub(crate) kind: Kind,
    /// The prefix of its queues, and the name of its database where that goes with it.
    pub(crate) name: String,
    /// A database that stays.
    lasting: Option<String>,
    pub(crate) projects: Arc<Vec<Project>>,
    pub(crate) numbers: Numbers,
    pub(crate) apis: Vec<Process>,
    pub(crate) workers: Vec<Process>,
    /// The address of the API that was started last.
    pub(crate) address: Option<SocketAddr>,
    provider: String,
    journal: Arc<Journal>,
    servers: Arc<Servers>,
    programs: Arc<Programs>,
}

/// Settings that a distributed otpd needs, and none that change how it works.
pub(crate) fn environment(servers: &Servers, database: &str, prefix: &str, provider: Option<&str>) -> Environment {
    let mut settings = vec![
        ("OTPD_STORE__URL", servers.url_of(database)),
        ("OTPD_QUEUE__URL", servers.rabbitmq.clone()),
        ("OTPD_QUEUE__PREFIX", prefix.to_owned()),
    ];
    settings.extend(common_settings(provider));
    settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Those that an embedded one needs too.
pub(crate) fn common_settings(provider: Option<&str>) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("OTPD_KEYS__ROOT", ROOT_KEY.to_owned()),
        ("OTPD_LOG__FORMAT", "json".to_owned()),
        ("OTPD_LOG__LEVEL", "info".to_owned()),
    ];
    if let Some(url) = provider {
        settings.extend([
            ("OTPD_PROVIDERS__STUB__KIND", "webhook".to_owned()),
            ("OTPD_PROVIDERS__STUB__URL", url.to_owned()),
            ("OTPD_PROVIDERS__STUB__SECRETS", SECRET.to_owned()),
            ("OTPD_PROVIDERS__STUB__CHANNELS", "sms".to_owned()),
        ]);
    }
    settings
}

/// Projects whose limits no load here reaches: they are checked all the same.
pub(crate) fn create_projects(
    programs: &Programs,
    number: usize,
    environment: &Environment,
    data: &[&str],
) -> Outcome<Vec<Project>> {
    let limits = ["--tokens", "1000000000", "--rate", "1000000", "--burst", "10000000", "--ttl", "600"];
    let create = |number: usize| {
        let name = format!("Bench {number}");
        let arguments = [&["project", "create", &name, "--json"], &limits[..], data].concat();
        let made = programs.run(&programs.otpd, &arguments, environment)?;
        Ok(serde_json::from_value(made)?)
    };
    (0..number).map(create).collect()
}

impl Templates {
    async fn get(bench: &mut Bench, kind: Kind) -> Outcome<Template> {
        if let Some(template) = bench.templates.made.iter().find(|template| template.kind == kind) {
            return Ok(template.clone());
        }
        let name = Servers::fresh_name();
        bench.servers.create_database(&name, None).await?;
        let (programs, number) = (&bench.programs, bench.settings.projects);
        let projects = match kind {
            Kind::Otpd => {
                let environment = environment(&bench.servers, &name, &name, None);
                programs.run(&programs.otpd, &["migrate"], &environment)?;
                create_projects(programs, number, &environment, &[])?
            }
            Kind::Naive => {
                let (url, number) = (bench.servers.url_of(&name), number.to_string());
                let arguments = ["baseline", "naive-setup", "--store", &url, "--projects", &number];
                let made: Value = programs.run(&programs.bench, &arguments, &Vec::new())?;
                serde_json::from_value(made)?
            }
        };
        let template = Template { kind, database: name, projects: Arc::new(projects) };
        bench.templates.made.push(template.clone());
        Ok(template)
    }
}

impl System {
    /// One with a fresh database, and no process yet.
    pub(crate) async fn fresh(bench: &mut Bench, kind: Kind, stub: &Stub) -> Outcome<Self> {
        let template = Templates::get(bench, kind).await?;
        Self::copy_of(bench, &template, stub).await
    }

    /// One that begins with a copy of a database.
    pub(crate) async fn copy_of(bench: &Bench, template: &Template, stub: &Stub) -> Outcome<Self> {
        let name = Servers::fresh_name();
        bench.servers.create_database(&name, Some(&template.database)).await?;
        bench.servers.will_have_queues(&name)?;
        bench.settle().await;
        Ok(Self::new(bench, template.kind, name, Arc::clone(&template.projects), stub))
    }

    /// One of ours on a loaded database, which stays when it ends.
    pub(crate) async fn on_loaded(bench: &Bench, loaded: &Loaded, stub: &Stub) -> Outcome<Self> {
        let name = Servers::fresh_name();
        bench.servers.will_have_queues(&name)?;
        bench.settle().await;
        let system = Self::new(bench, Kind::Otpd, name, Arc::new(loaded.projects.clone()), stub);
        Ok(Self { lasting: Some(loaded.database.clone()), ..system })
    }

    fn new(bench: &Bench, kind: Kind, name: String, projects: Arc<Vec<Project>>, stub: &Stub) -> Self {
        Self {
            kind,
            name,
            lasting: None,
            projects,
            numbers: stub.numbers,
            apis: Vec::new(),
            workers: Vec::new(),
            address: None,
            provider: stub.url(),
            journal: Arc::clone(&stub.journal),
            servers: Arc::clone(&bench.servers),
            programs: Arc::clone(&bench.programs),
        }
    }

    pub(crate) fn database(&self) -> &str {
        self.lasting.as_ref().unwrap_or(&self.name)
    }

    fn launch(&self, role: &str) -> Outcome<Process> {
        match self.kind {
            Kind::Otpd => {
                let environment = environment(&self.servers, self.database(), &self.name, Some(&self.provider));
                let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
                let arguments = [&[role][..], if role == "api" { &listen[..] } else { &listen[2..] }].concat();
                self.programs.start(&self.programs.otpd, &format!("otpd-{role}"), &arguments, &environment)
            }
            Kind::Naive => {
                let (store, role) = (self.servers.url_of(self.database()), format!("naive-{role}"));
                let arguments = [
                    &["baseline", &role, "--store", &store, "--queue", &self.servers.rabbitmq][..],
                    &["--prefix", &self.name, "--provider", &self.provider],
                ];
                self.programs.start(&self.programs.bench, &role, &arguments.concat(), &Vec::new())
            }
        }
    }

    /// Starts an API and waits until it accepts, and publishes: what it accepts before that, a worker's relay brings much later.
    pub(crate) async fn start_api(&mut self) -> Outcome<SocketAddr> {
        let mut process = self.launch("api")?;
        let address = process.logged("server.listen").await?.parse()?;
        if self.kind == Kind::Otpd {
            process.logged("queue.broker").await?;
        }
        self.apis.push(process);
        self.address = Some(address);
        accepts(address, &self.sends()).await?;
        Ok(address)
    }

    /// Starts a worker; it may take a moment to begin.
    pub(crate) fn start_worker(&mut self) -> Outcome {
        let process = self.launch("worker")?;
        self.workers.push(process);
        Ok(())
    }

    /// An API and a worker that have both shown that they work.
    pub(crate) async fn start_both(&mut self) -> Outcome<SocketAddr> {
        self.start_worker()?;
        let address = self.start_api().await?;
        // The probes have reached the provider: the worker is there.
        self.journal.reached(1, PATIENCE).await?;
        Ok(address)
    }

    pub(crate) async fn stop_apis(&mut self) -> Outcome {
        for process in self.apis.drain(..) {
            process.stop().await?;
        }
        Ok(())
    }

    pub(crate) async fn stop_workers(&mut self) -> Outcome {
        for process in self.workers.drain(..) {
            process.stop().await?;
        }
        Ok(())
    }

    pub(crate) async fn stop_last_worker(&mut self) -> Outcome {
        match self.workers.pop() {
            Some(process) => process.stop().await,
            None => Ok(()),
        }
    }

    /// Sends whose starts are written down.
    pub(crate) fn sends(&self) -> Arc<Sends> {
        Arc::new(Sends::new(&self.projects, self.numbers, Some(Arc::clone(&self.journal))))
    }

    /// Guesses of the first so many sends.
    pub(crate) fn guesses(&self, sends: u64) -> Arc<Guesses> {
        Arc::new(Guesses::new(&self.projects, self.numbers, Arc::clone(&self.journal), sends))
    }

    /// Wrong guesses that also look at another day.
    pub(crate) fn mixed_guesses(&self, older: Vec<Uuid>) -> Arc<MixedGuesses> {
        let guesses = Guesses::new(&self.projects, self.numbers, Arc::clone(&self.journal), 0);
        Arc::new(MixedGuesses::new(guesses, older))
    }

    /// The right guess of each send.
    pub(crate) fn verdicts(&self) -> Arc<Verdicts> {
        Arc::new(Verdicts::new(&self.projects, self.numbers, Arc::clone(&self.journal)))
    }

    /// Accepts so many sends as fast as it takes them.
    pub(crate) async fn preload(&self, connections: usize, number: u64) -> Outcome {
        let address = self.address.ok_or("no API is running")?;
        saturate(address, connections, self.sends(), 0, Until::Made(number)).await?;
        Ok(())
    }

    /// Ends its processes and leaves its database for others to begin with.
    pub(crate) async fn into_template(mut self) -> Outcome<Template> {
        self.stop_apis().await?;
        self.stop_workers().await?;
        self.servers.delete_queues(&self.name).await?;
        Ok(Template { kind: self.kind, database: self.name.clone(), projects: Arc::clone(&self.projects) })
    }

    /// Ends its processes and removes what it had. The rows that were written in all, where its database goes too.
    pub(crate) async fn end(mut self) -> Outcome<i64> {
        self.stop_apis().await?;
        self.stop_workers().await?;
        self.servers.delete_queues(&self.name).await?;
        if self.lasting.is_some() {
            return Ok(0);
        }
        let rows = self.servers.rows_written(&self.name).await?;
        self.servers.drop_database(&self.name).await?;
        Ok(rows)
    }
}

/// Waits until a send is accepted there.
pub(crate) async fn accepts(address: SocketAddr, sends: &Sends) -> Outcome {
    let end = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    for probe in PROBES.. {
        request.clear();
        sends.write(probe, &mut request);
        let mut connection = Connection::open(address).await?;
        let reply = connection.call(&request).await?;
        if reply.status == 202 {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("sends are answered {}: {}", reply.status, String::from_utf8_lossy(reply.body)).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
