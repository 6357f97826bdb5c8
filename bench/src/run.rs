//! One run: its settings, the servers and programs it has, and the figures it has found. Scenarios are given this.

use std::sync::Arc;

use crate::failure::Outcome;
use crate::figure::Figure;
use crate::growth::load::{self, Loaded, Size};
use crate::machine::Machine;
use crate::program::Programs;
use crate::report::{Report, progress};
use crate::servers::Servers;
use crate::settings::{Flags, Settings};
use crate::stub::Stub;
use crate::system::{Kind, System, Templates};

/// Days that a database has lived.
const DAYS: u16 = 90;

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) settings: Settings,
    pub(crate) servers: Arc<Servers>,
    pub(crate) programs: Arc<Programs>,
    pub(crate) report: Report,
    pub(crate) templates: Templates,
    /// The database with many rows, once it was asked for.
    pub(crate) loaded: Option<Loaded>,
}

impl Bench {
    /// Finds or starts what is needed, and says on what it will be measured.
    pub(crate) async fn begin(flags: &Flags) -> Outcome<Self> {
        Self::begin_with(flags, Servers::find()?).await
    }

    pub(crate) async fn begin_with(flags: &Flags, servers: Servers) -> Outcome<Self> {
        let settings = flags.settings();
        let programs = Arc::new(Programs::find(flags.program.as_deref(), flags.logs.as_deref())?);
        let machine = Machine::look(&programs.otpd, programs.scratch(), servers.versions().await?)?;
        let report = Report::new(machine, settings.clone());
        progress(&report.head());
        let (servers, templates) = (Arc::new(servers), Templates::default());
        Ok(Self { settings, servers, programs, report, templates, loaded: None })
    }

    /// A figure that is done. At quick sizes a miss tells nothing.
    pub(crate) fn add(&mut self, figure: Figure) {
        self.report.add(figure.void_if(self.settings.quick));
    }

    /// A distributed system with a fresh database and queue, no process yet. It sends to the stub.
    pub(crate) async fn system(&mut self, kind: Kind, stub: &Stub) -> Outcome<System> {
        System::fresh(self, kind, stub).await
    }

    /// The database with many rows: the one that was named, or one that is filled now and removed at the end.
    pub(crate) async fn loaded(&mut self) -> Outcome<Loaded> {
        if let Some(loaded) = &self.loaded {
            return Ok(loaded.clone());
        }
        let loaded = match &self.settings.database {
            Some(database) => Loaded::find(&self.servers, database).await?,
            None => {
                let name = Servers::fresh_name();
                self.servers.create_database(&name, None).await?;
                let (rows, days) = (self.settings.rows, if self.settings.quick { 4 } else { DAYS });
                let size = Size { rows, days, projects: self.settings.projects };
                load::fill(&self.servers, &self.programs, &name, size).await?
            }
        };
        self.say(&format!("{} has {} verifications of {} days", loaded.database, loaded.rows, loaded.days));
        Ok(self.loaded.insert(loaded).clone())
    }

    /// Before a measurement: what was written until now shall not be on the disk's hands meanwhile.
    pub(crate) async fn settle(&self) {
        if !self.settings.quick {
            self.servers.settle().await;
        }
    }

    /// Says what goes on, below the scenario's own line.
    pub(crate) fn say(&self, line: &str) {
        progress(&format!("  {line}"));
    }
}
