//! `otpd worker`: takes jobs from RabbitMQ and delivers them. Any number of them.

use clap::Args;
use common::config::{Flags, Role};
use tracing::info;
use worker::route::Unrouted;

use super::{Common, flag};
use crate::assemble::Process;
use crate::listener::Port;
use crate::outcome::Outcome;
use crate::telemetry;

/// Run a delivery worker (PostgreSQL, RabbitMQ)
#[derive(Debug, Args)]
pub(super) struct WorkerCommand {
    #[command(flatten)]
    common: Common,
    /// Where to serve health and metrics (default: 127.0.0.1:9090)
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

impl WorkerCommand {
    pub(super) async fn run(self) -> Outcome {
        let mut flags = Flags::new();
        flag(&mut flags, "server", "admin_listen", self.admin_listen.as_deref());
        let config = self.common.load(&flags)?;
        telemetry::start_log(&config.log)?;
        let relay = config.relay.enabled;
        let admin = Port::bind(config.server.admin_listen).await?;
        let process = Process::distributed(config, "otpd worker", self.common.clock()?)?;
        let routes = process.routes(Unrouted::Refused)?;
        let admin = process.serve(admin, process.admin_router(&process.health()))?;
        info!(server.admin_listen = %admin, "the worker starts");
        if process.wait_for_store().await {
            process.start_worker(routes)?;
            if relay {
                process.start_relay(Role::Distributed);
            }
        }
        process.run().await
    }
}
