//! One run: its settings, the servers and programs it has, and the figures it has found. Scenarios are given this.

use std::sync::Arc;

use crate::failure::Outcome;
use crate::figure::Figure;
use crate::program::Programs;
use crate::report::{Report, progress};
use crate::servers::Servers;
use crate::settings::Settings;
use crate::stub::Stub;
use crate::system::{Kind, System, Templates};

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) settings: Settings,
    pub(crate) servers: Arc<Servers>,
    pub(crate) programs: Arc<Programs>,
    pub(crate) report: Report,
    pub(crate) templates: Templates,
}

impl Bench {
    /// A figure that is done. At quick sizes a miss tells nothing.
    pub(crate) fn add(&mut self, figure: Figure) {
        self.report.add(figure.void_if(self.settings.quick));
    }

    /// A distributed system with a fresh database and queue, no process yet. It sends to the stub.
    pub(crate) async fn system(&mut self, kind: Kind, stub: &Stub) -> Outcome<System> {
        System::fresh(self, kind, stub).await
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
